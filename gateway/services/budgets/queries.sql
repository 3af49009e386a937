-- Rows of cost_budgets without limit_nano_usd are another service's, and none of ours.

-- --- what the snapshot reads ---------------------------------------------------------------------

-- name: all
SELECT id, budget_name, budget_scope, scope_identifier, model, limit_nano_usd, period, reset_day, time_zone,
       coalesce(alert_thresholds, '[]'::jsonb) AS alert_thresholds, hard, on_too_dear, unbounded_nano_usd,
       max_end_users, on_store_failure, created_at
FROM cost_budgets
WHERE deleted_at IS NULL AND limit_nano_usd IS NOT NULL AND ($1::uuid IS NULL OR id > $1)
ORDER BY id
LIMIT $2;

-- name: by_id
SELECT id, budget_name, budget_scope, scope_identifier, model, limit_nano_usd, period, reset_day, time_zone,
       coalesce(alert_thresholds, '[]'::jsonb) AS alert_thresholds, hard, on_too_dear, unbounded_nano_usd,
       max_end_users, on_store_failure, created_at
FROM cost_budgets
WHERE id = ANY ($1::uuid[]) AND deleted_at IS NULL AND limit_nano_usd IS NOT NULL;

-- name: of_lines
SELECT id FROM cost_budgets
WHERE budget_scope IN ('key', 'end_user') AND scope_identifier = ANY ($1::text[])
  AND deleted_at IS NULL AND limit_nano_usd IS NOT NULL;

-- name: periods
-- Of budgets without end users, those that have not ended, also by a clock that is a minute slow; newest first.
SELECT id, budget_id, end_user, starts_at, ends_at, settled_nano_usd, released_nano_usd, topped_up_nano_usd,
       lost_nano_usd
FROM budget_periods
WHERE budget_id = ANY ($1::uuid[]) AND end_user = '' AND (ends_at IS NULL OR ends_at > now() - interval '1 minute')
ORDER BY starts_at DESC;

-- name: periods_of_end_users
SELECT p.id, p.budget_id, p.end_user, p.starts_at, p.ends_at, p.settled_nano_usd, p.released_nano_usd,
       p.topped_up_nano_usd, p.lost_nano_usd
FROM budget_periods AS p
    JOIN unnest($1::uuid[], $2::text[]) AS wanted (budget_id, end_user)
        ON p.budget_id = wanted.budget_id AND p.end_user = wanted.end_user
WHERE p.ends_at IS NULL OR p.ends_at > now() - interval '1 minute'
ORDER BY p.starts_at DESC;

-- --- periods -------------------------------------------------------------------------------------

-- name: lock_to_open
-- Periods are opened by any number at once, but not while somebody changes what there is.
SELECT pg_advisory_xact_lock_shared(hashtextextended('gateway budget periods', 0));

-- name: lock_to_change
SELECT pg_advisory_xact_lock(hashtextextended('gateway budget periods', 0));

-- name: lock_end_users
SELECT pg_advisory_xact_lock(hashtextextended('gateway end users of budget ' || $1::text, 0));

-- name: count_end_users
SELECT count(*) FROM budget_periods
WHERE budget_id = $1 AND starts_at <= $2 AND (ends_at IS NULL OR ends_at > $2);

-- name: calendars
SELECT id, budget_name, period, reset_day, time_zone, max_end_users, created_at
FROM cost_budgets WHERE id = ANY ($1::uuid[]);

-- name: in_force
SELECT DISTINCT ON (p.budget_id, p.end_user)
       p.id, p.budget_id, p.end_user, p.starts_at, p.ends_at, p.settled_nano_usd, p.released_nano_usd,
       p.topped_up_nano_usd, p.lost_nano_usd
FROM budget_periods AS p
    JOIN unnest($1::uuid[], $2::text[], $3::timestamptz[]) AS wanted (budget_id, end_user, at)
        ON p.budget_id = wanted.budget_id AND p.end_user = wanted.end_user
WHERE p.starts_at <= wanted.at AND (p.ends_at IS NULL OR p.ends_at > wanted.at)
ORDER BY p.budget_id, p.end_user, p.starts_at DESC;

-- name: open
-- Where none is in force at the moment `at`: the calendar's, or what is left of it since another one ended.
INSERT INTO budget_periods (budget_id, end_user, starts_at, ends_at)
SELECT w.budget_id, w.end_user,
       greatest(w.starts_at, (SELECT max(p.ends_at) FROM budget_periods AS p
                              WHERE p.budget_id = w.budget_id AND p.end_user = w.end_user AND p.ends_at <= w.at)),
       w.ends_at
FROM unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::timestamptz[])
    AS w (budget_id, end_user, at, starts_at, ends_at)
WHERE NOT EXISTS (SELECT FROM budget_periods AS p
                  WHERE p.budget_id = w.budget_id AND p.end_user = w.end_user
                    AND p.starts_at <= w.at AND (p.ends_at IS NULL OR p.ends_at > w.at))
