-- KEYS: 1 erased marker, 2 models set.
-- ARGV: 1 ttl in ms, 2 revision, 3 prefix of the post's label keys, 4 `keep` where a marker that stands is left as it is.
-- Gives how many labels were deleted, or -1 where the marker stands and is kept.
-- The label keys are not declared: their names stand in the set, and the hash tag puts them in the same slot.
if ARGV[4] == 'keep' and redis.call('EXISTS', KEYS[1]) == 1 then
  return -1
end
local models = redis.call('SMEMBERS', KEYS[2])
local erased = 0
for _, model in ipairs(models) do
  erased = erased + redis.call('DEL', ARGV[3] .. model)
end
-- Before the SET: a script that has written is not refused for lack of memory, and erasure must go through.
redis.call('DEL', KEYS[2])
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[1])
return erased
