-- KEYS: 1 label hash, 2 erased marker.
-- Gives whether the marker is there, then revision and source. One that is longer than ours can be is foreign and comes back as `?`,
-- which is no value of either: it must not be read into the memory of everybody who asks.
local held = redis.call('HMGET', KEYS[1], 'revision', 'source')
for i = 1, 2 do
  if held[i] and #held[i] > 64 then
    held[i] = '?'
  end
end
return { redis.call('EXISTS', KEYS[2]), held[1], held[2] }
