-- One exchange of a worker with the counters: what it gives back, settles and asks for, in one step.
--
-- KEYS: 1 the epoch, 2 the workers by their last exchange (ms), 3 the counters that ran short by when (ms), 4 this
-- worker's last exchange, 5 the money counters that this worker holds a lease of, then one key a counter.
-- ARGV: 1 worker, 2 sequence, 3 epoch, 4 ms until a silent worker's units are free, 5 ms until it counts as gone,
-- 6 ms of the last shortage it knows, 7 number of counters; four for each counter: kind, limit, window in s, units
-- wanted beyond what is asked for; then operations, each a letter and its arguments (a counter is its number from 1):
--   G counter window amount   give back          C counter window amount   charge, whatever the limit; 0: this window
--   R counter amount          hold this much     S counter amount total    settled, and the ledger's total
--   O counter settled wait    open, ms to wait   A n (counter amount)*n    ask: all or nothing
-- A counter of kind r is {w: window, u: units granted in it}; h and m are {t: units held, one field a worker}, and m
-- has s (settled) and o (opens at, ms) too. Limits of m hold for s + t. An m without s is missing: it keeps what workers
-- say that they hold (R; no other word of theirs counts before that one), and as l the largest total that it is told.
-- All numbers are whole and below 2^53.
-- Answer, JSON, all numbers as text: {status, epoch, us, workers alive, opens at in ms, counters, asks, shortages}; a
-- counter is {granted beyond the asks, remaining, window, state}, an ask 0 or the number of the counter that refused it.

local function text(number) return string.format('%.0f', number) end

local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local us = time[1] .. string.format('%06d', tonumber(time[2]))
local worker = ARGV[1]

local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local epoch = redis.call('HMGET', KEYS[1], 'id', 'run', 'opens')
if epoch[1] ~= ARGV[3] or epoch[2] ~= run then
  local known = (epoch[2] == run) and epoch[1] or ''
  return cjson.encode({'epoch', known, us, '0', epoch[3] or '0', {}, {}, {}})
end

-- A repeated exchange has its answer again; one that was overtaken (nobody waits for it) changes nothing.
local last = redis.call('HMGET', KEYS[4], 'seq', 'answer')
if last[1] and tonumber(ARGV[2]) <= tonumber(last[1]) then return last[2] end

local seen = redis.call('ZSCORE', KEYS[2], worker)
redis.call('ZADD', KEYS[2], text(now_ms), worker)
local lapse_ms = tonumber(ARGV[4])
local status = 'ok'
if not seen or now_ms - tonumber(seen) >= lapse_ms then status = 'lapsed' end
local alive = redis.call('ZCOUNT', KEYS[2], text(now_ms - tonumber(ARGV[5])), '+inf')
local opens = tonumber(epoch[3])

local n = tonumber(ARGV[7])
local counters = {}
local at = 8
for i = 1, n do
  local kind, limit, window_s = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local counter = {key = KEYS[5 + i], kind = kind, limit = limit, want = tonumber(ARGV[at + 3]), unit = 0, extra = 0,
    window = 0, state = 'ok', before = 0, used = 0, mine = 0, told = true}
  at = at + 4
  if kind == 'r' then
    counter.window = math.floor(now_ms / 1000 / window_s)
    counter.lasts_s = 2 * window_s
    local row = redis.call('HMGET', counter.key, 'w', 'u')
    if row[1] == text(counter.window) then counter.used = tonumber(row[2]) end
  else
    counter.lasts_s = 45 * 86400
    local row = redis.call('HMGET', counter.key, 't', worker, 's', 'o', 'l')
    counter.held, counter.mine = tonumber(row[1] or '0'), tonumber(row[2] or '0')
    counter.settled = tonumber(row[3] or '0')
    counter.used = counter.held
    if kind == 'm' then
      if not row[3] then
        counter.state, counter.told, counter.least = 'missing', row[2] ~= false, tonumber(row[5] or '0')
      elseif row[4] and now_ms < tonumber(row[4]) then counter.state, counter.opens = 'rebuilding', row[4] end
    end
  end
  counters[i] = counter
end

local function change(counter, amount)
  if counter.kind == 'r' then
    counter.used = math.max(0, counter.used + amount)
  else
    local mine = math.max(0, counter.mine + amount)
    counter.held = math.max(0, counter.held + mine - counter.mine)
    counter.mine = mine
    counter.used = counter.held
  end
  counter.changed = true
end

