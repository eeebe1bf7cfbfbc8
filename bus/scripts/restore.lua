-- KEYS  of a group
-- ARGV  1 group, 2 who does it, then ids of discarded ones
-- Puts discarded ones back among the dead letters; none of them blocks a key again. Returns how many.
allow_when_full()
local records = {}
for at = 3, #ARGV do
  local letter = redis.call('XRANGE', DISCARDED, ARGV[at], ARGV[at])[1]
  if letter then
    redis.call('XADD', DEAD, '*', unpack(letter[2]))
    redis.call('XDEL', DISCARDED, ARGV[at])
    records[#records + 1] = {STEP.RESTORED, field_of(letter[2], 'entry'), tonumber(field_of(letter[2], 'attempt'))}
  end
end
journal_records(ARGV[1], ARGV[2], records)
return #records
