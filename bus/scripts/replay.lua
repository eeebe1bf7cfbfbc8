-- KEYS  1 events, 2 journal, 3 due, 4 busy, 5 parked, 6 dead, 7 replayed
-- ARGV  1 group, 2 who replays, 3 '1' for a group that keeps order, then ids of dead letters
-- Hands dead letters back to their group, each in the place in the order that it had. The delivery count goes on
-- where it ended, so that no fencing token is used twice. What was delivered before may enter the pending list by
-- FORCE; what was not would come twice, so the group's cursor is asked first.
-- Returns {how many were replayed, dead letters whose event has left the stream…}; others were handed back before.
redis.call('ZREM', KEYS[3], '')
local now, records, gone, cursor = now_ms(), {}, {}, nil
for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  if field_of(group, 'name') == ARGV[1] then cursor = field_of(group, 'last-delivered-id') end
end

local function was_delivered(id)
  local found = redis.call('XRANGE', KEYS[1], id, cursor, 'COUNT', 1)[1]
  return found and found[1] == id and found[2]
end

for at = 4, #ARGV do
  local letter = redis.call('XRANGE', KEYS[6], ARGV[at], ARGV[at])[1]
  local id, count = letter and field_of(letter[2], 'entry'), letter and field_of(letter[2], 'attempt')
  local fields = letter and cursor and was_delivered(id)
  if letter and not fields then
    gone[#gone + 1] = ARGV[at]
  elseif letter then
    local key = ARGV[3] == '1' and field_of(fields, 'partitionkey') or ''
    redis.call('XCLAIM', KEYS[1], ARGV[1], PARKED, 0, id, 'RETRYCOUNT', count, 'FORCE', 'JUSTID')
    if key == '' or redis.call('HSETNX', KEYS[4], key, id) == 1 then
      redis.call('ZADD', KEYS[3], now, id)
    else
      redis.call('ZADD', KEYS[5], 0, waiting_member(key, id))
    end
    redis.call('HSET', KEYS[7], id, count)
    redis.call('XDEL', KEYS[6], ARGV[at])
    records[#records + 1] = {STEP.REPLAYED, id, tonumber(count)}
  end
end
journal_records(KEYS[2], ARGV[1], ARGV[2], records)
table.insert(gone, 1, #records)
return gone
