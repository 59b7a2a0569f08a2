-- The index of a user's sessions: one sorted set of when each was entered, one of until when it is, and one
-- hash of those that are to take the place of others.

-- Removes those whose time is up: no session lives longer than it is entered for. Returns the time.
local function forget_those_gone(entered, untils)
    local time = now()
    local gone = redis.call('ZRANGE', untils, '-inf', time, 'BYSCORE')
    in_chunks('ZREM', entered, gone, 1, #gone)
    in_chunks('ZREM', untils, gone, 1, #gone)
    return time
end

-- Removes sessions, unless they were entered anew meanwhile. They are arguments, each with when it was
-- entered.
local function remove_entries(entered, untils, arguments, first)
    for i = first, #arguments, 2 do
        if tonumber(redis.call('ZSCORE', entered, arguments[i]) or 0) == tonumber(arguments[i + 1]) then
            redis.call('ZREM', entered, arguments[i])
            redis.call('ZREM', untils, arguments[i])
        end
    end
end

-- The renewals that are under way: for each new session, the old one that it is to take the place of. Both are
-- there until one of them leaves.
local function under_way(entered, renewals)
    local pairs_there, count = {}, 0
    local all = redis.call('HGETALL', renewals)
    for i = 1, #all, 2 do
        if redis.call('ZSCORE', entered, all[i]) and redis.call('ZSCORE', entered, all[i + 1]) then
            pairs_there[all[i]] = all[i + 1]
            count = count + 1
        else
            redis.call('HDEL', renewals, all[i])
        end
    end
    return pairs_there, count
end

-- All entries but these, oldest first, each with when it was entered.
local function entries_but(entered, left_out)
    local all, some = redis.call('ZRANGE', entered, 0, -1, 'WITHSCORES'), {}
    for i = 1, #all, 2 do
        if not left_out[all[i]] then
            some[#some + 1] = all[i]
            some[#some + 1] = all[i + 1]
        end
    end
    return some
end

-- When all sessions were ended the last time; when the last time before, and which ones that is for, since they were
-- left out afterwards.
local function last_ended(ended)
    local last, before, left_out = string.match(redis.call('GET', ended) or '', '^(%d+) (%d+) (.*)$')
    return tonumber(last or 0), tonumber(before or 0), left_out or ''
end
