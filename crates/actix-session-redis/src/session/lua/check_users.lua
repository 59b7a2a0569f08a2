-- As check.lua, of what only the sessions of users need.
-- KEYS: a Redis key under the prefix.
local key = KEYS[1]
redis.call('UNLINK', key)
redis.call('ZADD', key, now(), 'n')
redis.call('PEXPIRE', key, 1000)
redis.call('ZSCORE', key, 'n')
redis.call('ZCARD', key)
redis.call('ZRANGE', key, 0, -1)
redis.call('ZREM', key, 'n')
return 1
