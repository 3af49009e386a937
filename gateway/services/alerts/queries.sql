-- name: raise
-- $1: the webhooks to be told. $2: seconds for which a period that has ended is still looked at, for the ledger may be
-- behind. $3: periods in which a provider billed more than was reserved. $4, $5: what must have passed before a burn
-- rate means anything, in seconds and as a share of the period; both.
WITH live AS MATERIALIZED (
    SELECT p.id, p.budget_id, p.starts_at, p.ends_at, p.settled_nano_usd - p.released_nano_usd + p.lost_nano_usd AS spent,
           b.limit_nano_usd + p.topped_up_nano_usd AS allowance, greatest(p.starts_at, b.created_at) AS counted_from
    FROM budget_periods AS p JOIN cost_budgets AS b ON b.id = p.budget_id
    WHERE b.deleted_at IS NULL AND b.limit_nano_usd IS NOT NULL
      AND p.settled_nano_usd - p.released_nano_usd + p.lost_nano_usd > 0
      AND (p.ends_at IS NULL OR p.ends_at > now() - make_interval(secs => $2::float8))
), thresholds AS MATERIALIZED ( -- once a budget, which may have many periods: one of each end user
    SELECT b.id AS budget_id, wanted.percent::numeric AS percent
    FROM cost_budgets AS b, jsonb_path_query(
        b.alert_thresholds, 'strict $[*] ? (@.type() == "number" && @ >= 1 && @ <= 1000)', silent => true
    ) AS wanted (percent)
    WHERE b.deleted_at IS NULL AND b.limit_nano_usd IS NOT NULL
), due (budget_id, period_id, kind, percent, spent, allowance) AS (
    SELECT live.budget_id, id, 'threshold', percent::integer, spent, allowance
    FROM live JOIN thresholds ON thresholds.budget_id = live.budget_id
    WHERE spent::numeric * 100 >= percent * allowance
    UNION ALL
    -- What was spent since `counted_from`, at the same rate until the end, is more than there is.
    SELECT budget_id, id, 'burn_rate', 0, spent, allowance
    FROM live
    WHERE spent < allowance AND ends_at > now()
      AND now() - counted_from >= greatest(make_interval(secs => $4::float8), $5::float8 * (ends_at - starts_at))
      AND spent * extract(epoch FROM ends_at - counted_from) > allowance * extract(epoch FROM now() - counted_from)
    UNION ALL
    SELECT p.budget_id, p.id, 'exceeded', 0, p.settled_nano_usd - p.released_nano_usd + p.lost_nano_usd,
           b.limit_nano_usd + p.topped_up_nano_usd
    FROM budget_periods AS p JOIN cost_budgets AS b ON b.id = p.budget_id
    WHERE p.id = ANY ($3::bigint[]) AND b.limit_nano_usd IS NOT NULL
), raised AS (
    INSERT INTO budget_alerts (budget_id, period_id, kind, threshold_percent, spent_nano_usd, limit_nano_usd)
    SELECT budget_id, period_id, kind, percent, spent, allowance
    FROM due
    WHERE NOT EXISTS (
        SELECT FROM budget_alerts AS a
        WHERE a.period_id = due.period_id AND a.kind = due.kind AND a.threshold_percent = due.percent
    )
    ORDER BY period_id, kind, percent -- two workers that raise the same wait for each other in one order
    ON CONFLICT DO NOTHING
    RETURNING *
), queued AS (
    INSERT INTO budget_alert_deliveries (alert_id, webhook)
    SELECT raised.id, wanted.webhook FROM raised, unnest($1::text[]) AS wanted (webhook)
)
SELECT a.id::text, a.kind, a.threshold_percent, a.spent_nano_usd, a.limit_nano_usd, a.raised_at, a.period_id,
       a.budget_id::text, b.budget_name, b.budget_scope AS scope, b.scope_identifier AS subject, b.model, b.hard,
       p.end_user, p.starts_at, p.ends_at, greatest(p.starts_at, b.created_at) AS counted_from,
       a.reason
FROM raised AS a JOIN budget_periods AS p ON p.id = a.period_id JOIN cost_budgets AS b ON b.id = a.budget_id
ORDER BY a.id;

-- name: lock_place
-- Until the transaction's end: of workers that meet the same at the same place one tells of it.
SELECT pg_advisory_xact_lock(hashtextextended('gateway alert ' || $1 || ' ' || $2, 0));

