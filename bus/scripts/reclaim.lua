-- KEYS  of a group
-- ARGV  1 group, 2 worker that reclaims, 3 crashes that make a dead letter, 4 packed failure of such a one,
--       5 '1' where a dead letter blocks its key, 6 most to reclaim, then pairs: dead owner, least idle ms
-- Takes entries of dead workers and makes them due at once. Returns how many were taken.
allow_when_full()
local now, records = now_ms(), {}
for at = 7, #ARGV, 2 do
  for _, row in ipairs(redis.call('XPENDING', EVENTS, ARGV[1], 'IDLE', ARGV[at + 1], '-', '+', ARGV[6], ARGV[at])) do
    local id, count = row[1], row[4]
    local crashes = redis.call('HINCRBY', CRASHES, id, 1)
    if crashes < tonumber(ARGV[3]) then
      if park(ARGV[1], id, count, now, records, now) then
        records[#records + 1] = {STEP.RECLAIMED, id, count}
      end
    elseif not redis.call('XRANGE', EVENTS, id, id)[1] then
      lose(ARGV[1], id, count, records, now)
    else
      local key, holds = bury(ARGV[1], id, count, ARGV[4], ARGV[5] == '1')
      if key and not holds then free_key(key, id, now) end
      forget_counts({id})
      records[#records + 1] = {STEP.DEAD_LETTERED, id, count, 0, 0, 0, cmsgpack.unpack(ARGV[4])}
    end
  end
end
journal_records(ARGV[1], ARGV[2], records)
return #records
