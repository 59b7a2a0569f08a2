-- Writes changes of which some depend on what the session holds: all of them, or none.
-- KEYS: the session; and, while sessions are adopted, its copy.
-- ARGV: its TTL, or '' if that stays, or '<' and what it may be at most to stay; until when it may be
-- written, or ''; what it must say of its owner ('=' and what USER holds), or '' if that does not matter; lane and
-- number of this write, or '' twice if it may be carried out again; how many arguments are fields to set, and their
-- values; how many are fields to remove; how many depend on what is there; how many fields there must be, or '' if
-- that does not matter; all of those; and then for each that depends on what is there:
--   'add', difference, ''          added to an integer, or to nothing
--   'set', value, expected         set if it holds that
--   'remove', '', expected         the same
--   'keep', '', expected           not written, but has to hold that
--   'reseal', value, expected      set if it holds that; if not, no matter
-- (What is expected has a '=' before it, or is '' if the field has to be missing.)
-- Returns 1 when they are written, 0 when there is no such session or it has ended there, else the fields that do
-- not hold what is expected, each with what they hold; none if it is their number that is another one, or USER, or
-- the TTL that is to stay.
local key, ttl, lane, number = KEYS[1], ARGV[1], ARGV[4], tonumber(ARGV[5])
local at_most = tonumber(string.match(ttl, '^<(%d+)$'))
if at_most then
    ttl = ''
end
local last_set = 9 + ARGV[6]
local last_removed = last_set + ARGV[7]
local guarded = tonumber(ARGV[8])
local first, last = last_removed + 1, last_removed + guarded

local held = redis.call('HMGET', key, BORN, WRITTEN, unpack(ARGV, first, math.min(first + 999, last)))
if not held[1] or is_too_late(ARGV[2]) then
    return 0
end
for from = first + 1000, last, 1000 do
    local more = redis.call('HMGET', key, unpack(ARGV, from, math.min(from + 999, last)))
    for i = 1, #more do
        held[#held + 1] = more[i]
    end
end

-- For each lane, the number of its last write: 8 bytes and 6.
local written, at = held[2] or '', nil
if number then
    repeat
        at = string.find(written, lane, (at or 0) + 1, true)
    until not at or at % 14 == 1
end
if not at or struct.unpack('>I6', written, at + 8) < number then
    if not has_owner(key, ARGV[3], ARGV, 10, last_set) then
        return {}
    end
    if at_most and redis.call('PTTL', key) > at_most then
        return {}
    end
    if ARGV[9] ~= '' then
        local _, ours = own_fields(key)
        if redis.call('HLEN', key) - ours ~= tonumber(ARGV[9]) then
            return {}
        end
    end
    local others
    for i = 1, guarded do
        local theirs, how = held[2 + i], ARGV[last + 3 * i - 2]
        if how ~= 'add' and how ~= 'reseal' and ARGV[last + 3 * i] ~= (theirs and '=' .. theirs or '') then
            others = others or {}
            others[#others + 1] = ARGV[last_removed + i]
            others[#others + 1] = theirs
        end
    end
    if others then
        return others
    end

    for i = 1, guarded do
        local field, how = ARGV[last_removed + i], ARGV[last + 3 * i - 2]
        local sum = how == 'add' and redis.pcall('HINCRBY', key, field, ARGV[last + 3 * i - 1])
        if type(sum) == 'table' then
            if string.sub(sum.err, 1, 4) ~= 'ERR ' then
                return sum
            end
            -- No integer, or an overflow: takes back what was added before.
            for j = 1, i - 1 do
                if ARGV[last + 3 * j - 2] == 'add' then
                    if held[2 + j] then
                        redis.call('HSET', key, ARGV[last_removed + j], held[2 + j])
                    else
                        redis.call('HDEL', key, ARGV[last_removed + j])
                    end
                end
            end
            return {field, held[2 + i]}
        end
    end
    for i = 1, guarded do
        local field, how = ARGV[last_removed + i], ARGV[last + 3 * i - 2]
        local value = ARGV[last + 3 * i - 1]
        local is_set = how == 'set' or how == 'reseal' and ARGV[last + 3 * i] == '=' .. (held[2 + i] or '')
        if is_set and value ~= held[2 + i] then
            redis.call('HSET', key, field, value)
        elseif how == 'remove' then
            redis.call('HDEL', key, field)
        end
    end
    in_chunks('HSET', key, ARGV, 10, last_set)
    in_chunks('HDEL', key, ARGV, last_set + 1, last_removed)
    if number then
        written = at and string.sub(written, 1, at - 1) .. string.sub(written, at + 14) or written
        -- Those of the last 64 lanes.
        written = string.sub(written, -63 * 14) .. lane .. struct.pack('>I6', number)
        redis.call('HSET', key, WRITTEN, written)
    end
end
if ttl ~= '' then
    redis.call('PEXPIRE', key, ttl)
end
return has_ended_there(key, KEYS[2], ttl) and 0 or 1
