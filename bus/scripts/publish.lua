-- KEYS  1 events, 2… dedupe keys of the events that were given an id by their publisher
-- ARGV  1 number of events, 2 time to live of dedupe keys in ms, 3 most events that the stream may hold, then for
--       each event: index of its dedupe key in KEYS or 0, digest of its content, number of fields, fields…
-- Returns the entry ids in order, or {'conflict', index from 1} or {'full', length}, and nothing was written.
local length = redis.call('XLEN', KEYS[1])
if length >= tonumber(ARGV[3]) then return {'full', length} end
local at, plan, mine = 4, {}, {}
for i = 1, tonumber(ARGV[1]) do
  local key, digest, n = tonumber(ARGV[at]), ARGV[at + 1], tonumber(ARGV[at + 2])
  local known = nil
  if key > 0 then
    known = redis.call('GET', KEYS[key]) or mine[KEYS[key]]
    if known and string.sub(known, 1, #digest) ~= digest then
      return {'conflict', i}
    end
    mine[KEYS[key]] = known or digest
  end
  plan[i] = {key = key, digest = digest, first = at + 3, last = at + 2 + n, known = known}
  at = at + 3 + n
end
local entries, done = {}, {}
for i, event in ipairs(plan) do
  local name = event.key > 0 and KEYS[event.key] or nil
  if event.known and #event.known > #event.digest then
    entries[i] = string.sub(event.known, #event.digest + 2)
  elseif name and done[name] then
    entries[i] = done[name]
  else
    entries[i] = redis.call('XADD', KEYS[1], '*', unpack(ARGV, event.first, event.last))
    if name then
      redis.call('SET', name, event.digest .. ' ' .. entries[i], 'PX', ARGV[2])
      done[name] = entries[i]
    end
  end
end
return entries
