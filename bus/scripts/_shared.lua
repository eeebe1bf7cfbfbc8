-- Shared by every script, behind the table STEP, made from bus.journal.Step. No script parses a payload.
--
-- KEYS of a group on a partition, the same for each of its scripts (others say their own):
local EVENTS, JOURNAL, META = KEYS[1], KEYS[2], KEYS[3] -- streams; hash, see bus/keys.py
local DUE, BUSY, PARKED = KEYS[4], KEYS[5], KEYS[6] -- zset entry → ms; hash key → entry; zset of waiting members
local DEAD, DISCARDED, HALTED = KEYS[7], KEYS[8], KEYS[9] -- streams; hash key → entry and dead letter
local CRASHES, REPLAYED = KEYS[10], KEYS[11] -- hashes entry → number
local HELD = KEYS[12] -- hash entry → ms: what has stopped at the group's breakpoint so far, let go since or not

local NOBODY = '~' -- owner of what waits for its time or for its key
local HOLDER = '!' -- owner of what a breakpoint holds
local MAX_HELD = 500 -- that a breakpoint may hold
local MAX_FIELDS = 6000 -- names and values that unpack may spread

local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- The first write of a script decides whether a server out of memory refuses it. This one always may, so that
-- deliveries go on while publishing can't.
local function allow_when_full()
  redis.call('ZREM', DUE, '')
end

local function field_of(flat, name)
  for i = 1, #flat, 2 do
    if flat[i] == name then return flat[i + 1] end
  end
end

-- The group's position, the last entry that it was given; nothing when there is no such group.
local function position_of(group)
  if redis.call('EXISTS', EVENTS) == 0 then return nil end
  for _, flat in ipairs(redis.call('XINFO', 'GROUPS', EVENTS)) do
    if field_of(flat, 'name') == group then return field_of(flat, 'last-delivered-id') end
  end
end

