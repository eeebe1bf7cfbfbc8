-- Shared by every script, behind the table STEP, made from bus.journal.Step. No script parses a payload; each
-- begins with the keys it may touch.
local PARKED = '~'
local MAX_FIELDS = 6000 -- names and values that unpack may spread

local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- XREADGROUP and XCLAIM answer {} when the entry is gone from the stream.
local function park(events, group, id, count)
  redis.call('XCLAIM', events, group, PARKED, 0, id, 'RETRYCOUNT', count, 'JUSTID')
end

-- Copies the event to the dead letters and takes it out of the group. False: the event is gone.
local function bury(events, dead, group, id, count, failure)
  local found = redis.call('XRANGE', events, id, id)
  if found[1] then
    local fields = found[1][2]
    redis.call('XADD', dead, '*', 'entry', id, 'attempt', count, 'failure', failure,
      unpack(fields, 1, math.min(#fields, MAX_FIELDS)))
  end
  redis.call('XACK', events, group, id)
  return found[1] ~= nil
end

local function journal_records(journal, group, worker, records)
  if #records > 0 then
    redis.call('XADD', journal, '*', 'g', group, 'w', worker, 'b', cmsgpack.pack(records))
  end
end
