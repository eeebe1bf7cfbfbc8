-- KEYS  1 events, 2 journal, 3 due, 4 busy, 5 parked, 6 dead, 7 crashes, 8 replayed
-- ARGV  1 group, 2 worker that reclaims, 3 crashes that make a dead letter, 4 packed failure of such a one,
--       5 most to reclaim, then pairs: dead owner, least idle ms
-- Takes entries of dead workers and makes them due at once. Returns how many were taken.
redis.call('ZREM', KEYS[3], '')
local now, records = now_ms(), {}
for at = 6, #ARGV, 2 do
  for _, row in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1], 'IDLE', ARGV[at + 1], '-', '+', ARGV[5], ARGV[at])) do
    local id, count = row[1], row[4]
    local crashes = redis.call('HINCRBY', KEYS[7], id, 1)
    if crashes < tonumber(ARGV[3]) then
      park(KEYS[1], ARGV[1], id, count)
      redis.call('ZADD', KEYS[3], now, id)
      records[#records + 1] = {STEP.RECLAIMED, id, count}
    else
      local fields = bury(KEYS[1], KEYS[6], ARGV[1], id, count, ARGV[4])
      local key = fields and field_of(fields, 'partitionkey')
      if key then free_key(KEYS[3], KEYS[4], KEYS[5], key, id, now) end
      redis.call('HDEL', KEYS[7], id)
      redis.call('HDEL', KEYS[8], id)
      records[#records + 1] = {STEP.DEAD_LETTERED, id, count, 0, 0, 0, cmsgpack.unpack(ARGV[4])}
    end
  end
end
journal_records(KEYS[2], ARGV[1], ARGV[2], records)
return #records
