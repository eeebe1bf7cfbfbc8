-- KEYS  of a group
-- ARGV  1 group, 2 who replays, 3 '1' for a group that keeps order, then ids of dead letters
-- Hands dead letters back to their group, each in the place in the order that it had. The delivery count goes on
-- where it ended, so that no fencing token is used twice. What was delivered before may enter the pending list by
-- FORCE; what was not would come twice, so the group's position is asked first.
-- Returns {how many were replayed, dead letters whose event has left the stream…}; others were handed back before.
allow_when_full()
local now, records, gone, position = now_ms(), {}, {}, position_of(ARGV[1])

local function was_delivered(id)
  local found = redis.call('XRANGE', EVENTS, id, position, 'COUNT', 1)[1]
  return found and found[1] == id and found[2]
end

for at = 4, #ARGV do
  local letter = redis.call('XRANGE', DEAD, ARGV[at], ARGV[at])[1]
  local id, count = letter and field_of(letter[2], 'entry'), letter and field_of(letter[2], 'attempt')
  local fields = letter and position and was_delivered(id)
  if letter and not fields then
    gone[#gone + 1] = ARGV[at]
  elseif letter then
    local key = ARGV[3] == '1' and field_of(fields, 'partitionkey') or ''
    redis.call('XCLAIM', EVENTS, ARGV[1], NOBODY, 0, id, 'RETRYCOUNT', count, 'FORCE', 'JUSTID')
    due_or_waiting(key, id, now)
    if redis.call('HGET', HALTED, key) == id .. ' ' .. ARGV[at] then redis.call('HDEL', HALTED, key) end
    redis.call('HSET', REPLAYED, id, count)
    redis.call('XDEL', DEAD, ARGV[at])
    records[#records + 1] = {STEP.REPLAYED, id, tonumber(count)}
  end
end
journal_records(ARGV[1], ARGV[2], records)
table.insert(gone, 1, #records)
return gone
