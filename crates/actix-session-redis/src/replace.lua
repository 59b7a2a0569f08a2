-- Stores a session if nobody has written to it since it was loaded.
-- KEYS: the session; optionally the receipt of this write.
-- ARGV: what was loaded, as it is or as its SHA-1; what to store; its TTL; the receipt's TTL.
-- Returns 1 when it is stored, 0 when there is no such session, else what is there instead.
-- Writes first, and puts back what should have stayed: nobody can look in between, conflicts are
-- rare, and every call from Lua costs. (The TTL starts anew, as with every write.)
local receipt = KEYS[2]
if receipt and not redis.call('SET', receipt, '', 'NX', 'PX', ARGV[4]) then
    return redis.call('EXISTS', KEYS[1])
end
local former = redis.call('SET', KEYS[1], ARGV[2], 'XX', 'GET', 'PX', ARGV[3])
local compared = former
if former and #former > 4096 then
    compared = redis.sha1hex(former)
end
if compared == ARGV[1] then
    return 1
end
if receipt then
    redis.call('DEL', receipt)
end
if not former then
    return 0
end
redis.call('SET', KEYS[1], former, 'PX', ARGV[3])
return former