ORDER BY w.budget_id, w.end_user
ON CONFLICT DO NOTHING;

-- name: end_user_among
SELECT end_user FROM budget_periods WHERE budget_id = $1 AND end_user = ANY ($2::text[]) ORDER BY id DESC LIMIT 1;

-- name: close
-- End at $2 what is in force then, of the end user $3 or of all.
WITH open AS (
    SELECT id, ends_at FROM budget_periods
    WHERE budget_id = $1 AND starts_at < $2 AND (ends_at IS NULL OR ends_at > $2)
      AND ($3::text IS NULL OR end_user = $3)
    ORDER BY id
    FOR UPDATE
)
UPDATE budget_periods AS p SET ends_at = $2 FROM open WHERE p.id = open.id
RETURNING p.end_user, open.ends_at;

-- name: begin_again
INSERT INTO budget_periods (budget_id, end_user, starts_at, ends_at)
SELECT $1, w.end_user, $2, w.ends_at FROM unnest($3::text[], $4::timestamptz[]) AS w (end_user, ends_at);

-- name: drop_prepared
DELETE FROM budget_periods WHERE budget_id = $1 AND starts_at > $2;

-- name: top_up
UPDATE budget_periods SET topped_up_nano_usd = topped_up_nano_usd + $2 WHERE id = $1;

-- name: most_topped_up
SELECT coalesce(max(topped_up_nano_usd), 0) FROM budget_periods
WHERE budget_id = $1 AND (ends_at IS NULL OR ends_at > now());

-- --- the register --------------------------------------------------------------------------------

-- name: now
SELECT clock_timestamp();

-- name: insert
INSERT INTO cost_budgets (id, budget_name, budget_scope, scope_identifier, model, limit_nano_usd, monthly_limit, period,
                          reset_day, time_zone, alert_thresholds, hard, on_too_dear, unbounded_nano_usd, max_end_users,
                          on_store_failure, set_by_owner)
