-- Does all that the store's scripts do, under a key of its own: whoever may not, is told so here.
-- KEYS: a Redis key under the prefix.
local key = KEYS[1]
redis.call('EXISTS', key)
redis.call('UNLINK', key)
redis.call('HSET', key, BORN, '0', 'n', '1')
redis.call('HINCRBY', key, 'n', 1)
redis.call('HMGET', key, BORN, WRITTEN)
redis.call('HKEYS', key)
redis.call('HLEN', key)
redis.call('HGET', key, BORN)
redis.call('HEXISTS', key, BORN)
redis.call('HGETALL', key)
redis.call('HDEL', key, 'n')
redis.call('RENAME', key, key)
redis.call('PEXPIRE', key, 1000)
redis.call('UNLINK', key)
redis.call('SET', key, '', 'PX', 1000)
redis.call('GET', key)
redis.call('UNLINK', key)
return 1
