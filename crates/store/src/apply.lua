-- KEYS: 1 label hash, 2 erased marker, 3 models set; one slot, by the hash tag.
-- ARGV: 1 ttl in ms, 2 model version, 3 revision, 4 partition, 5 offset, then the other fields: field, value, field, value ...

-- Of most posts nothing is there yet, and half the calls are spared.
local is_first = redis.call('EXISTS', KEYS[1], KEYS[2], KEYS[3]) == 0
if not is_first then
  if redis.call('EXISTS', KEYS[2]) == 1 then
    return 'erased'
  end

  -- A Lua number is a double: above 2^53 neighbours are equal. So decimals without leading zeros are compared by
  -- length, then in two halves that fit; comparing them as strings would depend on the server's locale.
  local function compare(a, b)
    if #a ~= #b then
      return #a - #b
    end
    local high = tonumber(a:sub(1, 10)) - tonumber(b:sub(1, 10))
    if high ~= 0 then
      return high
    end
    return (tonumber(a:sub(11)) or 0) - (tonumber(b:sub(11)) or 0)
  end

  local held = redis.call('HMGET', KEYS[1], 'revision', 'source')
  if held[1] and held[2] then
    local partition, offset = held[2]:match('^(%d+):(%d+)$')
    -- A hash that is not ours to read is replaced: nothing could ever be newer than it.
    if partition and held[1]:match('^%d+$') then
      local order = compare(ARGV[3], held[1])
      if order == 0 then order = compare(ARGV[4], partition) end
      if order == 0 then order = compare(ARGV[5], offset) end
      if order == 0 then return 'same' end
      if order < 0 then return 'stale' end
    end
  end
end

-- First, because Redis refuses a script for lack of memory (OOM) only until its first write.
redis.call('SADD', KEYS[3], ARGV[2])
-- Never shortened: a set that lapsed before a key it names would hide that key from erasure.
if is_first or redis.call('PTTL', KEYS[3]) < tonumber(ARGV[1]) then
  redis.call('PEXPIRE', KEYS[3], ARGV[1])
end
-- The vector of a modality that the new revision lacks must not stay behind.
if not is_first then
  redis.call('DEL', KEYS[1])
end
redis.call('HSET', KEYS[1], 'revision', ARGV[3], 'source', ARGV[4] .. ':' .. ARGV[5], unpack(ARGV, 6))
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 'written'
