-- KEYS: 1 label hash, 2 erased marker. ARGV: 1 bytes that a field may have at most, then the fields.
-- Gives whether the marker is there, then the fields. One that is longer is foreign and comes back as `?`, which is no
-- value of any field: it must not be read into the memory of everybody who asks.
local answer = { redis.call('EXISTS', KEYS[2]) }
for i = 2, #ARGV do
  if redis.call('HSTRLEN', KEYS[1], ARGV[i]) > tonumber(ARGV[1]) then
    answer[i] = '?'
  else
    answer[i] = redis.call('HGET', KEYS[1], ARGV[i])
  end
end
return answer
