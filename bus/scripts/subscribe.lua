-- KEYS  1 events, 2 journal, 3 meta, 4… what the group left behind should it have been removed by hand
-- ARGV  1 group, 2 where a new group starts ('$' or an entry id), 3 worker, 4 packed subscription
-- Returns {1 when the group was created, the entry after which the subscription holds}.
local position = nil
local exists = redis.call('EXISTS', KEYS[1]) == 1
if exists then
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    if field_of(group, 'name') == ARGV[1] then position = field_of(group, 'last-delivered-id') end
  end
end
local created = 0
if not position then
  created, position = 1, ARGV[2]
  if position == '$' then
    position = exists and field_of(redis.call('XINFO', 'STREAM', KEYS[1]), 'last-generated-id') or '0-0'
  end
  redis.call('XGROUP', 'CREATE', KEYS[1], ARGV[1], position, 'MKSTREAM')
  redis.call('DEL', unpack(KEYS, 4))
end
if created == 1 or redis.call('HGET', KEYS[3], 'sub:' .. ARGV[1]) ~= ARGV[4] then
  redis.call('HSET', KEYS[3], 'sub:' .. ARGV[1], ARGV[4])
  redis.call('XADD', KEYS[2], '*', 'g', ARGV[1], 'w', ARGV[3], 's', ARGV[4], 'o', position)
end
return {created, position}
