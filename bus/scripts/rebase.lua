-- KEYS  of a group
-- ARGV  1 group, 2 who asks, 3 ms that a clock may fall unnoticed
-- Moves retries back by as much as the server's clock fell since it was last looked at: without that they would
-- wait until it has caught up. Returns by how many ms it fell, or 0.
allow_when_full()
local now, field = now_ms(), 'clock:' .. ARGV[1]
local seen = tonumber(redis.call('HGET', META, field) or 0)
local fell = seen - now
if fell > 0 and fell <= tonumber(ARGV[3]) then return 0 end
redis.call('HSET', META, field, string.format('%.0f', now))
if fell <= 0 then return 0 end
local waiting = redis.call('ZRANGEBYSCORE', DUE, '(' .. now, '+inf', 'WITHSCORES')
for i = 1, #waiting, 2 do
  redis.call('ZADD', DUE, math.max(now, waiting[i + 1] - fell), waiting[i])
end
redis.call('XADD', JOURNAL, '*', 'g', ARGV[1], 'c',
  cmsgpack.pack({'rebased', ARGV[2], '', string.format('%.0f', seen), string.format('%.0f', now)}))
return fell
