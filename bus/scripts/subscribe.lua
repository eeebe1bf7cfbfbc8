-- KEYS  of a group
-- ARGV  1 group, 2 where a new group starts ('$' or an entry id), 3 worker, 4 packed subscription, 5 version of the code
-- Returns {1 when the group was created, the entry after which the subscription holds}.
allow_when_full()
local created, position = 0, position_of(ARGV[1])
if not position then
  created, position = 1, ARGV[2]
  if position == '$' then
    position = redis.call('EXISTS', EVENTS) == 1 and field_of(redis.call('XINFO', 'STREAM', EVENTS), 'last-generated-id') or '0-0'
  end
  redis.call('XGROUP', 'CREATE', EVENTS, ARGV[1], position, 'MKSTREAM')
  -- What the group left behind, should it have been removed by hand. Its dead letters stay.
  redis.call('DEL', DUE, BUSY, PARKED, HALTED, CRASHES, REPLAYED, HELD)
  redis.call('HDEL', META, 'hold:' .. ARGV[1])
  redis.call('HINCRBY', META, 'generation:' .. ARGV[1], 1) -- counts begin again: no owner may keep its name
end
local said = {}
if created == 1 or redis.call('HGET', META, 'sub:' .. ARGV[1]) ~= ARGV[4] then
  redis.call('HSET', META, 'sub:' .. ARGV[1], ARGV[4])
  said = {'s', ARGV[4], 'o', position}
end
if ARGV[5] ~= '' then -- each worker that begins says which code it runs
  said[#said + 1] = 'v'
  said[#said + 1] = ARGV[5]
end
if #said > 0 then
  redis.call('XADD', JOURNAL, '*', 'g', ARGV[1], 'w', ARGV[3], unpack(said))
end
return {created, position}
