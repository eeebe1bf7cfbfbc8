-- KEYS  of a group
-- ARGV  1 group, 2 who does it, 3 'release', 'skip' or 'dead', 4 packed failure of a dead one, then pairs: entry, the
--       delivery count that its operator saw
-- Ends the wait of pending entries by hand. The fence is the count that was seen: an entry that was settled or handed
-- out meanwhile is passed over. Whoever runs one finds its result stale: its delivery is no longer theirs.
--   release: due at once; an attempt that a worker was at does not count (the count goes on, so that no fencing token
--   is used twice). skip: leaves the group, never handled. dead: to the dead letters; blocks its key where the
--   subscription says so.
-- Returns {how many were done, then pairs: entry passed over, why: 'gone', 'moved', 'key' or 'due'}.
allow_when_full()
local group, verb, now, records, passed = ARGV[1], ARGV[3], now_ms(), {}, {}
local said = redis.call('HGET', META, 'sub:' .. group)
local halts = said and cmsgpack.unpack(said).on_dead == 'halt'

local function key_of(id)
  local found = redis.call('XRANGE', EVENTS, id, id)[1]
  return found and field_of(found[2], 'partitionkey')
end

-- Why the entry can't be released, or nothing.
local function release(id, count, owner)
  local due = redis.call('ZSCORE', DUE, id)
  if owner == NOBODY and not due then return 'key' end
  if due and tonumber(due) <= now then return 'due' end
  if park(group, id, count, now, records, now) then
    if owner == NOBODY then
      count = count + 1
    else
      redis.call('HINCRBY', REPLAYED, id, 1)
    end
    records[#records + 1] = {STEP.RELEASED, id, count}
  end
end

local function leave(id, count, key)
  local holds = false
  if verb == 'dead' then
    local _
    _, holds = bury(group, id, count, ARGV[4], halts)
    records[#records + 1] = {STEP.DEAD_LETTERED, id, count, 0, 0, 0, cmsgpack.unpack(ARGV[4])}
  else
    redis.call('XACK', EVENTS, group, id)
    records[#records + 1] = {STEP.SKIPPED, id, count}
  end
  redis.call('ZREM', DUE, id)
  forget_counts({id})
  if key then redis.call('ZREM', PARKED, waiting_member(key, id)) end
  if key and not holds then free_key(key, id, now) end
end

local done = 0
for at = 5, #ARGV, 2 do
  local id = ARGV[at]
  local row = redis.call('XPENDING', EVENTS, group, id, id, 1)[1]
  local why
  if not row then
    why = 'gone'
  elseif row[4] ~= tonumber(ARGV[at + 1]) then
    why = 'moved'
  elseif verb == 'release' then
    why = release(id, row[4], row[2])
  else
    leave(id, row[4], key_of(id))
  end
  if why then
    passed[#passed + 1] = id
    passed[#passed + 1] = why
  else
    done = done + 1
  end
end
journal_records(group, ARGV[2], records)
table.insert(passed, 1, done)
return passed
