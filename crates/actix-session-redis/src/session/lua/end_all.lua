-- From now on, no session goes on and no login is completed that has been under way.
-- KEYS: when sessions were entered; until when they are; renewals under way; when all were ended.
-- ARGV: for how long this has to be known; a time that it is not before; sessions that stay, and with them
-- what is to take their place.
-- Returns as entries.lua, without those that stay.
local entered, untils, renewals, ended = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local newest = redis.call('ZRANGE', entered, -1, -1, 'WITHSCORES')[2]
-- Clocks of servers differ: after a failover it may be earlier than before.
local last, before, left_out = last_ended(ended)
local time = math.max(forget_those_gone(entered, untils), last + 1, tonumber(newest or 0), tonumber(ARGV[2]))
local stays, were_left_out = {}, false
for i = 3, #ARGV do
    stays[ARGV[i]] = true
    were_left_out = were_left_out or string.find(left_out, ARGV[i], 1, true)
end
-- All of them go on with each other, so what was for one is for all.
before = were_left_out and before or last
for new, old in pairs(under_way(entered, renewals)) do
    stays[new] = stays[new] or stays[old]
end
local ids = {}
for id in pairs(stays) do
    ids[#ids + 1] = id
end
-- A write that needs no memory goes first: after it, a Redis that is full lets a script set something.
redis.call('PEXPIRE', ended, ARGV[1])
redis.call('SET', ended, string.format('%.0f %.0f %s', time, before, table.concat(ids, ' ')), 'PX', ARGV[1])
return {time, entries_but(entered, stays)}
