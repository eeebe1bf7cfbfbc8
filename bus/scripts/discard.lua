-- KEYS  of a group
-- ARGV  1 group, 2 who does it, 3 ms after which a discarded one is forgotten, then ids of dead letters
-- Puts dead letters aside; a key that one of them blocked is free. Returns how many; others were gone before.
allow_when_full()
local now, records = now_ms(), {}
for at = 4, #ARGV do
  local letter = redis.call('XRANGE', DEAD, ARGV[at], ARGV[at])[1]
  if letter then
    local id, key = field_of(letter[2], 'entry'), field_of(letter[2], 'partitionkey')
    redis.call('XADD', DISCARDED, '*', unpack(letter[2]))
    redis.call('XDEL', DEAD, ARGV[at])
    if key and redis.call('HGET', HALTED, key) == id .. ' ' .. ARGV[at] then
      redis.call('HDEL', HALTED, key)
      free_key(key, id, now)
    end
    records[#records + 1] = {STEP.DISCARDED, id, tonumber(field_of(letter[2], 'attempt'))}
  end
end
redis.call('XTRIM', DISCARDED, 'MINID', '~', string.format('%.0f-0', math.max(now - ARGV[3], 0)))
journal_records(ARGV[1], ARGV[2], records)
return #records
