-- KEYS  of a group
-- ARGV  1 group, 2 owner, 3 packed records, 4 lowest id, 5 highest id, 6 most that the owner holds,
--       7 how many deliveries are acknowledged at their first attempt and have no key, which is most of them,
--       then the ids of these, then for each other delivery: verdict ('a' acknowledge, 'r' retry, 'd' dead,
--       'h' dead and its key blocked), id, delivery count, for 'r' the delay in ms, for 'd' and 'h' the packed
--       failure, for 'a' an empty text, and the key of an ordered group's event or an empty text
-- Ends attempts. The fence: an id that this owner no longer holds at this count changes nothing.
-- Returns the ids that were stale.
allow_when_full()
local held = {}
for _, row in ipairs(redis.call('XPENDING', EVENTS, ARGV[1], ARGV[4], ARGV[5], ARGV[6], ARGV[2])) do
  held[row[1]] = row[4]
end
local now, acknowledged, ended, stale, freed, lost, _ = nil, {}, {}, {}, {}, {}, nil
local others = 8 + ARGV[7]
for at = 8, others - 1 do
  local id, count = ARGV[at], 1
  if held[id] ~= count then
    stale[#stale + 1] = id
  else
    acknowledged[#acknowledged + 1] = id
    ended[#ended + 1] = id
  end
end
for at = others, #ARGV, 5 do
  local verdict, id, count, more, key = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2]), ARGV[at + 3], ARGV[at + 4]
  local holds = false
  if held[id] ~= count then
    stale[#stale + 1] = id
  elseif verdict == 'a' then
    acknowledged[#acknowledged + 1] = id
    ended[#ended + 1] = id
  elseif verdict == 'r' then
    now = now or now_ms()
    park(ARGV[1], id, count, now + more, lost, now)
  else
    _, holds = bury(ARGV[1], id, count, more, verdict == 'h')
    ended[#ended + 1] = id
  end
  if key ~= '' and not holds and ended[#ended] == id then freed[#freed + 1] = {key, id} end
end
if #acknowledged > 0 then
  redis.call('XACK', EVENTS, ARGV[1], unpack(acknowledged))
end
if #freed > 0 then free_keys(freed, now or now_ms()) end
forget_counts(ended)
if #stale == 0 then
  redis.call('XADD', JOURNAL, '*', 'g', ARGV[1], 'w', ARGV[2], 'b', ARGV[3])
elseif #stale < others - 8 + (#ARGV - others + 1) / 5 then
  redis.call('XADD', JOURNAL, '*', 'g', ARGV[1], 'w', ARGV[2], 'b', ARGV[3], 'x', table.concat(stale, ' '))
end
journal_records(ARGV[1], ARGV[2], lost)
return stale
