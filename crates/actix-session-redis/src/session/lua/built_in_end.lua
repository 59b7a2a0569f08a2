-- As end.lua, of a session in the layout of the store built into actix-session. Of its last state,
-- the bytes are returned, in an array.
local ours = ARGV[1] .. ARGV[2]
local tombstone = redis.call('GET', KEYS[2])
if tombstone and tombstone ~= ours then
    return string.sub(tombstone, #ARGV[1] + 1)
end
if not tombstone then
    -- What is no string is an error here, which is a table.
    if ARGV[4] ~= '' and type(redis.pcall('GET', KEYS[1])) == 'string' then
        redis.call('RENAME', KEYS[1], KEYS[3])
        redis.call('PEXPIRE', KEYS[3], ARGV[4])
    else
        redis.call('UNLINK', KEYS[1], KEYS[3])
    end
    redis.call('SET', KEYS[2], ours, 'PX', ARGV[3])
end
if ARGV[4] == '' then
    return 1
end
return {redis.call('GET', KEYS[3])}
