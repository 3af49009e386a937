-- Begin an epoch, unless one stands that was begun under this very run of the server; without a name, only look.
-- KEYS: 1 the epoch, 2 the workers. ARGV: 1 the new epoch's name, 2 ms until its counters open. Answer: the epoch in force.
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local epoch = redis.call('HMGET', KEYS[1], 'id', 'run')
if epoch[2] == run then return epoch[1] end
if ARGV[1] == '' then return '' end
local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('HSET', KEYS[1], 'id', ARGV[1], 'run', run, 'opens', string.format('%.0f', now_ms + tonumber(ARGV[2])))
redis.call('DEL', KEYS[2])
return ARGV[1]
