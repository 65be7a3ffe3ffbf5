-- KEYS: 1 label hash, 2 erased marker, 3 where the post's vectors lie, then vector sets.
-- ARGV: 1 revision, 2 source, 3 model version, 4 element, 5 attributes, 6 quantisation, 7 effort, 8 most edits, 9 when all of it
-- lapses, ms since 1970, then a vector for each vector set.
-- Vector sets of older records are touched without being declared: their names stand in KEYS[3]. One server, no Cluster.
if redis.call('EXISTS', KEYS[2]) == 1 then
  return 'erased'
end
-- The label hash has decided which record is the newest (apply.lua); vectors of any other are late.
local held = redis.call('HMGET', KEYS[1], 'revision', 'source')
if held[1] ~= ARGV[1] or held[2] ~= ARGV[2] then
  return 'stale'
end

local lies = redis.call('HGETALL', KEYS[3])
local edits, before, same = 0, {}, #KEYS > 3
for i = 1, #lies, 2 do
  local key, element = lies[i], lies[i + 1]
  if key == 'edits' then
    edits = tonumber(element) or 0
  elseif key:match('^jtav%-vectors:(.*):[a-z]+:%-?%d+$') == ARGV[3] then
    before[key] = element
  end
end
for i = 4, #KEYS do
  same = same and before[KEYS[i]] == ARGV[4]
end
if same then
  return 'same'
end

-- First, because Redis refuses a script for lack of memory (OOM) only until its first write.
redis.call('HINCRBY', KEYS[3], 'edits', 1)
if redis.call('PEXPIRETIME', KEYS[3]) < tonumber(ARGV[9]) then
  redis.call('PEXPIREAT', KEYS[3], ARGV[9])
end
-- Never VREM, which has ended servers: without attributes an element passes no filter.
-- Those of this very record stay: a redelivery may bring a kind that was missing.
local wanted = {}
for i = 4, #KEYS do
  wanted[KEYS[i]] = true
end
for key, element in pairs(before) do
  if element ~= ARGV[4] or not wanted[key] then
    redis.pcall('VSETATTR', key, element, '')
    redis.call('HDEL', KEYS[3], key)
  end
end
if edits >= tonumber(ARGV[8]) then
  return 'too_many'
end
for i = 4, #KEYS do
  redis.call('HSET', KEYS[3], KEYS[i], ARGV[4])
  if redis.call('VEMB', KEYS[i], ARGV[4], 'RAW') then
    -- Writing over an element takes it out of the graph first, as VREM does. It is there already: a kind that a redelivery had left
    -- out, or one whose line above was lost, which an erasure would then not find.
    redis.call('VSETATTR', KEYS[i], ARGV[4], ARGV[5])
  else
    redis.call('VADD', KEYS[i], 'FP32', ARGV[6 + i], ARGV[4], ARGV[6], 'EF', ARGV[7], 'SETATTR', ARGV[5])
    redis.call('PEXPIREAT', KEYS[i], ARGV[9])
  end
end
return 'written'
