-- Removes what a write that came too late has left: fields of no session.
-- KEYS: the session.
if redis.call('HEXISTS', KEYS[1], BORN) == 0 then
    redis.call('UNLINK', KEYS[1])
end
return 1
