-- Begins a session.
-- KEYS: the session; its tombstone; and, while sessions are adopted, its copy in the layout of the store built into
-- actix-session.
-- ARGV: when it is born; its TTL; until when it may begin, or ''; if there is a copy, what becomes of it ('new', 'as it
-- was' or 'as it is'), and what it is to hold ('new'), or has to ('as it was'), or ''; fields and their values.
-- Returns 1; 0 if the key is taken; 3 if that was by an earlier try of the same, or in the same millisecond;
-- 2 if it has ended before it began, here or there, or since an earlier try: that it stays; 4 if the copy holds
-- something else.
local copy, how, first = KEYS[3], ARGV[4], KEYS[3] and 6 or 4
local is_adopted = copy and how ~= 'new'
if redis.call('EXISTS', KEYS[2]) == 1 then
    if is_adopted then
        redis.call('UNLINK', copy)
    end
    return 2
end
if is_too_late(ARGV[3]) then
    return 2
end
if redis.call('EXISTS', KEYS[1]) == 1 then
    -- What is no hash is an error here, and equals nothing.
    return redis.pcall('HGET', KEYS[1], BORN) == ARGV[1] and 3 or 0
end
if is_adopted then
    -- What is no string is an error here, which is a table.
    local held = redis.pcall('GET', copy)
    if type(held) ~= 'string' then
        return 2
    end
    if how == 'as it was' and held ~= ARGV[5] then
        return 4
    end
    redis.call('PEXPIRE', copy, ARGV[2])
elseif copy then
    redis.call('SET', copy, ARGV[5], 'PX', ARGV[2])
end
redis.call('HSET', KEYS[1], BORN, ARGV[1])
if copy then
    redis.call('HSET', KEYS[1], COPY, copy)
end
in_chunks('HSET', KEYS[1], ARGV, first, #ARGV)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
