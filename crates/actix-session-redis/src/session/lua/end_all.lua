-- From now on, no session goes on and no login is completed that has been under way.
-- KEYS: when sessions were entered; until when they are; renewals under way; when all were ended.
-- ARGV: for how long this has to be known; a time that it is not before; sessions that stay, and with them
-- what is to take their place.
-- Returns as entries.lua, without those that stay.
local entered, untils, renewals, ended = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local newest = redis.call('ZRANGE', entered, -1, -1, 'WITHSCORES')[2]
-- Clocks of servers differ: after a failover it may be earlier than before.
local last = last_ended(ended)
local time = math.max(forget_those_gone(entered, untils), last + 1, tonumber(newest or 0), tonumber(ARGV[2]))
local stays, exempt = {}, {}
for i = 3, #ARGV do
    stays[ARGV[i]] = true
    exempt[#exempt + 1] = ARGV[i]
end
for new, old in pairs(under_way(entered, renewals)) do
    if stays[old] and not stays[new] then
        exempt[#exempt + 1] = new
    end
end
for _, id in ipairs(exempt) do
    stays[id] = true
end
-- A write that needs no memory goes first: after it, a Redis that is full lets a script set something.
redis.call('PEXPIRE', ended, ARGV[1])
redis.call('SET', ended, string.format('%.0f %s', time, table.concat(exempt, ' ')), 'PX', ARGV[1])
return {time, entries_but(entered, stays)}
