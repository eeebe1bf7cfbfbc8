-- KEYS  of a group
-- ARGV  1 group, then for each delivery: its entry, and the ms in which it died
-- Finds dead letters by the delivery that they are of: one that died then, not one that the same event left later.
-- Reads only. A letter has its id from the script that wrote it, so nearly always that ms is the one.
-- Returns {now in ms, letter id or ''…}, in the order that was asked.
local NEAR_MS, NEAR = 2000, 100 -- how far back, and through how many letters, it looks for one that is not there
local of_ms, found = {}, {now_ms()}

local function letters_of(ms)
  if not of_ms[ms] then
    of_ms[ms] = {}
    for _, letter in ipairs(redis.call('XRANGE', DEAD, ms, ms)) do of_ms[ms][field_of(letter[2], 'entry')] = letter[1] end
  end
  return of_ms[ms]
end

local function near(id, ms)
  for _, letter in ipairs(redis.call('XREVRANGE', DEAD, ms, string.format('%.0f', ms - NEAR_MS), 'COUNT', NEAR)) do
    if field_of(letter[2], 'entry') == id then return letter[1] end
  end
  return ''
end

for at = 2, #ARGV, 2 do
  found[#found + 1] = letters_of(ARGV[at + 1])[ARGV[at]] or near(ARGV[at], ARGV[at + 1])
end
return found
