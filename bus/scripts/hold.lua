-- KEYS  of a group
-- ARGV  1 group, 2 owner, 3 id of the breakpoint that they fit, then pairs: entry, delivery count
-- Stops deliveries that the owner has taken and not begun: they stay pending in the holder's hands, their keys busy,
-- until the breakpoint ends or an operator intervenes. One that stopped here before goes on, and so does what is over
-- the limit. The count stays: whoever takes one next gets a higher one, so no fencing token is used twice.
-- Returns the entries that stopped.
allow_when_full()
local stopped, records, now = {}, {}, now_ms()
local point = breakpoint_of(ARGV[1])
if not point or point.id ~= ARGV[3] or now >= point.expires_ms then return stopped end
local room = point.limit - redis.call('HLEN', HELD)
for at = 4, #ARGV, 2 do
  local id = ARGV[at]
  local row = redis.call('XPENDING', EVENTS, ARGV[1], id, id, 1)[1]
  if room > 0 and row and row[2] == ARGV[2] and row[4] == tonumber(ARGV[at + 1])
    and redis.call('HEXISTS', HELD, id) == 0 and redis.call('XRANGE', EVENTS, id, id)[1] then
    redis.call('XCLAIM', EVENTS, ARGV[1], HOLDER, 0, id, 'RETRYCOUNT', row[4], 'JUSTID')
    redis.call('HSET', HELD, id, string.format('%.0f', now))
    room = room - 1
    stopped[#stopped + 1] = id
    records[#records + 1] = {STEP.HELD, id, row[4]}
  end
end
journal_records(ARGV[1], ARGV[2], records)
return stopped
