-- Gives a session another state.
-- KEYS: the session. ARGV: its TTL, or '' if that stays; fields and their values.
-- Returns 1, or 0 if there is no such session.
local born, ours = own_fields(KEYS[1])
if not born then
    return 0
end
-- Sets first: Redis that is full refuses that, before anything is lost.
in_chunks('HSET', KEYS[1], ARGV, 2, #ARGV)
if redis.call('HLEN', KEYS[1]) > (#ARGV - 1) / 2 + ours then
    local stays = {[BORN] = true, [WRITTEN] = true, [COPY] = true}
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
if ARGV[1] ~= '' then
    redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
return 1
