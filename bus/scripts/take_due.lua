-- KEYS  of a group
-- ARGV  1 group, 2 owner, 3 most to take
-- Takes the retries whose time has come, unless the group is paused.
-- Returns {{id, fields, delivery count, attempts before a replay}…, ms until the next retry or -1, the id of one
--   that must be settled before another is begun or '', what `control_of` says}.
allow_when_full()
local control = control_of(ARGV[1])
if control[1] then return {{}, -1, '', control} end
local taken, next_due, alone = take_due(ARGV[1], ARGV[2], ARGV[3])
return {taken, next_due, alone, control}
