-- Ends a session, and leaves a tombstone for a while.
-- KEYS: the session; its tombstone; where its last state goes; and, while sessions are adopted, its copy in the
-- layout of the store built into actix-session, if that is known.
-- ARGV: who ends it; the id of the session that takes its place, or ''; how long the tombstone
-- stays; how long the last state stays, or '' if nobody asks for it; '1' while sessions are adopted; and, if it
-- matters whose it is (after '', if none are adopted): '1' if it may become theirs, or begin, at any moment; and
-- their names.
-- Returns the successor that somebody else has ended it for, or '', if somebody else has. If we have,
-- now or in an earlier try: the fields of its last state, or 1 if nobody asks. 2 if it is somebody
-- else's.
local ours = ARGV[1] .. ARGV[2]
local tombstone = redis.pcall('GET', KEYS[2])
if type(tombstone) == 'table' then
    if string.sub(tombstone.err, 1, 9) ~= 'WRONGTYPE' then
        return tombstone
    end
    tombstone = false
end
-- The last state says it, too, if the tombstone was evicted.
if not tombstone and redis.pcall('HEXISTS', KEYS[3], ENDED) == 1 then
    tombstone = redis.call('HGET', KEYS[3], ENDED)
end

local function is_theirs()
    if not ARGV[6] or ARGV[6] ~= '' then
        return true
    end
    local user = redis.pcall('HGET', KEYS[1], USER)
    for i = 7, #ARGV do
        if type(user) == 'string' and string.sub(user, 1, #ARGV[i]) == ARGV[i] then
            return true
        end
    end
    return false
end

-- Of a session whose key is not known, only the session knows where its copy is. (Redis lets a script use such a
-- key on one server; in a cluster nothing is adopted.)
local function remove_copy()
    local known = ARGV[5] == '1' and redis.pcall('HGET', KEYS[1], COPY)
    known = type(known) == 'string' and known
    local copy = KEYS[4] or known
    if copy and redis.call('UNLINK', copy) == 0 and known then
        -- The store built into actix-session has ended the session: it is gone like any other.
        redis.call('UNLINK', KEYS[1])
    end
end

if tombstone and KEYS[4] then
    redis.call('UNLINK', KEYS[4])
end
if tombstone and tombstone ~= ours then
    local successor = string.sub(tombstone, #ARGV[1] + 1)
    -- What has ended is gone, unless somebody has put it back, or the tombstone beside it.
    if redis.pcall('HEXISTS', KEYS[1], BORN) ~= 1 or not is_theirs() then
        return successor
    end
    if successor ~= '' then
        redis.call('UNLINK', KEYS[1])
        return successor
    end
    tombstone = false
end
if not tombstone then
    if not is_theirs() then
        return 2
    end
    remove_copy()
    -- Removes first: Redis that is full lets a script set something after that.
    if ARGV[4] ~= '' and redis.pcall('HEXISTS', KEYS[1], BORN) == 1 then
        redis.call('RENAME', KEYS[1], KEYS[3])
        redis.call('PEXPIRE', KEYS[3], ARGV[4])
        redis.call('HSET', KEYS[3], ENDED, ours)
    else
        -- It may have been renewed before, and its tombstone was evicted.
        redis.call('UNLINK', KEYS[1], KEYS[3])
    end
    redis.call('SET', KEYS[2], ours, 'PX', ARGV[3])
end
if ARGV[4] == '' then
    return 1
end
return redis.call('HGETALL', KEYS[3])
