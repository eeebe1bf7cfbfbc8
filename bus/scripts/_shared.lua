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

-- Copies the event to the dead letters and takes it out of the group. Returns the event's fields, if it is there.
local function bury(events, dead, group, id, count, failure)
  local found = redis.call('XRANGE', events, id, id)
  if found[1] then
    local fields = found[1][2]
    redis.call('XADD', dead, '*', 'entry', id, 'attempt', count, 'failure', failure,
      unpack(fields, 1, math.min(#fields, MAX_FIELDS)))
  end
  redis.call('XACK', events, group, id)
  return found[1] and found[1][2]
end

local function field_of(flat, name)
  for i = 1, #flat, 2 do
    if flat[i] == name then return flat[i + 1] end
  end
end

-- Waiting members of a key sort by age: the key's digest, then the entry id, padded so that it sorts as text.
local function digest_of(key)
  return string.sub(redis.sha1hex(key), 1, 20)
end

local function waiting_member(key, id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return digest_of(key) .. ':' .. string.rep('0', 20 - #ms) .. ms .. '-' .. string.rep('0', 20 - #seq) .. seq
end

-- The entry `id` of an ordered key has left the group: its key passes to the next one that waits, due at once.
local function free_key(due, busy, parked, key, id, now)
  if redis.call('HGET', busy, key) ~= id then return end
  local digest = digest_of(key)
  local following = redis.call('ZRANGEBYLEX', parked, '[' .. digest .. ':', '(' .. digest .. ';', 'LIMIT', 0, 1)[1]
  if following then
    local ms, seq = string.match(following, ':0*(%d+)%-0*(%d+)$')
    redis.call('ZREM', parked, following)
    redis.call('HSET', busy, key, ms .. '-' .. seq)
    redis.call('ZADD', due, now, ms .. '-' .. seq)
  else
    redis.call('HDEL', busy, key)
  end
end

-- Takes retries whose time has come, at most `count`: {id, fields, delivery count, attempts before a replay}…
-- An event that is gone is acknowledged and journalled as lost.
local function take_due(events, journal, due, busy, parked, replayed, group, owner, count)
  local now, taken, lost = now_ms(), {}, {}
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, count)) do
    local pending = redis.call('XPENDING', events, group, id, id, 1)[1]
    redis.call('ZREM', due, id)
    if pending and pending[2] == PARKED then
      if redis.call('XRANGE', events, id, id)[1] then
        local claimed = redis.call('XCLAIM', events, group, owner, 0, id)[1]
        taken[#taken + 1] = {id, claimed[2], pending[4] + 1, tonumber(redis.call('HGET', replayed, id) or 0)}
      else
        redis.call('XACK', events, group, id)
        lost[#lost + 1] = {STEP.LOST, id, pending[4]}
        local all = redis.call('HGETALL', busy) -- its key went with the event: find it by the entry
        for i = 1, #all, 2 do
          if all[i + 1] == id then free_key(due, busy, parked, all[i], id, now) end
        end
      end
    end
  end
  if #lost > 0 then
    redis.call('XADD', journal, '*', 'g', group, 'w', owner, 'b', cmsgpack.pack(lost))
  end
  local next_due = redis.call('ZRANGE', due, 0, 0, 'WITHSCORES')[2]
  return taken, next_due and math.max(0, next_due - now) or -1
end

local function journal_records(journal, group, worker, records)
  if #records > 0 then
    redis.call('XADD', journal, '*', 'g', group, 'w', worker, 'b', cmsgpack.pack(records))
  end
end
