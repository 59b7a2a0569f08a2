-- Gives a session another state.
-- KEYS: the session; and, while sessions are adopted, its copy.
-- ARGV: its TTL, or '' if that stays; until when it may be written, or ''; what it must say of its owner ('=' and what
-- USER holds), or '' if that does not matter; how many arguments are fields of ours that go; how many
-- are fields of the state, and their values; those that go; those of the state, and then fields of ours,
-- with their values.
-- Returns 1; 0 if there is no such session, or it has ended there; 2 if it says something else of its owner.
local key, first = KEYS[1], 6 + ARGV[4]
local born, ours = own_fields(key)
if not born or is_too_late(ARGV[2]) then
    return 0
end
if not has_owner(key, ARGV[3], ARGV, first + ARGV[5], #ARGV) then
    return 2
end
-- Sets first: Redis that is full refuses that, before anything is lost.
in_chunks('HSET', key, ARGV, first, #ARGV)
in_chunks('HDEL', key, ARGV, 6, first - 1)
if first > 6 or #ARGV >= first + ARGV[5] then
    born, ours = own_fields(key)
end
if redis.call('HLEN', key) > ARGV[5] / 2 + ours then
    local stays = {}
    for i = first, first + ARGV[5] - 1, 2 do
        stays[ARGV[i]] = true
    end
    local stale = {}
    for _, field in ipairs(redis.call('HKEYS', key)) do
        if not stays[field] and string.byte(field) ~= 255 then
            stale[#stale + 1] = field
        end
    end
    in_chunks('HDEL', key, stale, 1, #stale)
end
if ARGV[1] ~= '' then
    redis.call('PEXPIRE', key, ARGV[1])
end
return has_ended_there(key, KEYS[2], ARGV[1]) and 0 or 1
