-- KEYS: when sessions were entered; until when they are; when all were ended.
-- Returns the time, and all sessions, each with when it was entered, oldest first.
local time = forget_those_gone(KEYS[1], KEYS[2])
local last = last_ended(KEYS[3])
return {math.max(time, last + 1), redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')}
