-- From now on, no session goes on and no login is completed that has been under way.
-- KEYS: when sessions were entered; until when they are; when all were ended.
-- ARGV: the session that stays, or ''; for how long this has to be known; a time that it is not before.
-- Returns as entries.lua.
local newest = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2]
-- Clocks of servers differ: after a failover it may be earlier than before.
local last = last_ended(KEYS[3])
local time = math.max(forget_those_gone(KEYS[1], KEYS[2]), last + 1, tonumber(newest or 0), tonumber(ARGV[3]))
-- A write that needs no memory goes first: after it, a Redis that is full lets a script set something.
redis.call('PEXPIRE', KEYS[3], ARGV[2])
redis.call('SET', KEYS[3], string.format('%.0f %s', time, ARGV[1]), 'PX', ARGV[2])
return {time, redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')}
