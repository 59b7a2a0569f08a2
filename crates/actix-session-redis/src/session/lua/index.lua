-- The index of a user's sessions: one sorted set of when each was entered, one of until when it is.

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

-- When all sessions were ended the last time, and but for which one.
local function last_ended(ended)
    local last, exempt = string.match(redis.call('GET', ended) or '', '^(%d+) (.*)$')
    return tonumber(last or 0), exempt or ''
end
