-- What the database says of budgets' money, and of the workers that may hold some of it.

-- name: accounts
-- Periods in force, or ($1) all, or the one $2; with what the ledger's rows that name them add up to: all in one
-- snapshot, in which a row and its part of settled_nano_usd are both there or neither. A row has its attempt's beginning
-- for its time, by the worker's clock: hence the day. `complete`: no month was dropped that may have had rows of it.
WITH wanted AS MATERIALIZED (
    SELECT p.id, p.budget_id, b.budget_name, p.end_user, b.hard, p.starts_at, p.ends_at, p.settled_nano_usd,
           p.released_nano_usd, p.lost_nano_usd, greatest(p.starts_at, b.created_at) AS since,
           CASE WHEN p.end_user = '' AND b.deleted_at IS NULL
                     AND p.starts_at <= now() AND (p.ends_at IS NULL OR p.ends_at > now())
                THEN (coalesce(b.current_usage, 0) * 1000000000)::bigint END AS shown
    FROM budget_periods AS p JOIN cost_budgets AS b ON b.id = p.budget_id
    WHERE b.limit_nano_usd IS NOT NULL
      AND CASE WHEN $2::bigint IS NOT NULL THEN p.id = $2
               ELSE $1::boolean OR (b.deleted_at IS NULL AND p.starts_at <= now()
                                    AND (p.ends_at IS NULL OR p.ends_at > now())) END
), named AS (
    SELECT u.period_id, sum(u.cost_nano_usd) AS cost_nano_usd
    FROM (SELECT unnest(budget_period_ids) AS period_id, cost_nano_usd
          FROM usage_costs
          WHERE budget_period_ids IS NOT NULL
            AND "timestamp" >= (SELECT min(since) FROM wanted) - interval '1 day') AS u
    WHERE u.period_id IN (SELECT id FROM wanted)
    GROUP BY u.period_id
), kept AS MATERIALIZED (
    SELECT min(to_date(right(c.relname, 7), 'YYYY_MM')::timestamp AT TIME ZONE 'UTC') AS since
    FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'usage_costs'::regclass AND c.relname ~ '^usage_costs_\d{4}_\d{2}$'
)
SELECT w.id, w.budget_id::text, w.budget_name, w.end_user, w.hard, w.starts_at, w.ends_at, w.settled_nano_usd,
       w.released_nano_usd, w.lost_nano_usd, w.shown, least(coalesce(n.cost_nano_usd, 0), 9223372036854775807)::bigint AS rows_nano_usd,
       w.since >= coalesce(kept.since, w.since) AS complete
FROM wanted AS w CROSS JOIN kept LEFT JOIN named AS n ON n.period_id = w.id
ORDER BY w.id;

-- name: counted
-- Those of the periods $1 that have a counter.
SELECT p.id, p.budget_id::text FROM budget_periods AS p JOIN cost_budgets AS b ON b.id = p.budget_id
WHERE p.id = ANY ($1::bigint[]) AND b.hard ORDER BY p.id;

-- name: lock
-- No copy of the ledger adds to it from here to the transaction's end.
SELECT id FROM budget_periods WHERE id = $1 FOR NO KEY UPDATE;

-- name: set_settled
UPDATE budget_periods SET settled_nano_usd = $2 WHERE id = $1;

-- name: set_shown
UPDATE cost_budgets SET current_usage = least($2::bigint, 999999999999999999) * 0.000000001 WHERE id = $1::uuid;

-- name: unsettled
SELECT id::text FROM gateway_workers WHERE settled_at IS NULL;

-- name: workers
SELECT id::text, version, started_at, last_seen, settled_at,
       extract(epoch FROM now() - last_seen)::double precision AS silent_s
FROM gateway_workers WHERE $1::uuid IS NULL OR id = $1
ORDER BY last_seen DESC;

-- name: silent
-- Those that may hold something and were not heard of for so many hours.
SELECT id::text FROM gateway_workers WHERE settled_at IS NULL AND last_seen < now() - make_interval(hours => $1);

-- name: settled_lately
SELECT id::text FROM gateway_workers WHERE settled_at IS NOT NULL;

-- name: claim
-- Once: whoever comes second finds it settled, or locked.
SELECT id FROM gateway_workers
WHERE id = $1::uuid AND settled_at IS NULL AND last_seen < now() - make_interval(secs => $2)
FOR UPDATE SKIP LOCKED;

-- name: settle_worker
UPDATE gateway_workers SET settled_at = now() WHERE id = $1::uuid;

-- name: lose
WITH held AS (
    SELECT p.id, h.nano_usd
    FROM unnest($1::bigint[], $2::bigint[]) AS h (period_id, nano_usd) JOIN budget_periods AS p ON p.id = h.period_id
    ORDER BY p.id
    FOR NO KEY UPDATE OF p
)
UPDATE budget_periods AS p SET lost_nano_usd = p.lost_nano_usd + held.nano_usd
FROM held WHERE p.id = held.id
RETURNING p.id, p.budget_id::text, p.lost_nano_usd;
