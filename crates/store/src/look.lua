-- KEYS: 1 erased marker, 2 models set. ARGV: 1 prefix of the post's label keys, 2 the model that is asked for or nothing, 3 most bytes
-- of a label, 4 most models that are looked at.
-- Gives nothing of a post without a label; 'erased'; a brace, which is no model, where the label is somebody else's; or the model of the label, its revision, source and record, then every model that
-- holds one. Without a model the label that was made last is meant.
-- The label keys are not declared: their names stand in the set, and the hash tag puts them in the same slot.
if redis.call('EXISTS', KEYS[1]) == 1 then
  return { 'erased' }
end
local most = tonumber(ARGV[4])
-- Ours has one or two members; a set that somebody else filled must not be walked through for each question.
local models = redis.call('SCARD', KEYS[2]) <= most and redis.call('SMEMBERS', KEYS[2]) or redis.call('SRANDMEMBER', KEYS[2], most)
local held, chosen, newest = {}, nil, nil
for _, model in ipairs(models) do
  local at = redis.call('HGET', ARGV[1] .. model, 'labelled_at_ms')
  if at then
    held[#held + 1] = model
    at = tonumber(at) or 0
    if ARGV[2] == '' and (not newest or at > newest) then
      chosen, newest = model, at
    end
  end
end
if ARGV[2] ~= '' then
  chosen = ARGV[2]
end
if not chosen then
  return {}
end
local key = ARGV[1] .. chosen
if redis.call('HSTRLEN', key, 'sentiment') > tonumber(ARGV[3]) then
  return { '}' }
end
local fields = redis.call('HMGET', key, 'revision', 'source', 'sentiment')
if not fields[3] then
  return { '', unpack(held) }
end
return { chosen, fields[1] or '', fields[2] or '', fields[3], unpack(held) }
