-- Fields of ours. No field of an application has such a name: its names are UTF-8, and no byte of
-- UTF-8 is 255.
local BORN, WRITTEN, COPY, ENDED = '\255born', '\255written', '\255copy', '\255ended'
local USER, TTL, LIFETIME, LABEL = '\255user', '\255ttl', '\255lifetime', '\255label'

-- Runs a command with these of the arguments; `unpack` gives up at about 8,000.
local function in_chunks(command, key, arguments, first, last)
    for from = first, last, 1000 do
        redis.call(command, key, unpack(arguments, from, math.min(from + 999, last)))
    end
end

-- Whether a session has begun, and how many of these fields it has.
local function own_fields(key)
    local held, count = redis.call('HMGET', key, BORN, WRITTEN, COPY, USER, TTL, LIFETIME, LABEL), 0
    for i = 1, 7 do
        count = held[i] and count + 1 or count
    end
    return held[1], count
end

-- Whether a session says of its owner what is expected ('=' and what USER holds; or '' if that does not matter),
-- or what these arguments, fields and their values, make of it: then this very write was carried out, and its reply
-- lost.
local function has_owner(key, expected, arguments, first, last)
    if expected == '' then
        return true
    end
    local owner = redis.call('HGET', key, USER) or ''
    for i = first, last, 2 do
        if arguments[i] == USER and arguments[i + 1] == owner then
            return true
        end
    end
    return expected == '=' .. owner
end

-- Whether the store built into actix-session has ended a session: the copy is gone that the session knows of.
-- One that is there gets this TTL; with '', it keeps its own.
local function has_ended_there(key, copy, ttl)
    if not copy then
        return false
    end
    local there = ttl ~= '' and redis.call('PEXPIRE', copy, ttl) or redis.call('EXISTS', copy)
    return there == 0 and redis.call('HEXISTS', key, COPY) == 1
end

-- In milliseconds since 1970.
local function now()
    local time = redis.call('TIME')
    return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Whether a write comes so late that its entry in the index may be gone.
local function is_too_late(latest)
    return latest ~= '' and now() > tonumber(latest)
end
