-- KEYS  1 events, 2 journal, 3 due, 4 busy, 5 parked, 6 replayed
-- ARGV  1 group, 2 owner, 3 most to take
-- Takes the retries whose time has come.
-- Returns {{id, fields, delivery count, attempts before a replay}…, ms until the next retry or -1}.
redis.call('ZREM', KEYS[3], '') -- the first write decides about out-of-memory: this one always may
return {take_due(KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], ARGV[1], ARGV[2], ARGV[3])}
