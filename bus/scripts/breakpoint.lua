-- KEYS  of a group
-- ARGV  1 group, 2 'set', 'remove' or 'expire' (removes one whose time has come), 3 who, 4 reason, and to set one:
--       5 its id, 6 text, 7 most that it holds, 8 ms that it lasts, 9 conditions as JSON
-- Sets or removes the breakpoint of a group. What a removed one holds is due at once, and its attempt does not count.
-- Returns for 'set' 1, or 0 when another one is there; else how many were let go, or -1 when there was none to remove.
allow_when_full()
local group, verb, who, now = ARGV[1], ARGV[2], ARGV[3], now_ms()
local there = breakpoint_of(group)
if verb == 'expire' and not (there and now >= there.expires_ms) then return -1 end
if not position_of(group) then return redis.error_reply('NOGROUP no such group') end

local function say(kind, reason, text)
  redis.call('XADD', JOURNAL, '*', 'g', group, 'c', cmsgpack.pack({kind, who, reason, text, ''}))
end

-- Removes the breakpoint and lets go what it holds. Returns how many.
local function remove(kind)
  local records, let_go = {}, 0
  for _, row in ipairs(redis.call('XPENDING', EVENTS, group, '-', '+', MAX_HELD, HOLDER)) do
    if park(group, row[1], row[4], now, records, now) then
      redis.call('HINCRBY', REPLAYED, row[1], 1)
      records[#records + 1] = {STEP.RELEASED, row[1], row[4]}
      let_go = let_go + 1
    end
  end
  redis.call('HDEL', META, 'hold:' .. group)
  redis.call('DEL', HELD)
  journal_records(group, who, records)
  say(kind, ARGV[4], there and there.text or '')
  return let_go
end

if verb ~= 'set' then return there and remove(verb == 'expire' and 'hold_expired' or 'hold_ended') or -1 end
if there and there.id == ARGV[5] then return 1 end
if there and now < there.expires_ms then return 0 end
if there then remove('hold_expired') end
redis.call('DEL', HELD)
redis.call('HSET', META, 'hold:' .. group,
  cmsgpack.pack({ARGV[5], who, ARGV[6], now, now + ARGV[8], tonumber(ARGV[7]), ARGV[9]}))
say('hold_began', ARGV[4], ARGV[6])
return 1