VALUES (uuidv7(), $4, $1, $2, $3, $5::bigint, $5::bigint / 1e9, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
RETURNING id;

-- name: update
UPDATE cost_budgets
SET budget_name = $2, limit_nano_usd = $3::bigint, monthly_limit = $3::bigint / 1e9, period = $4, reset_day = $5,
    time_zone = $6, alert_thresholds = $7, hard = $8, on_too_dear = $9, unbounded_nano_usd = $10, max_end_users = $11,
    on_store_failure = $12, set_by_owner = set_by_owner OR $13, updated_at = now()
WHERE id = $1;

-- name: delete
UPDATE cost_budgets SET deleted_at = now(), updated_at = now() WHERE id = $1;

-- name: outdated
-- Of the budgets $1, those whose current_usage is not that of the period in force.
SELECT b.id
FROM cost_budgets AS b
    LEFT JOIN LATERAL (
        SELECT settled_nano_usd - released_nano_usd AS spent FROM budget_periods
        WHERE budget_id = b.id AND end_user = '' AND starts_at <= now() AND (ends_at IS NULL OR ends_at > now())
        ORDER BY starts_at DESC LIMIT 1) AS p ON true
WHERE b.id = ANY ($1::uuid[]) AND b.deleted_at IS NULL AND b.budget_scope <> 'end_user'
  AND coalesce(b.current_usage, 0)
      <> least(greatest(coalesce(p.spent, 0), 0), 999999999999999999) * 0.000000001;

-- name: lock_shown
-- No copy of the ledger changes their figures or their periods' from here to the transaction's end.
SELECT id FROM cost_budgets WHERE id = ANY ($1::uuid[]) ORDER BY id FOR NO KEY UPDATE;

-- name: show_present
UPDATE cost_budgets AS b
SET current_usage = least(greatest(coalesce((
        SELECT settled_nano_usd - released_nano_usd FROM budget_periods
        WHERE budget_id = b.id AND end_user = '' AND starts_at <= now() AND (ends_at IS NULL OR ends_at > now())
        ORDER BY starts_at DESC LIMIT 1), 0), 0), 999999999999999999) * 0.000000001
WHERE b.id = ANY ($1::uuid[]);

-- name: nothing_used
UPDATE cost_budgets SET current_usage = 0 WHERE id = $1;

-- name: record
-- With the period in force, of the end user $2.
SELECT b.id::text, b.budget_name AS name, b.budget_scope AS scope, b.scope_identifier AS subject, b.model,
       b.limit_nano_usd, b.period, b.reset_day, b.time_zone,
       coalesce(b.alert_thresholds, '[]'::jsonb) AS thresholds, b.hard, b.on_too_dear, b.unbounded_nano_usd,
       b.max_end_users, b.on_store_failure,
       CASE b.budget_scope WHEN 'team' THEN b.scope_identifier
            WHEN 'key' THEN k.team_id::text WHEN 'end_user' THEN k.team_id::text
            WHEN 'user' THEN gateway_only_team(b.scope_identifier::uuid)::text END AS team_id,
       b.set_by_owner, b.created_at, b.updated_at, p.id AS period_id, p.starts_at, p.ends_at,
       p.settled_nano_usd - p.released_nano_usd AS settled_nano_usd, p.topped_up_nano_usd, p.lost_nano_usd
FROM cost_budgets AS b
    LEFT JOIN api_keys AS k ON b.budget_scope IN ('key', 'end_user') AND k.id::text = b.scope_identifier
    LEFT JOIN LATERAL (
        SELECT * FROM budget_periods
        WHERE budget_id = b.id AND end_user = $2 AND starts_at <= clock_timestamp()
          AND (ends_at IS NULL OR ends_at > clock_timestamp())
        ORDER BY starts_at DESC LIMIT 1) AS p ON true
WHERE b.id = $1 AND b.deleted_at IS NULL AND b.limit_nano_usd IS NOT NULL;

-- name: page
-- $6: what belongs to this team, its keys, and the users that are in no other team.
SELECT b.id::text, b.budget_name AS name, b.budget_scope AS scope, b.scope_identifier AS subject, b.model,
       b.limit_nano_usd, b.period, b.reset_day, b.time_zone,
       coalesce(b.alert_thresholds, '[]'::jsonb) AS thresholds, b.hard, b.on_too_dear, b.unbounded_nano_usd,
       b.max_end_users, b.on_store_failure,
       CASE b.budget_scope WHEN 'team' THEN b.scope_identifier
            WHEN 'key' THEN k.team_id::text WHEN 'end_user' THEN k.team_id::text
            WHEN 'user' THEN gateway_only_team(b.scope_identifier::uuid)::text END AS team_id,
       b.set_by_owner, b.created_at, b.updated_at, p.id AS period_id, p.starts_at, p.ends_at,
       p.settled_nano_usd - p.released_nano_usd AS settled_nano_usd, p.topped_up_nano_usd, p.lost_nano_usd
FROM cost_budgets AS b
    LEFT JOIN api_keys AS k ON b.budget_scope IN ('key', 'end_user') AND k.id::text = b.scope_identifier
    LEFT JOIN LATERAL (
        SELECT * FROM budget_periods
        WHERE budget_id = b.id AND end_user = '' AND starts_at <= clock_timestamp()
          AND (ends_at IS NULL OR ends_at > clock_timestamp())
        ORDER BY starts_at DESC LIMIT 1) AS p ON true
WHERE b.deleted_at IS NULL AND b.limit_nano_usd IS NOT NULL
  AND ($1::uuid IS NULL OR b.id < $1)
  AND ($2::text IS NULL OR b.budget_scope = $2)
  AND ($3::text IS NULL OR b.scope_identifier = $3)
  AND ($4::text IS NULL OR b.model = $4)
  AND ($6::uuid IS NULL OR k.team_id = $6 OR (b.budget_scope = 'team' AND b.scope_identifier = $6::text)
       OR (b.budget_scope = 'user' AND b.scope_identifier IN (SELECT m.user_id::text FROM team_members AS m
                                                              WHERE m.team_id = $6 AND gateway_only_team(m.user_id) = $6)))
ORDER BY b.id DESC
LIMIT $5;

-- name: team_allows
-- What a team's own budgets for the same kind of period allow, those for the model $2, too.
SELECT min(limit_nano_usd) FROM cost_budgets
WHERE budget_scope = 'team' AND scope_identifier = $1 AND (model IS NULL OR model = $2) AND period = $3
  AND deleted_at IS NULL AND limit_nano_usd IS NOT NULL;

-- name: of_key
SELECT id FROM cost_budgets
WHERE budget_scope = 'key' AND scope_identifier = $1 AND model IS NULL AND deleted_at IS NULL
  AND limit_nano_usd IS NOT NULL;

-- name: of_keys
-- The oldest, where a key has several.
SELECT DISTINCT ON (k.id) k.id AS key_id, b.id::text AS budget_id, b.limit_nano_usd, b.period, b.reset_day
FROM unnest($1::uuid[]) AS k (id)
    JOIN cost_budgets AS b ON b.budget_scope = 'key' AND b.scope_identifier = gateway_first_key(k.id)::text
        AND b.model IS NULL AND b.deleted_at IS NULL AND b.limit_nano_usd IS NOT NULL
ORDER BY k.id, b.created_at;

-- name: open_counter
-- What a period's counter opens with.
UPDATE budget_periods SET opened_epoch = $2 WHERE id = $1 RETURNING settled_nano_usd + lost_nano_usd AS total;

-- name: opened_epoch
-- Of the counters in which the period's was opened last.
SELECT opened_epoch FROM budget_periods WHERE id = $1;

-- name: totals
-- What the counters have as settled.
SELECT id, settled_nano_usd + lost_nano_usd AS total FROM budget_periods WHERE id = ANY ($1::bigint[]);

-- name: spent
SELECT id, settled_nano_usd - released_nano_usd + lost_nano_usd AS total FROM budget_periods WHERE id = ANY ($1::bigint[]);
