-- KEYS  1 events, 2 journal, 3 due
-- ARGV  1 group, 2 owner, 3 most to take
-- Takes the retries whose time has come.
-- Returns {{id, fields, delivery count}…, ms until the next retry or -1}.
redis.call('ZREM', KEYS[3], '') -- the first write decides about out-of-memory: this one always may
local now, taken, lost = now_ms(), {}, {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now, 'LIMIT', 0, ARGV[3])) do
  local pending = redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1)[1]
  if pending and pending[2] == PARKED then
    if redis.call('XRANGE', KEYS[1], id, id)[1] then
      local claimed = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, id)[1]
      taken[#taken + 1] = {id, claimed[2], pending[4] + 1}
    else
      redis.call('XACK', KEYS[1], ARGV[1], id)
      lost[#lost + 1] = {STEP.LOST, id, pending[4]}
    end
  end
  redis.call('ZREM', KEYS[3], id)
end
journal_records(KEYS[2], ARGV[1], ARGV[2], lost)
local next_due = redis.call('ZRANGE', KEYS[3], 0, 0, 'WITHSCORES')[2]
return {taken, next_due and math.max(0, next_due - now) or -1}
