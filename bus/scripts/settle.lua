-- KEYS  1 events, 2 journal, 3 due, 4 busy, 5 parked, 6 dead, 7 crashes, 8 replayed
-- ARGV  1 group, 2 owner, 3 packed records, 4 lowest id, 5 highest id, 6 most that the owner holds,
--       then for each delivery: verdict ('a' acknowledge, 'r' retry, 'd' dead), id, delivery count,
--       for 'r' the delay in ms, for 'd' the packed failure, for 'a' an empty text, and the key of an
--       ordered group's event or an empty text
-- Ends attempts. The fence: an id that this owner no longer holds at this count changes nothing.
-- Returns the ids that were stale.
redis.call('ZREM', KEYS[3], '') -- the first write decides about out-of-memory: this one always may
local held = {}
for _, row in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[4], ARGV[5], ARGV[6], ARGV[2])) do
  held[row[1]] = row[4]
end
local now, acknowledged, ended, stale, freed = nil, {}, {}, {}, {}
for at = 7, #ARGV, 5 do
  local verdict, id, count, more, key = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2]), ARGV[at + 3], ARGV[at + 4]
  if held[id] ~= count then
    stale[#stale + 1] = id
  elseif verdict == 'a' then
    acknowledged[#acknowledged + 1] = id
    ended[#ended + 1] = id
  elseif verdict == 'r' then
    now = now or now_ms()
    park(KEYS[1], ARGV[1], id, count)
    redis.call('ZADD', KEYS[3], now + more, id)
  else
    bury(KEYS[1], KEYS[6], ARGV[1], id, count, more)
    ended[#ended + 1] = id
  end
  if key ~= '' and ended[#ended] == id then freed[#freed + 1] = {key, id} end
end
if #acknowledged > 0 then
  redis.call('XACK', KEYS[1], ARGV[1], unpack(acknowledged))
end
for _, pair in ipairs(freed) do
  now = now or now_ms()
  free_key(KEYS[3], KEYS[4], KEYS[5], pair[1], pair[2], now)
end
for at = 7, 8 do
  if #ended > 0 and redis.call('EXISTS', KEYS[at]) == 1 then
    redis.call('HDEL', KEYS[at], unpack(ended))
  end
end
if #stale == 0 then
  redis.call('XADD', KEYS[2], '*', 'g', ARGV[1], 'w', ARGV[2], 'b', ARGV[3])
elseif #stale < (#ARGV - 6) / 5 then
  redis.call('XADD', KEYS[2], '*', 'g', ARGV[1], 'w', ARGV[2], 'b', ARGV[3], 'x', table.concat(stale, ' '))
end
return stale
