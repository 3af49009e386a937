-- name: stage
-- The staging table belongs to the connection, and its name to its shape (change both together); made again on
-- whichever connection a pooler gives, it works behind transaction poolers too. Defaults are those of an attempt whose
-- end was never written. A database that does not wait for its log would lose what the journal forgets: then this
-- transaction waits. A worker that hangs between its insert and its commit would keep others' rows of the same budgets
-- out, and so all that they hold from being settled: the server ends such a transaction, and the rows are copied again.
SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off';
SET LOCAL idle_in_transaction_session_timeout = '5s';
SET LOCAL client_min_messages = warning;
CREATE TEMPORARY TABLE IF NOT EXISTS usage_costs_staging_0010 (
    request_id UUID NOT NULL,
    attempt SMALLINT NOT NULL,
    started_us BIGINT NOT NULL,
    key_id UUID,
    team_id UUID,
    user_id UUID,
    provider_id UUID,
    model_id UUID,
    provider_name TEXT,
    model_name TEXT,
    target_model TEXT,
    endpoint TEXT,
    streamed BOOLEAN,
    final BOOLEAN NOT NULL DEFAULT true,
    outcome TEXT NOT NULL DEFAULT 'unknown',
    status SMALLINT NOT NULL DEFAULT 0,
    error_code TEXT,
    input_tokens BIGINT NOT NULL DEFAULT 0,
    output_tokens BIGINT NOT NULL DEFAULT 0,
    cached_tokens BIGINT NOT NULL DEFAULT 0,
    cache_write_tokens BIGINT NOT NULL DEFAULT 0,
    reasoning_tokens BIGINT NOT NULL DEFAULT 0,
    audio_input_tokens BIGINT NOT NULL DEFAULT 0,
    audio_output_tokens BIGINT NOT NULL DEFAULT 0,
    image_input_tokens BIGINT NOT NULL DEFAULT 0,
    image_output_tokens BIGINT NOT NULL DEFAULT 0,
    cost_nano_usd BIGINT NOT NULL DEFAULT 0,
    estimated BOOLEAN NOT NULL DEFAULT true,
    duration_ms INTEGER,
    first_byte_ms INTEGER,
    search_units BIGINT NOT NULL DEFAULT 0,
    budget_period_ids BIGINT[],
    end_user TEXT,
    tags TEXT[]
) ON COMMIT DELETE ROWS;

-- name: lose
-- What a row cost that is in the dead letters counts as spent in each period; gives what is spent of it then.
WITH locked AS (
    SELECT id FROM budget_periods WHERE id = ANY($1::bigint[]) ORDER BY id FOR NO KEY UPDATE
)
UPDATE budget_periods AS p SET lost_nano_usd = least(p.lost_nano_usd::numeric + $2::bigint, 9223372036854775807)::bigint
FROM locked WHERE p.id = locked.id
RETURNING p.id, least(p.settled_nano_usd::numeric + p.lost_nano_usd, 9223372036854775807)::bigint AS total;

