-- Gives a session another state.
-- KEYS: the session. ARGV: its TTL; fields and their values.
-- Returns 1, or 0 if there is no such session.
local ours = redis.call('HMGET', KEYS[1], BORN, WRITTEN)
if not ours[1] then
    return 0
end
-- Sets first: Redis that is full refuses that, before anything is lost.
in_chunks('HSET', KEYS[1], ARGV, 2, #ARGV)
local fields = (#ARGV - 1) / 2 + (ours[2] and 2 or 1)
if redis.call('HLEN', KEYS[1]) > fields then
    local stays = {[BORN] = true, [WRITTEN] = true}
    for i = 2, #ARGV, 2 do
        stays[ARGV[i]] = true
    end
    local stale = {}
    for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
        if not stays[field] then
            stale[#stale + 1] = field
        end
    end
    in_chunks('HDEL', KEYS[1], stale, 1, #stale)
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1
