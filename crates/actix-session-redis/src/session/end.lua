-- Ends a session, and remembers for a while that it has ended: without that, a request that is
-- still running would take it for expired, and save it again.
-- KEYS: the session; its tombstone.
-- ARGV: who ends it; how long to remember that.
-- Returns 0 when somebody else had ended it before, else the state that it held, or 1 if none.
redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2])
-- What is no text is an error here, and no state.
local state = redis.pcall('GET', KEYS[1])
redis.call('DEL', KEYS[1])
if redis.call('GET', KEYS[2]) ~= ARGV[1] then
    return 0
end
return type(state) == 'string' and state or 1
