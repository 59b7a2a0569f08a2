-- Applies the changes of one request to a session that others have changed as well: does what
-- merge.rs does, where no request can come in between.
-- KEYS: the session; optionally the receipt of this write.
-- ARGV: the changes, as JSON; the TTL; the largest size to store; a stamp; the receipt's TTL.
-- Returns 1 when they are stored, 0 when there is no such session, else what is there: the caller
-- has to merge that.
local current = redis.call('GET', KEYS[1])
if not current then
    return 0
end
local receipt = KEYS[2]
if receipt and redis.call('EXISTS', receipt) == 1 then
    return 1
end

local readable, state = pcall(cjson.decode, current)
-- An array would be a table, too.
if not readable or string.sub(current, 1, 1) ~= '{' then
    return current
end
for field, value in pairs(state) do
    if type(field) ~= 'string' or type(value) ~= 'string' then
        return current
    end
end

for _, change in ipairs(cjson.decode(ARGV[1])) do
    local field, ours, added = change[1], change[2], change[3]
    local theirs = state[field] or '0'
    if ours == cjson.null then
        state[field] = nil
    elseif added ~= cjson.null and string.match(theirs, '^-?%d+$') then
        -- Lua counts exactly as far as 15 digits.
        if #theirs > 15 or #added > 15 then
            return current
        end
        state[field] = string.format('%.0f', tonumber(theirs) + tonumber(added))
    else
        state[field] = ours
    end
end

local merged = cjson.encode(state)
if #merged > tonumber(ARGV[3]) then
    return current
end
-- Stamped as in stamp.rs.
if #merged > 4096 then
    merged = merged .. ARGV[4]
end
redis.call('SET', KEYS[1], merged, 'PX', ARGV[2])
if receipt then
    redis.call('SET', receipt, '', 'PX', ARGV[5])
end
return 1
