-- KEYS  of a group
-- ARGV  1 group, 2 worker that checks, 3 '1' to repair, 4 part: pending, due, parked, busy or halted, 5 cursor,
--       6 how many, 7 '1' for a group that keeps order
-- Checks one part of a group's indexes against the pending list, which is the truth, a slice at a time.
-- Returns {next cursor or '', {{what is wrong, entry or key}…}}.
local group, repair, ordered, now = ARGV[1], ARGV[3] == '1', ARGV[7] == '1', now_ms()
local problems = {}

local function wrong(what, which, mend)
  problems[#problems + 1] = {what, which}
  if repair and mend then mend() end
end

local function pending_row(id)
  return redis.call('XPENDING', EVENTS, group, id, id, 1)[1]
end

local function key_of(id)
  local found = redis.call('XRANGE', EVENTS, id, id)[1]
  local key = found and field_of(found[2], 'partitionkey')
  return found ~= nil, key ~= '' and key or nil
end

local function check_waiting(id, key)
  local is_due = redis.call('ZSCORE', DUE, id)
  local waits = ordered and key and redis.call('ZSCORE', PARKED, waiting_member(key, id))
  if is_due and waits then
    wrong('due and waiting for its key at once', id, function() redis.call('ZREM', DUE, id) end)
  elseif not is_due and not waits then
    wrong('parked, but nothing will ever take it', id, function()
      local holder = ordered and key and redis.call('HGET', BUSY, key)
      if holder and holder ~= id then
        redis.call('ZADD', PARKED, 0, waiting_member(key, id))
        waits = true
      else
        redis.call('ZADD', DUE, now, id)
      end
    end)
  end
  return waits
end

local function check_order(id, key, waits)
  local holder = redis.call('HGET', BUSY, key)
  if not waits and holder ~= id then
    wrong('runs or is due without holding its key', id, function()
      if not holder then redis.call('HSET', BUSY, key, id) end
    end)
  elseif waits and not holder then
    wrong('waits for a key that nobody holds', id, function()
      redis.call('HSET', BUSY, key, id)
      free_key(key, id, now)
    end)
  end
end

local checks = {}

function checks.pending(cursor, count)
  local rows = redis.call('XPENDING', EVENTS, group, cursor == '' and '-' or '(' .. cursor, '+', count)
  for _, row in ipairs(rows) do
    local id, there, key = row[1], key_of(row[1])
    local waits = false
    if not there then
      wrong('pending, but its event is gone', id, function()
        redis.call('XACK', EVENTS, group, id)
        redis.call('ZREM', DUE, id)
        journal_records(group, ARGV[2], {{STEP.LOST, id, row[4]}})
      end)
    elseif row[2] == NOBODY then
      waits = check_waiting(id, key)
    elseif row[2] == HOLDER and not breakpoint_of(group) then
      wrong('held, but no breakpoint is there to end', id, function() park(group, id, row[4], now, {}, now) end)
    elseif redis.call('ZSCORE', DUE, id) then
      wrong('owned by a worker and due at once', id, function() redis.call('ZREM', DUE, id) end)
    end
    if there and ordered and key then check_order(id, key, waits) end
  end
  return #rows == tonumber(count) and rows[#rows][1] or ''
end

-- One slice of a sorted set or a hash: calls `each` with every pair in it. Returns the next cursor, '' at the end.
local function scan(command, key, cursor, count, each)
  local reply = redis.call(command, key, cursor == '' and '0' or cursor, 'COUNT', count)
  for i = 1, #reply[2], 2 do each(reply[2][i], reply[2][i + 1]) end
  return reply[1] ~= '0' and reply[1] or ''
end

function checks.due(cursor, count)
  return scan('ZSCAN', DUE, cursor, count, function(id)
    if not pending_row(id) then
      wrong('due, but not pending', id, function() redis.call('ZREM', DUE, id) end)
    end
  end)
end

function checks.parked(cursor, count)
  return scan('ZSCAN', PARKED, cursor, count, function(member)
    local id = entry_of_waiting(member)
    if not id or not pending_row(id) then
      wrong('waits for its key, but is not pending', member, function() redis.call('ZREM', PARKED, member) end)
    end
  end)
end

-- The dead letter that blocks a key: its entry and its own id.
local function blocking(key)
  local said = redis.call('HGET', HALTED, key)
  if said then return string.match(said, '^(%S+) (%S+)$') end
end

function checks.busy(cursor, count)
  return scan('HSCAN', BUSY, cursor, count, function(key, id)
    if not pending_row(id) and blocking(key) ~= id then
      wrong('holds a key, but is not pending', id, function() free_key(key, id, now) end)
    end
  end)
end

function checks.halted(cursor, count)
  return scan('HSCAN', HALTED, cursor, count, function(key)
    local id, letter = blocking(key)
    if not letter or redis.call('HGET', BUSY, key) ~= id or not redis.call('XRANGE', DEAD, letter, letter)[1] then
      wrong('a key is blocked by a dead letter that is not there', key, function()
        redis.call('HDEL', HALTED, key)
        if id then free_key(key, id, now) end
      end)
    end
  end)
end

return {checks[ARGV[4]](ARGV[5], ARGV[6]), problems}
