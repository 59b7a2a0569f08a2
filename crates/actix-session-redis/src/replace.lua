-- Stores a session if nobody has written to it since it was loaded.
-- KEYS: the session; optionally the receipt of this write.
-- ARGV: what was loaded, as it is or as its SHA-1; what to store; its TTL; the receipt's TTL.
-- Returns 1 when it is stored, 0 when there is no such session, else what is there instead.
local current = redis.call('GET', KEYS[1])
if not current then
    return 0
end
local receipt = KEYS[2]
if receipt and redis.call('EXISTS', receipt) == 1 then
    return 1
end
local compared = current
if #current > 4096 then
    compared = redis.sha1hex(current)
end
if compared ~= ARGV[1] then
    return current
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
if receipt then
    redis.call('SET', receipt, '', 'PX', ARGV[4])
end
return 1
