-- Free what a worker held whose journal has been read, or was given up. KEYS: 1 the workers, 2 the money counters that it
-- holds a lease of, 3 its last exchange, then those counters. ARGV: 1 the worker, then for each counter the ledger's total.
-- Answer: units freed. What the worker had sent before it died, and what arrives only now, is taken for overtaken.
local freed = 0
for i = 4, #KEYS do
  local row = redis.call('HMGET', KEYS[i], 't', ARGV[1], 's', 'l')
  if row[2] or row[3] then
    local mine = tonumber(row[2] or '0')
    local held = math.max(0, tonumber(row[1] or '0') - mine)
    local known = row[3] and 's' or 'l' -- a counter that is missing keeps the total for when it is opened
    local total = math.max(tonumber(row[3] or row[4] or '0'), tonumber(ARGV[i - 2]))
    redis.call('HSET', KEYS[i], 't', string.format('%.0f', held), known, string.format('%.0f', total))
    redis.call('HDEL', KEYS[i], ARGV[1])
    freed = freed + mine
  end
  redis.call('SREM', KEYS[2], KEYS[i])
end
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('HSET', KEYS[3], 'seq', '9007199254740991', 'answer', '')
redis.call('EXPIRE', KEYS[3], '86400')
return string.format('%.0f', freed)
