-- KEYS: when sessions were entered; until when they are; when all were ended.
-- ARGV: a session, if only that is asked for.
-- Returns the time, and all sessions, each with when it was entered, oldest first.
local time = forget_those_gone(KEYS[1], KEYS[2])
local last = last_ended(KEYS[3])
if ARGV[1] then
    local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
    return {math.max(time, last + 1), score and {ARGV[1], score} or {}}
end
return {math.max(time, last + 1), redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')}