local function parts(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(seq)
end

local function is_older(a, b)
  local a_ms, a_seq = parts(a)
  local b_ms, b_seq = parts(b)
  return a_ms < b_ms or (a_ms == b_ms and a_seq < b_seq)
end

local function forget_counts(ids)
  for _, name in ipairs({CRASHES, REPLAYED}) do
    if #ids > 0 and redis.call('EXISTS', name) == 1 then redis.call('HDEL', name, unpack(ids)) end
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

local function entry_of_waiting(member)
  local ms, seq = string.match(member, ':0*(%d+)%-0*(%d+)$')
  return ms and ms .. '-' .. seq
end

-- The entry `id` of an ordered key has left the group: its key passes to the next one that waits, due at once.
local function free_key(key, id, now)
  if redis.call('HGET', BUSY, key) ~= id then return end
  local digest = digest_of(key)
  local following = redis.call('ZRANGEBYLEX', PARKED, '[' .. digest .. ':', '(' .. digest .. ';', 'LIMIT', 0, 1)[1]
  if following then
    local next_id = entry_of_waiting(following)
    redis.call('ZREM', PARKED, following)
    redis.call('HSET', BUSY, key, next_id)
    redis.call('ZADD', DUE, now, next_id)
  else
    redis.call('HDEL', BUSY, key)
  end
end

-- The entries of these keys ({key, id}…) have left the group. Mostly nothing waits for any of them, and one call is enough.
local function free_keys(freed, now)
  if redis.call('EXISTS', PARKED) == 1 then
    for _, pair in ipairs(freed) do
      free_key(pair[1], pair[2], now)
    end
    return
  end
  local names, mine = {}, {}
  for i, pair in ipairs(freed) do names[i] = pair[1] end
  for i, id in ipairs(redis.call('HMGET', BUSY, unpack(names))) do
    if id == freed[i][2] then mine[#mine + 1] = names[i] end
  end
  if #mine > 0 then redis.call('HDEL', BUSY, unpack(mine)) end
end

-- The event of a pending entry is gone from the stream: it leaves the group, and its key, found by the entry, is free.
local function lose(group, id, count, records, now)
  redis.call('XACK', EVENTS, group, id)
  local holders = redis.call('HGETALL', BUSY)
  for i = 1, #holders, 2 do
    if holders[i + 1] == id then free_key(holders[i], id, now) end
  end
  records[#records + 1] = {STEP.LOST, id, count}
end

-- Makes an entry wait without an owner, due at `due` if that is given. An event that is gone is lost: XCLAIM would
-- drop it without a word. Returns whether it waits.
local function park(group, id, count, due, records, now)
  if not redis.call('XRANGE', EVENTS, id, id)[1] then
    lose(group, id, count, records, now)
    return false
  end
  redis.call('XCLAIM', EVENTS, group, NOBODY, 0, id, 'RETRYCOUNT', count, 'JUSTID')
  if due then redis.call('ZADD', DUE, due, id) end
  return true
end

local function journal_records(group, worker, records)
  if #records > 0 then
    redis.call('XADD', JOURNAL, '*', 'g', group, 'w', worker, 'b', cmsgpack.pack(records))
  end
end

-- An event that enters the group again takes its key, or waits for it behind whoever has it.
local function due_or_waiting(key, id, now)
  if key == '' or redis.call('HSETNX', BUSY, key, id) == 1 or redis.call('HGET', BUSY, key) == id then
    redis.call('ZADD', DUE, now, id)
  else
    redis.call('ZADD', PARKED, 0, waiting_member(key, id))
  end
end

-- Copies the event, or what is known of one that is gone, to the dead letters and takes it out of the group. With
-- `halts` it goes on holding its key, so that no other event of that key runs. Returns its key, and whether it holds it.
local function bury(group, id, count, failure, halts)
  local found = redis.call('XRANGE', EVENTS, id, id)[1]
  local fields = found and found[2] or {}
  local letter = redis.call('XADD', DEAD, '*', 'entry', id, 'attempt', count, 'failure', failure,
    unpack(fields, 1, math.min(#fields, MAX_FIELDS)))
  local key = field_of(fields, 'partitionkey')
  local holds = halts and key ~= nil and redis.call('HGET', BUSY, key) == id
  if holds then redis.call('HSET', HALTED, key, id .. ' ' .. letter) end
  redis.call('XACK', EVENTS, group, id)
  return key, holds
end

-- Takes retries whose time has come, at most `count`: {id, fields, delivery count, attempts before a replay}…
-- An event that is gone is journalled as lost. One whose worker died is taken alone, so that the one which kills its
-- workers is found, and those that were only held beside it are not given up with it.
-- Returns them, the ms until the next is due (or -1), and the id of the one that was taken alone (or '').
local function take_due(group, owner, count)
  local now, taken, lost, alone = now_ms(), {}, {}, ''
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', DUE, '-inf', now, 'LIMIT', 0, count)) do
    local suspect = redis.call('HEXISTS', CRASHES, id) == 1
    if suspect and #taken > 0 then break end
    local pending = redis.call('XPENDING', EVENTS, group, id, id, 1)[1]
    redis.call('ZREM', DUE, id)
    if pending and pending[2] == NOBODY then
      local claimed = redis.call('XCLAIM', EVENTS, group, owner, 0, id)[1]
      if claimed then
        taken[#taken + 1] = {id, claimed[2], pending[4] + 1, tonumber(redis.call('HGET', REPLAYED, id) or 0)}
        alone = suspect and id or ''
      else
        lose(group, id, pending[4], lost, now)
      end
    end
    if alone ~= '' then break end
  end
  journal_records(group, owner, lost)
  local next_due = redis.call('ZRANGE', DUE, 0, 0, 'WITHSCORES')[2]
  return taken, next_due and math.max(0, next_due - now) or -1, alone
end

-- Who paused the group (or nothing), how often it was moved, the entries that it was moved back to, and its breakpoint.
local function control_of(group)
  return redis.call('HMGET', META, 'paused:' .. group, 'generation:' .. group, 'rewinds:' .. group, 'hold:' .. group)
end

-- The group's breakpoint as bus.hold packs it, or nothing.
local function breakpoint_of(group)
  local packed = redis.call('HGET', META, 'hold:' .. group)
  if not packed then return nil end
  local id, who, text, since_ms, expires_ms, limit = unpack(cmsgpack.unpack(packed))
  return {id = id, who = who, text = text, since_ms = since_ms, expires_ms = expires_ms, limit = limit}
end
