-- KEYS  1 events, 2 journal
-- ARGV  1 event entry that the recorder has stored, 2 journal entry that it has stored, 3 events to keep,
--       4 ms of journal to keep for screens that come back after a lost connection
-- Removes what nobody needs: events below the oldest one that a group has yet to take or settle, and below
-- what the recorder has stored; journal entries that it has stored.
-- Returns {events removed, journal entries removed}.
local function parts(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(seq)
end
local function older(a, b)
  local a_ms, a_seq = parts(a)
  local b_ms, b_seq = parts(b)
  return a_ms < b_ms or (a_ms == b_ms and a_seq < b_seq)
end
local removed, journal = 0, 0
if redis.call('EXISTS', KEYS[2]) == 1 then
  local before = string.format('%.0f-0', now_ms() - ARGV[4])
  if older(ARGV[2], before) then before = ARGV[2] end
  journal = redis.call('XTRIM', KEYS[2], 'MINID', '~', before)
end
if redis.call('EXISTS', KEYS[1]) == 1 and redis.call('XLEN', KEYS[1]) > tonumber(ARGV[3]) then
  local floor = ARGV[1]
  for _, flat in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    local info = {}
    for i = 1, #flat, 2 do info[flat[i]] = flat[i + 1] end
    local needed = info['last-delivered-id']
    local oldest = redis.call('XPENDING', KEYS[1], info['name'])[2]
    if oldest and older(oldest, needed) then needed = oldest end
    if older(needed, floor) then floor = needed end
  end
  local surplus = redis.call('XLEN', KEYS[1]) - ARGV[3]
  local edge = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', math.min(surplus, 1000))
  local last = edge[#edge][1]
  if older(floor, last) then last = floor end
  removed = redis.call('XTRIM', KEYS[1], 'MINID', last)
end
return {removed, journal}
