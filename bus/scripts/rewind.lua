-- KEYS  of a group
-- ARGV  1 group, 2 entry after which the group goes on, 3 kind, 4 who, 5 reason, 6 most entries to look at
-- Moves the position of a group that is paused and runs nothing. Backwards, all that it had been given after that
-- entry is undone, dead letters and discarded ones included: each of those events comes anew. Forwards, what lies between is
-- never delivered; what was pending stays so. Owners must take new names afterwards (the generation says so).
-- Returns {'moved', position before, position after, pending and dead undone}, or {'running', how many},
-- {'unpaused'}, {'many', how many}, {'often'} and nothing was changed.
allow_when_full()
local MAX_REWINDS_TEXT = 20000
local group, target, now = ARGV[1], ARGV[2], now_ms()
local before = position_of(group)
if not before then return redis.error_reply('NOGROUP no such group') end
local control = control_of(group)
if not control[1] then return {'unpaused'} end
local pending, running = redis.call('XPENDING', EVENTS, group), 0
for _, owner in ipairs(pending[4] or {}) do
  if owner[1] ~= NOBODY and owner[1] ~= HOLDER then running = running + owner[2] end
end
if running > 0 then return {'running', running} end
local all = pending[1] + redis.call('XLEN', DEAD) + redis.call('XLEN', DISCARDED)
if all > tonumber(ARGV[6]) then return {'many', all} end
local newest = field_of(redis.call('XINFO', 'STREAM', EVENTS), 'last-generated-id')
if is_older(newest, target) then target = newest end

local function rows(from)
  return redis.call('XPENDING', EVENTS, group, from, '+', 500)
end

if #(control[3] or '') > MAX_REWINDS_TEXT then return {'often'} end
local undone, found, last = 0, rows('(' .. target), nil
while #found > 0 do
  local ids = {}
  for i, row in ipairs(found) do ids[i] = row[1] end
  redis.call('XACK', EVENTS, group, unpack(ids))
  redis.call('ZREM', DUE, unpack(ids))
  forget_counts(ids)
  undone, found = undone + #ids, rows('(' .. ids[#ids])
end
for _, member in ipairs(redis.call('ZRANGE', PARKED, 0, -1)) do
  if is_older(target, entry_of_waiting(member)) then redis.call('ZREM', PARKED, member) end
end
local holders = redis.call('HGETALL', BUSY)
for i = 1, #holders, 2 do
  if is_older(target, holders[i + 1]) then
    redis.call('HDEL', HALTED, holders[i])
    free_key(holders[i], holders[i + 1], now)
  end
end
for _, letters in ipairs({DEAD, DISCARDED}) do
  found = redis.call('XRANGE', letters, '-', '+', 'COUNT', 500)
  while #found > 0 do
    for _, letter in ipairs(found) do
      last = letter[1]
      local id = field_of(letter[2], 'entry')
      if is_older(target, id) and redis.call('XRANGE', EVENTS, id, id)[1] then -- else it can't come anew
        undone = undone + redis.call('XDEL', letters, last)
      end
    end
    found = redis.call('XRANGE', letters, '(' .. last, '+', 'COUNT', 500)
  end
end
redis.call('XGROUP', 'SETID', EVENTS, group, target)
redis.call('HINCRBY', META, 'generation:' .. group, 1)
if is_older(target, before) then
  local rewinds = control[3] and control[3] .. ' ' or ''
  redis.call('HSET', META, 'rewinds:' .. group, rewinds .. target)
end
redis.call('XADD', JOURNAL, '*', 'g', group, 'c', cmsgpack.pack({ARGV[3], ARGV[4], ARGV[5], before, target}))
return {'moved', before, target, undone}
