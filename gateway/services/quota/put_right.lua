-- Have a money counter say what is so, beside workers that go on. KEYS: 1 the epoch, 2 the workers, 3 the counter, then of
-- each worker that is gone the money counters that it holds a lease of. ARGV: 1 the epoch, 2 the ledger's total, which
-- must not grow meanwhile, then those workers. Answer: the units of theirs that were freed; -1: there is no such counter.
local function text(number) return string.format('%.0f', number) end

local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local epoch = redis.call('HMGET', KEYS[1], 'id', 'run')
if epoch[1] ~= ARGV[1] or epoch[2] ~= run then return '-1' end

local freed = 0
for i = 4, #KEYS do
  local worker = ARGV[i - 1]
  freed = freed + tonumber(redis.call('HGET', KEYS[3], worker) or '0')
  redis.call('HDEL', KEYS[3], worker)
  redis.call('SREM', KEYS[i], KEYS[3])
  redis.call('ZREM', KEYS[2], worker)
end
if redis.call('HEXISTS', KEYS[3], 's') == 0 then return '-1' end

local held = 0
local rows = redis.call('HGETALL', KEYS[3])
for i = 1, #rows, 2 do
  if rows[i] ~= 't' and rows[i] ~= 's' and rows[i] ~= 'o' then held = held + tonumber(rows[i + 1]) end
end
redis.call('HSET', KEYS[3], 't', text(held), 's', ARGV[2])
return text(freed)
