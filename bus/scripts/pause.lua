-- KEYS  of a group
-- ARGV  1 group, 2 who does it, or '' to resume, 3 packed control for the journal
-- Pauses or resumes a group: while paused nothing of it is taken, and what runs may end.
-- Returns 1 when that changed something.
allow_when_full()
if not position_of(ARGV[1]) then return redis.error_reply('NOGROUP no such group') end
local changed
if ARGV[2] == '' then
  changed = redis.call('HDEL', META, 'paused:' .. ARGV[1])
else
  changed = redis.call('HSETNX', META, 'paused:' .. ARGV[1], ARGV[2])
end
if changed == 1 then redis.call('XADD', JOURNAL, '*', 'g', ARGV[1], 'c', ARGV[3]) end
return changed
