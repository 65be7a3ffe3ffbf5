-- KEYS: 1 where the post's vectors lie. The vector sets are not declared: their names stand in it. One server, no Cluster.
local lies = redis.call('HGETALL', KEYS[1])
-- Before the first VSETATTR: a script that has written is not refused for lack of memory, and erasure must go through.
redis.call('DEL', KEYS[1])
local marked = 0
for i = 1, #lies, 2 do
  if lies[i] ~= 'edits' then
    -- A set that has lapsed, or was written over by somebody, must not keep the others from being marked.
    local answer = redis.pcall('VSETATTR', lies[i], lies[i + 1], '')
    if answer == 1 or answer == true then
      marked = marked + 1
    end
  end
end
return marked
