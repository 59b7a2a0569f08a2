-- Begins a session.
-- KEYS: the session; its tombstone. ARGV: when it is born; its TTL; until when it may begin, or ''; fields
-- and their values.
-- Returns 1; 0 if the key is taken; 3 if that was by an earlier try of the same, or in the same millisecond;
-- 2 if it has ended before it began, or since an earlier try: that it stays.
if redis.call('EXISTS', KEYS[2]) == 1 or is_too_late(ARGV[3]) then
    return 2
end
if redis.call('EXISTS', KEYS[1]) == 1 then
    -- What is no hash is an error here, and equals nothing.
    return redis.pcall('HGET', KEYS[1], BORN) == ARGV[1] and 3 or 0
end
redis.call('HSET', KEYS[1], BORN, ARGV[1])
in_chunks('HSET', KEYS[1], ARGV, 4, #ARGV)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