-- name: insert
-- Gives the number of new rows and, for each budget period that rows name: what all of them cost, what the new ones
-- cost, and what is settled and lost of it now. A cost below zero is no cost: it is released, which is kept by itself, so
-- that what is settled only grows. Microseconds times an interval of one microsecond is exact (below 2^53); a product
-- with 0.000000001 is, too, where a division would round large costs. Budgets are locked before periods (as by whoever
-- tops up or resets), each in the order of their ids, so that nobody waits in a circle. What is settled stops at the largest BIGINT:
-- an overflow would keep the row out. The roll-ups are the business of a trigger (migration 0010).
WITH inserted AS (
    INSERT INTO usage_costs (
        request_id, attempt, "timestamp", key_id, team_id, user_id, provider_id, model_id,
        provider_name, model_name, target_model, endpoint, streamed, final, outcome, status, error_code,
        input_tokens, output_tokens, cached_tokens, cache_write_tokens, reasoning_tokens,
        audio_input_tokens, audio_output_tokens, image_input_tokens, image_output_tokens,
        cost_nano_usd, cost_amount, estimated, duration_ms, first_byte_ms, search_units,
        budget_period_ids, end_user, tags
    )
    SELECT
        request_id, attempt, TIMESTAMPTZ 'epoch' + started_us * INTERVAL '1 microsecond',
        key_id, team_id, user_id, provider_id, model_id,
        provider_name, model_name, target_model, endpoint, streamed, final, outcome, status, error_code,
        input_tokens, output_tokens, cached_tokens, cache_write_tokens, reasoning_tokens,
        audio_input_tokens, audio_output_tokens, image_input_tokens, image_output_tokens,
        cost_nano_usd, cost_nano_usd * 0.000000001, estimated, duration_ms, first_byte_ms, search_units,
        budget_period_ids, end_user, tags
    FROM usage_costs_staging_0010
    ON CONFLICT (request_id, attempt, "timestamp") DO NOTHING
    RETURNING cost_nano_usd, budget_period_ids
), costs AS (
    SELECT period_id, sum(batch) AS batch, sum(fresh) AS fresh, sum(released) AS released
    FROM (
        SELECT unnest(budget_period_ids) AS period_id, greatest(cost_nano_usd, 0) AS batch, 0 AS fresh, 0 AS released
        FROM usage_costs_staging_0010 WHERE budget_period_ids IS NOT NULL
        UNION ALL
        SELECT unnest(budget_period_ids), 0, greatest(cost_nano_usd, 0), greatest(-cost_nano_usd, 0)
        FROM inserted WHERE budget_period_ids IS NOT NULL
    ) AS named
    GROUP BY period_id
), budgets AS MATERIALIZED (
    -- Those of end users have many periods at a time, and no one figure to show.
    SELECT b.id FROM cost_budgets AS b
    WHERE b.id IN (
        SELECT p.budget_id FROM costs AS c JOIN budget_periods AS p ON p.id = c.period_id WHERE p.end_user = '')
    ORDER BY b.id
    FOR NO KEY UPDATE OF b
), locked AS (
    SELECT p.id, c.batch, c.fresh, c.released
    FROM costs AS c JOIN budget_periods AS p ON p.id = c.period_id
    WHERE (SELECT count(*) FROM budgets) >= 0 -- always true; has them locked first
    ORDER BY p.id
    FOR NO KEY UPDATE OF p
), settled AS (
    UPDATE budget_periods AS p
    SET settled_nano_usd = least(p.settled_nano_usd + l.fresh, 9223372036854775807),
        released_nano_usd = least(p.released_nano_usd + l.released, 9223372036854775807)
    FROM locked AS l
    WHERE p.id = l.id
    RETURNING p.id, p.budget_id, p.end_user, p.starts_at, p.ends_at, p.settled_nano_usd, p.released_nano_usd,
              p.lost_nano_usd, l.batch, l.fresh
), shown AS (
    UPDATE cost_budgets AS b
    SET current_usage = least(greatest(s.settled_nano_usd - s.released_nano_usd, 0), 999999999999999999) * 0.000000001
    FROM settled AS s
    WHERE b.id = s.budget_id AND s.end_user = ''
      AND s.starts_at <= now() AND (s.ends_at IS NULL OR now() < s.ends_at)
)
SELECT n.rows,
       s.id AS period_id,
       least(s.batch, 9223372036854775807)::bigint AS batch,
       least(s.fresh, 9223372036854775807)::bigint AS fresh,
       least(s.settled_nano_usd::numeric + s.lost_nano_usd, 9223372036854775807)::bigint AS total
FROM (SELECT count(*) AS rows FROM inserted) AS n LEFT JOIN settled AS s ON true;

-- name: ensure_partitions
SELECT usage_costs_ensure_partitions($1::integer);

-- name: drop_month
SELECT usage_costs_drop_month($1::integer);

-- name: forget_hours
DELETE FROM usage_hourly WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM usage_hourly WHERE starts_at < date_trunc('month', now(), 'UTC') - make_interval(months => $1)
    LIMIT 10000));

-- name: forget_days
DELETE FROM usage_daily WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM usage_daily WHERE starts_at < date_trunc('month', now(), 'UTC') - make_interval(months => $1)
    LIMIT 10000));

-- name: forget_tag_hours
DELETE FROM usage_hourly_tags WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM usage_hourly_tags WHERE starts_at < date_trunc('month', now(), 'UTC') - make_interval(months => $1)
    LIMIT 10000));

-- name: forget_tag_days
DELETE FROM usage_daily_tags WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM usage_daily_tags WHERE starts_at < date_trunc('month', now(), 'UTC') - make_interval(months => $1)
    LIMIT 10000));

-- name: spent
SELECT coalesce(sum(cost_nano_usd), 0)::bigint FROM usage_daily WHERE key_id = $1::uuid;
