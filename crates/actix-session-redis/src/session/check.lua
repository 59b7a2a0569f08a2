-- Does all that the store's scripts do, under a key of its own: whoever may not, is told so here.
-- KEYS: a Redis key under the prefix.
redis.call('SET', KEYS[1], '', 'NX', 'PX', 1000)
redis.call('SET', KEYS[1], '', 'XX', 'GET', 'PX', 1000)
redis.call('GET', KEYS[1])
redis.call('GETRANGE', KEYS[1], -1, -1)
redis.call('EXISTS', KEYS[1])
redis.call('DEL', KEYS[1])
return 1
