-- KEYS  1 events, 2 journal, as of a group
-- ARGV  1 event entry that the recorder has stored, 2 journal entry that it has stored, 3 events to keep,
--       4 ms of journal to keep for screens that come back after a lost connection; -1: as much as there are events
-- Removes what nobody needs: events below the oldest one that a group has yet to take or settle, and below
-- what the recorder has stored; journal entries that it has stored.
-- Returns {events removed, journal entries removed}.
local removed, journal = 0, 0
if redis.call('EXISTS', JOURNAL) == 1 then
  local before = '0-0'
  if ARGV[4] ~= '-1' then
    before = string.format('%.0f-0', now_ms() - ARGV[4])
  elseif redis.call('EXISTS', EVENTS) == 1 then
    local oldest = redis.call('XRANGE', EVENTS, '-', '+', 'COUNT', 1)[1]
    local info = redis.call('XINFO', 'STREAM', EVENTS)
    local added
    for i = 1, #info, 2 do if info[i] == 'entries-added' then added = info[i + 1] end end
    if oldest and added and added > redis.call('XLEN', EVENTS) then before = oldest[1] end
  end
  if is_older(ARGV[2], before) then before = ARGV[2] end
  journal = redis.call('XTRIM', JOURNAL, 'MINID', '~', before)
end
if redis.call('EXISTS', EVENTS) == 1 and redis.call('XLEN', EVENTS) > tonumber(ARGV[3]) then
  local floor = ARGV[1]
  for _, flat in ipairs(redis.call('XINFO', 'GROUPS', EVENTS)) do
    local info = {}
    for i = 1, #flat, 2 do info[flat[i]] = flat[i + 1] end
    local needed = info['last-delivered-id']
    local oldest = redis.call('XPENDING', EVENTS, info['name'])[2]
    if oldest and is_older(oldest, needed) then needed = oldest end
    if is_older(needed, floor) then floor = needed end
  end
  local surplus = redis.call('XLEN', EVENTS) - ARGV[3]
  local edge = redis.call('XRANGE', EVENTS, '-', '+', 'COUNT', math.min(surplus, 1000))
  local last = edge[#edge][1]
  if is_older(floor, last) then last = floor end
  removed = redis.call('XTRIM', EVENTS, 'MINID', last)
end
return {removed, journal}
