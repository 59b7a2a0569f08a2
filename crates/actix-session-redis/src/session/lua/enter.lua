-- Enters a session into the index of its user, before it becomes theirs.
-- KEYS: when sessions were entered; until when they are; renewals under way; when all sessions were ended.
-- ARGV: the session; the one whose place it takes, or ''; since when it or its login has been under way, or
-- '' if that does not matter; for how long it is entered; '1' if it is theirs already; how many
-- sessions may be theirs, or ''; '1' if more are refused; when it was entered the last time, in any index, or '';
-- sessions that are gone, and when they were entered.
-- Returns when it was entered, until when it is, and all sessions if they are too many; or 0, the time,
-- and all sessions, if it is refused for that; or -1, if all were ended meanwhile. Of a renewal under way,
-- which is one session, only the old one is told.
local entered, untils, renewals, ended = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local id, from, since, limit = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[6])
local time = forget_those_gone(entered, untils)
local until_when = time + ARGV[4]
remove_entries(entered, untils, ARGV, 9)
local last, before, left_out = last_ended(ended)
time = math.max(time, last + 1)
local is_left_out = string.find(left_out, id, 1, true) or from ~= '' and string.find(left_out, from, 1, true)
if since ~= '' and tonumber(since) <= (is_left_out and before or last) then
    return {-1, time, {}}
end

-- All that there are, if they are so many.
local function if_at_least(most)
    if redis.call('ZCARD', entered) >= most then
        local renewed, count = under_way(entered, renewals)
        if redis.call('ZCARD', entered) - count >= most then
            return entries_but(entered, renewed)
        end
    end
end

local known = redis.call('ZSCORE', entered, id)
if known and ARGV[5] == '1' then
    time = tonumber(known)
elseif not known and limit and ARGV[7] == '1' then
    local all = if_at_least(limit)
    if all then
        return {0, time, all}
    end
end
if not known or ARGV[5] ~= '1' then
    -- No login is older than one before it, even if clocks of servers differ, or it is the same millisecond.
    local newest = redis.call('ZRANGE', entered, -1, -1, 'WITHSCORES')
    time = math.max(time, tonumber(newest[2] or 0) + 1)
    -- Nor does a session ever say the same of its owner again; but what it says may be anybody's.
    local before = tonumber(ARGV[8])
    if before and before < time + 60000 then
        time = math.max(time, before + 1)
    end
end
redis.call('ZADD', entered, time, id)
redis.call('ZADD', untils, 'GT', until_when, id)
if from ~= '' and redis.call('ZSCORE', entered, from) then
    redis.call('HSET', renewals, id, from)
    -- Takes out those that are over.
    under_way(entered, renewals)
end
for i = 1, 3 do
    if redis.call('PTTL', KEYS[i]) < tonumber(ARGV[4]) then
        redis.call('PEXPIRE', KEYS[i], ARGV[4])
    end
end
-- Where more are refused, nobody's session ends for another: this one was entered before, by an earlier try.
local too_many = limit and ARGV[7] ~= '1' and if_at_least(limit + 1)
return {time, until_when, too_many or {}}
