-- KEYS  1 heartbeats, 2 worker info
-- ARGV  1 worker, 2 info as JSON, 3 ms after which a silent worker is forgotten
-- Returns the server's clock in ms.
local now = now_ms()
redis.call('ZREM', KEYS[1], '') -- as allow_when_full: without a heartbeat nobody reclaims anything
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
local old = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[3], 'LIMIT', 0, 100)
if #old > 0 then
  redis.call('ZREM', KEYS[1], unpack(old))
  redis.call('HDEL', KEYS[2], unpack(old))
end
-- Beats of the future, from before the clock fell: without this a dead worker would live until then.
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. now, '+inf', 'LIMIT', 0, 100)) do
  redis.call('ZADD', KEYS[1], now, name)
end
return now
