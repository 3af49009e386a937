-- Free what a worker held whose journal has been read, or was given up. KEYS: 1 the workers, 2 the money counters that it
-- holds a lease of, then those counters. ARGV: 1 the worker, then for each counter the ledger's total. Answer: units freed.
local freed = 0
for i = 3, #KEYS do
  local row = redis.call('HMGET', KEYS[i], 't', ARGV[1], 's')
  if row[3] then
    local mine = tonumber(row[2] or '0')
    local held = math.max(0, tonumber(row[1] or '0') - mine)
    local settled = math.max(tonumber(row[3]), tonumber(ARGV[i - 1]))
    redis.call('HSET', KEYS[i], 't', string.format('%.0f', held), 's', string.format('%.0f', settled))
    redis.call('HDEL', KEYS[i], ARGV[1])
    freed = freed + mine
  end
  redis.call('SREM', KEYS[2], KEYS[i])
end
redis.call('ZREM', KEYS[1], ARGV[1])
return string.format('%.0f', freed)