-- The units of workers that have been silent for too long; money is theirs until their journal was read.
local function reap(counter)
  local rows = redis.call('HGETALL', counter.key)
  for i = 1, #rows, 2 do
    if rows[i] ~= 't' and rows[i] ~= worker then
      local score = redis.call('ZSCORE', KEYS[2], rows[i])
      if not score or now_ms - tonumber(score) >= lapse_ms then
        counter.held = math.max(0, counter.held - tonumber(rows[i + 1]))
        redis.call('HDEL', counter.key, rows[i])
        counter.changed = true
      end
    end
  end
  counter.used = counter.held
end

local function left(counter)
  if counter.kind == 'm' then return counter.limit - counter.settled - counter.held end
  return counter.limit - counter.used
end

local function refuser(ask)
  for _, part in ipairs(ask) do
    local counter = counters[part[1]]
    if counter.state ~= 'ok' or now_ms < opens then return part[1] end
    counter.unit = math.max(counter.unit, part[2])
    if left(counter) < part[2] and counter.kind == 'h' then reap(counter) end
    if part[2] > 0 and left(counter) < part[2] then
      counter.short = true
      return part[1]
    end
  end
  return 0
end

local answers = {}
while at <= #ARGV do
  local letter = ARGV[at]
  if letter == 'A' then
    local ask = {}
    for i = 1, tonumber(ARGV[at + 1]) do
      ask[i] = {tonumber(ARGV[at + 2 * i]), tonumber(ARGV[at + 2 * i + 1])}
    end
    at = at + 2 + 2 * #ask
    local refused = refuser(ask)
    if refused == 0 then
      for _, part in ipairs(ask) do change(counters[part[1]], part[2]) end
    end
    answers[#answers + 1] = tostring(refused)
  else
    local counter = counters[tonumber(ARGV[at + 1])]
    local first, second = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
    if letter == 'R' then
      at = at + 3
      counter.told = true
      change(counter, first - counter.mine)
    else
      at = at + 4
      if letter == 'O' then
        -- Whoever opens it later has a later total, which nobody may have told a counter that was not there.
        counter.settled, counter.changed = math.max(counter.settled, counter.least or 0, first), true
        if counter.state == 'missing' then
          counter.state, counter.told = 'ok', true
          if second > 0 then
            counter.state, counter.opens = 'rebuilding', text(now_ms + second)
          end
        end
      elseif letter == 'S' then
        if counter.state == 'missing' then
          counter.least = math.max(counter.least, second)
          redis.call('HSET', counter.key, 'l', text(counter.least))
          redis.call('EXPIRE', counter.key, text(counter.lasts_s))
        else
          counter.settled = math.max(counter.settled, second)
        end
        if counter.told then change(counter, -first) end
      elseif counter.told and letter == 'C' then
        if first == 0 or first == counter.window then change(counter, second) end
      elseif counter.told and (counter.kind ~= 'r' or first == counter.window) then
        change(counter, -second)
      end
    end
  end
end

local rows = {}
for i, counter in ipairs(counters) do
  if counter.unit > 0 and counter.state == 'ok' and now_ms >= opens then
    local remaining = left(counter)
    if remaining >= 8 * alive * counter.unit then
      counter.extra = math.max(0, math.min(counter.want, math.floor(remaining / (4 * alive))))
      change(counter, counter.extra)
    else
      counter.short = true
    end
    if counter.short then redis.call('ZADD', KEYS[3], text(now_ms), counter.key) end
  end
  if counter.changed then
    if counter.kind == 'r' then
      redis.call('HSET', counter.key, 'w', text(counter.window), 'u', text(counter.used))
    else
      redis.call('HSET', counter.key, 't', text(counter.held), worker, text(counter.mine))
      if counter.kind == 'm' then
        if counter.state ~= 'missing' then
          redis.call('HSET', counter.key, 's', text(counter.settled))
          redis.call('HDEL', counter.key, 'l')
        end
        redis.call('SADD', KEYS[5], counter.key)
        redis.call('EXPIRE', KEYS[5], text(counter.lasts_s))
        if counter.opens then redis.call('HSET', counter.key, 'o', counter.opens) end
      end
      if counter.mine == 0 then
        redis.call('HDEL', counter.key, worker)
        if counter.kind == 'm' then redis.call('SREM', KEYS[5], counter.key) end
      end
    end
    redis.call('EXPIRE', counter.key, text(counter.lasts_s))
  end
  rows[i] = {text(counter.extra), text(left(counter)), text(counter.window), counter.state}
end

redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', text(now_ms - 10000))
local shortages = redis.call('ZRANGEBYSCORE', KEYS[3], '(' .. ARGV[6], '+inf', 'WITHSCORES')
local answer = cjson.encode({status, ARGV[3], us, tostring(alive), text(opens), rows, answers, shortages})
redis.call('HSET', KEYS[4], 'seq', ARGV[2], 'answer', answer)
redis.call('EXPIRE', KEYS[4], '86400')
return answer
