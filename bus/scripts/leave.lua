-- KEYS  of a group
-- ARGV  1 group, 2 owner
-- Removes an owner's name from the group, unless it still holds something.
if #redis.call('XPENDING', EVENTS, ARGV[1], '-', '+', 1, ARGV[2]) == 0 then
  redis.call('XGROUP', 'DELCONSUMER', EVENTS, ARGV[1], ARGV[2])
end
return 1
