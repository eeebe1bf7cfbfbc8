-- KEYS  of a group
-- ARGV  1 group, 2 owner, 3 most to take, 4 most entries that may wait for their key
-- Takes due retries, then new events, for a group that keeps order per key: of one key at most one entry
-- runs, and it is the oldest. Read and admitted in one step, since two workers that read first and admit
-- later would swap them. A group that is paused takes nothing.
-- Returns {{id, fields, delivery count, attempts before a replay}…, ms until the next retry or -1, the id of one
--   that must be settled before another is begun or '', what `control_of` says, last entry read or '', 1 when too
--   many wait}.
allow_when_full()
local control = control_of(ARGV[1])
if control[1] then return {{}, -1, '', control, '', 0} end
local taken, next_due, alone = take_due(ARGV[1], ARGV[2], ARGV[3])
local room, last, full = alone == '' and ARGV[3] - #taken or 0, '', redis.call('ZCARD', PARKED) >= tonumber(ARGV[4])
if room > 0 and not full then
  local read = redis.call('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', room, 'STREAMS', EVENTS, '>')
  local rows = read and read[1][2] or {}
  local keys, names, holder, gained = {}, {}, {}, {}
  for i, row in ipairs(rows) do
    local key = row[2][9] == 'partitionkey' and row[2][10] or field_of(row[2], 'partitionkey')
    if key and key ~= '' then
      keys[i] = key
      names[#names + 1] = key
    end
  end
  for i, id in ipairs(#names > 0 and redis.call('HMGET', BUSY, unpack(names)) or {}) do
    holder[names[i]] = id
  end
  for i, row in ipairs(rows) do
    local key = keys[i]
    last = row[1]
    if not key or not holder[key] then
      taken[#taken + 1] = {row[1], row[2], 1, 0}
      if key then
        holder[key] = row[1]
        gained[#gained + 1] = key
        gained[#gained + 1] = row[1]
      end
    else
      redis.call('XCLAIM', EVENTS, ARGV[1], NOBODY, 0, row[1], 'RETRYCOUNT', 0, 'JUSTID')
      redis.call('ZADD', PARKED, 0, waiting_member(key, row[1]))
    end
  end
  if #gained > 0 then redis.call('HSET', BUSY, unpack(gained)) end
end
return {taken, next_due, alone, control, last, full and 1 or 0}
