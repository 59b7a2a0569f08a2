-- KEYS: when sessions were entered; until when they are; renewals under way; when all were ended.
-- ARGV: a session, if only that is asked for, or ''; '1' if of a renewal under way, which is one session,
-- only the old one is told.
-- Returns the time, and all sessions, each with when it was entered, oldest first.
local time = forget_those_gone(KEYS[1], KEYS[2])
local last = last_ended(KEYS[4])
time = math.max(time, last + 1)
if ARGV[1] ~= '' then
    local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
    return {time, score and {ARGV[1], score} or {}}
end
return {time, entries_but(KEYS[1], ARGV[2] == '1' and under_way(KEYS[1], KEYS[3]) or {})}
