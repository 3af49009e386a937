-- Which workers may hold money of a counter that it does not know of. KEYS: 1 the workers; or also 2 the counter, then of
-- each worker the money counters that it holds a lease of. ARGV: the workers. Answer: those that have said nothing in this
-- epoch, and those that the counter knew of and does not know of any more, for it was lost.
local absent = {}
for i, worker in ipairs(ARGV) do
  if not redis.call('ZSCORE', KEYS[1], worker) then
    absent[#absent + 1] = worker
  elseif KEYS[2] and redis.call('SISMEMBER', KEYS[2 + i], KEYS[2]) == 1
      and redis.call('HEXISTS', KEYS[2], worker) == 0 then
    absent[#absent + 1] = worker
  end
end
return absent
