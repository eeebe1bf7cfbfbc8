-- KEYS  of a group
-- ARGV  1 group, 2 ms of idleness, 3 most to remove
-- Removes names of owners that hold nothing and have not been heard of for long. Returns how many.
local removed = 0
for _, flat in ipairs(redis.call('XINFO', 'CONSUMERS', EVENTS, ARGV[1])) do
  if removed < tonumber(ARGV[3]) and field_of(flat, 'pending') == 0 and field_of(flat, 'idle') > tonumber(ARGV[2]) then
    redis.call('XGROUP', 'DELCONSUMER', EVENTS, ARGV[1], field_of(flat, 'name'))
    removed = removed + 1
  end
end
return removed
