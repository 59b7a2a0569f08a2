-- Stores a session if nobody has written to it since it was loaded.
-- KEYS: the session; optionally the receipt of this write.
-- ARGV: what was loaded, or its stamp; what to store; its TTL; the receipt's TTL.
-- Returns 1 when it is stored, 0 when there is no such session, else what is there instead.
local session, receipt = KEYS[1], KEYS[2]
local loaded, state, ttl = ARGV[1], ARGV[2], ARGV[3]

if receipt and not redis.call('SET', receipt, '', 'NX', 'PX', ARGV[4]) then
    return redis.call('EXISTS', session)
end

local found
local is_stamp = #loaded == 32 and not string.find(loaded, '%S')
if is_stamp then
    if redis.call('GETRANGE', session, -#loaded, -1) == loaded then
        redis.call('SET', session, state, 'PX', ttl)
        return 1
    end
    found = redis.call('GET', session)
else
    -- Writes first, and puts back what should have stayed: nobody can look in between, conflicts
    -- are rare, and every call from Lua costs. (The TTL starts anew, as with every write.)
    found = redis.call('SET', session, state, 'XX', 'GET', 'PX', ttl)
    if found == loaded then
        return 1
    end
    if found then
        redis.call('SET', session, found, 'PX', ttl)
    end
end

if receipt then
    redis.call('DEL', receipt)
end
return found or 0
