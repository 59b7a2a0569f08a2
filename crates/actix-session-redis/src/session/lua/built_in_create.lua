-- Begins a session in the layout of the store built into actix-session.
-- KEYS: the session; its tombstone. ARGV: its TTL; its state.
-- Returns 1, or 0 if the key is taken: by an earlier try of the same it is not.
-- A later try may have been first, and the session may have ended since: that it stays.
if redis.call('EXISTS', KEYS[2]) == 1 then
    return 1
end
if redis.call('SET', KEYS[1], ARGV[2], 'NX', 'PX', ARGV[1]) then
    return 1
end
-- What is no string is an error here, and equals nothing.
return redis.pcall('GET', KEYS[1]) == ARGV[2] and 1 or 0