-- name: raise_at_place
-- $1: the kind. $2: the place. $3: why. $4: the webhooks to be told. $5: seconds for which it is not raised again there.
WITH raised AS (
    INSERT INTO budget_alerts (kind, place, reason, spent_nano_usd, limit_nano_usd)
    SELECT $1::text, $2::text, $3::text, 0, 0
    WHERE NOT EXISTS (
        SELECT FROM budget_alerts AS a
        WHERE a.kind = $1 AND a.place = $2 AND a.raised_at > now() - make_interval(secs => $5::float8)
    )
    RETURNING *
), queued AS (
    INSERT INTO budget_alert_deliveries (alert_id, webhook)
    SELECT raised.id, wanted.webhook FROM raised, unnest($4::text[]) AS wanted (webhook)
)
SELECT a.id::text, a.kind, a.threshold_percent, a.spent_nano_usd, a.limit_nano_usd, a.raised_at, a.period_id,
       NULL AS budget_id, NULL AS budget_name, 'gateway' AS scope, a.place AS subject, NULL AS model, NULL AS hard,
       '' AS end_user, NULL AS starts_at, NULL AS ends_at, a.raised_at AS counted_from, a.reason
FROM raised AS a;

-- name: claim
-- $1: the webhooks that this worker knows. $2: how many deliveries. $3: seconds for which nobody else claims them.
-- $4: seconds after which an alert is told of no more.
WITH due AS (
    SELECT d.alert_id, d.webhook
    FROM budget_alert_deliveries AS d JOIN budget_alerts AS a ON a.id = d.alert_id
    WHERE d.next_attempt_at <= now() AND d.webhook = ANY ($1::text[])
      AND a.raised_at > now() - make_interval(secs => $4::float8)
    ORDER BY d.next_attempt_at
    LIMIT $2
    FOR UPDATE OF d SKIP LOCKED
), claimed AS (
    UPDATE budget_alert_deliveries AS d
    SET attempts = d.attempts + 1, next_attempt_at = now() + make_interval(secs => $3::float8)
    FROM due
    WHERE d.alert_id = due.alert_id AND d.webhook = due.webhook
    RETURNING d.alert_id, d.webhook, d.attempts
)
SELECT c.webhook, c.attempts, extract(epoch FROM now() - a.raised_at)::float8 AS age_s,
       a.id::text, a.kind, a.threshold_percent, a.spent_nano_usd, a.limit_nano_usd, a.raised_at, a.period_id,
       a.budget_id::text, b.budget_name, coalesce(b.budget_scope, 'gateway') AS scope,
       coalesce(b.scope_identifier, a.place) AS subject, b.model, b.hard, coalesce(p.end_user, '') AS end_user,
       p.starts_at, p.ends_at, coalesce(greatest(p.starts_at, b.created_at), a.raised_at) AS counted_from, a.reason
FROM claimed AS c JOIN budget_alerts AS a ON a.id = c.alert_id
    LEFT JOIN budget_periods AS p ON p.id = a.period_id LEFT JOIN cost_budgets AS b ON b.id = a.budget_id
ORDER BY a.id;

-- name: settle
-- $4: why it was not taken, null where it was. $5: seconds until the next attempt, null for none. An attempt whose claim
-- somebody else has taken over changes nothing.
UPDATE budget_alert_deliveries
SET delivered_at = CASE WHEN $4::text IS NULL THEN now() END, last_error = $4::text,
    next_attempt_at = now() + make_interval(secs => $5::float8)
WHERE alert_id = $1::uuid AND webhook = $2 AND attempts = $3;

-- name: page
-- $6: what belongs to this team and its keys alone.
SELECT a.id::text, a.kind, a.threshold_percent, a.spent_nano_usd, a.limit_nano_usd, a.raised_at, a.period_id,
       a.budget_id::text, b.budget_name, coalesce(b.budget_scope, 'gateway') AS scope,
       coalesce(b.scope_identifier, a.place) AS subject, b.model, b.hard, coalesce(p.end_user, '') AS end_user,
       p.starts_at, p.ends_at, coalesce(greatest(p.starts_at, b.created_at), a.raised_at) AS counted_from, a.reason
FROM budget_alerts AS a
    LEFT JOIN budget_periods AS p ON p.id = a.period_id LEFT JOIN cost_budgets AS b ON b.id = a.budget_id
WHERE ($1::uuid IS NULL OR a.id < $1)
  AND ($2::uuid IS NULL OR a.budget_id = $2)
  AND ($3::text IS NULL OR a.kind = $3)
  AND ($4::timestamptz IS NULL OR a.raised_at >= $4)
  AND ($5::timestamptz IS NULL OR a.raised_at < $5)
  AND ($6::uuid IS NULL OR (b.budget_scope = 'team' AND b.scope_identifier = $6::text)
       OR (b.budget_scope IN ('key', 'end_user')
           AND b.scope_identifier IN (SELECT k.id::text FROM api_keys AS k WHERE k.team_id = $6)))
ORDER BY a.id DESC
LIMIT $7;

-- name: deliveries
SELECT alert_id::text, webhook, attempts, next_attempt_at, delivered_at, last_error
FROM budget_alert_deliveries
WHERE alert_id = ANY ($1::uuid[])
ORDER BY alert_id, webhook;
