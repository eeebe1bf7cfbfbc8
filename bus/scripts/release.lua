-- KEYS  of a group
-- ARGV  1 group, 2 owner, 3 most to give back
-- Gives back, unfinished, what the owner holds: the attempt does not count. The owner's name must not
-- take again afterwards, or a fencing token would be used twice.
-- Returns how many were given back.
allow_when_full()
local now, records = now_ms(), {}
for _, row in ipairs(redis.call('XPENDING', EVENTS, ARGV[1], '-', '+', ARGV[3], ARGV[2])) do
  if park(ARGV[1], row[1], math.max(row[4] - 1, 0), now, records, now) then
    records[#records + 1] = {STEP.RELEASED, row[1], row[4]}
  end
end
journal_records(ARGV[1], ARGV[2], records)
return #records
