-- kind: expand
-- What budgets, end users and tags an attempt counts for; sums of the ledger by hour and day, kept up with every row;
-- and how old months go.

ALTER TABLE usage_costs
    ADD COLUMN budget_period_ids BIGINT[], -- the budget_periods that its cost was added to; null: none
    ADD COLUMN end_user TEXT, -- whom the caller named in `user`; a hash of it where reporting.hash_users is on
    ADD COLUMN tags TEXT[];

-- One cube. All sums but `requests` are over attempts. Null is a value like any other in what it is by.
CREATE TABLE usage_hourly (
    starts_at TIMESTAMPTZ NOT NULL, -- of the hour (of the day in usage_daily), UTC
    key_id UUID,
    team_id UUID,
    user_id UUID,
    model_name TEXT, -- what the client asked for
    provider_name TEXT,
    agent_id UUID,
    query_type TEXT,
    requests BIGINT NOT NULL, -- final attempts
    attempts BIGINT NOT NULL,
    errors BIGINT NOT NULL, -- attempts whose outcome is not ok
    input_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    cached_tokens BIGINT NOT NULL,
    cache_write_tokens BIGINT NOT NULL,
    reasoning_tokens BIGINT NOT NULL,
    audio_input_tokens BIGINT NOT NULL,
    audio_output_tokens BIGINT NOT NULL,
    image_input_tokens BIGINT NOT NULL,
    image_output_tokens BIGINT NOT NULL,
    search_units BIGINT NOT NULL,
    cost_nano_usd BIGINT NOT NULL,
    estimated BIGINT NOT NULL, -- attempts whose usage was not reported
    duration_ms BIGINT NOT NULL
) WITH (fillfactor = 70); -- rows are updated in place while their hour lasts

-- The same by day, for what reads months, and for what a key has spent.
CREATE TABLE usage_daily (LIKE usage_hourly INCLUDING STORAGE) WITH (fillfactor = 70);

CREATE UNIQUE INDEX usage_hourly_cube ON usage_hourly
    (starts_at, key_id, team_id, user_id, model_name, provider_name, agent_id, query_type) NULLS NOT DISTINCT;
CREATE UNIQUE INDEX usage_daily_cube ON usage_daily
    (starts_at, key_id, team_id, user_id, model_name, provider_name, agent_id, query_type) NULLS NOT DISTINCT;
CREATE INDEX usage_daily_key_id ON usage_daily (key_id, starts_at);

-- An attempt counts under each of its tags. By team, too, for the team's admin sees no others.
CREATE TABLE usage_hourly_tags (
    starts_at TIMESTAMPTZ NOT NULL,
    tag TEXT NOT NULL,
    team_id UUID,
    requests BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    errors BIGINT NOT NULL,
    input_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    cached_tokens BIGINT NOT NULL,
    cache_write_tokens BIGINT NOT NULL,
    reasoning_tokens BIGINT NOT NULL,
    audio_input_tokens BIGINT NOT NULL,
    audio_output_tokens BIGINT NOT NULL,
    image_input_tokens BIGINT NOT NULL,
    image_output_tokens BIGINT NOT NULL,
    search_units BIGINT NOT NULL,
    cost_nano_usd BIGINT NOT NULL,
    estimated BIGINT NOT NULL,
    duration_ms BIGINT NOT NULL
) WITH (fillfactor = 70);

CREATE TABLE usage_daily_tags (LIKE usage_hourly_tags INCLUDING STORAGE) WITH (fillfactor = 70);

CREATE UNIQUE INDEX usage_hourly_tags_cube ON usage_hourly_tags (starts_at, tag, team_id) NULLS NOT DISTINCT;
CREATE UNIQUE INDEX usage_daily_tags_cube ON usage_daily_tags (starts_at, tag, team_id) NULLS NOT DISTINCT;

-- A trigger, so that rows are counted whoever inserts them (older workers during a roll-out, other services), and none
-- that was there already. Keys are sorted, so that batches of several workers wait for each other and never in a
-- circle. A figure that no attempt can have (2^40 tokens, a million dollars) is cut here, and in the row it stays: sums
-- that overflow would keep later rows out.
CREATE FUNCTION usage_costs_roll_up() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    WITH by_hour AS MATERIALIZED (
        SELECT date_bin(INTERVAL '1 hour', i."timestamp", TIMESTAMPTZ 'epoch') AS starts_at,
               i.key_id, i.team_id, i.user_id, i.model_name, i.provider_name, i.agent_id, i.query_type::text AS query_type,
               count(*) FILTER (WHERE i.final) AS requests,
               count(*) AS attempts,
               count(*) FILTER (WHERE i.outcome <> 'ok') AS errors,
               sum(least(coalesce(i.input_tokens, 0), 1099511627776))::bigint AS input_tokens,
               sum(least(coalesce(i.output_tokens, 0), 1099511627776))::bigint AS output_tokens,
               sum(least(i.cached_tokens, 1099511627776))::bigint AS cached_tokens,
               sum(least(i.cache_write_tokens, 1099511627776))::bigint AS cache_write_tokens,
               sum(least(i.reasoning_tokens, 1099511627776))::bigint AS reasoning_tokens,
               sum(least(i.audio_input_tokens, 1099511627776))::bigint AS audio_input_tokens,
               sum(least(i.audio_output_tokens, 1099511627776))::bigint AS audio_output_tokens,
               sum(least(i.image_input_tokens, 1099511627776))::bigint AS image_input_tokens,
               sum(least(i.image_output_tokens, 1099511627776))::bigint AS image_output_tokens,
               sum(least(i.search_units, 1099511627776))::bigint AS search_units,
               sum(least(coalesce(i.cost_nano_usd, (i.cost_amount * 1000000000)::bigint, 0), 1000000000000000))::bigint
                   AS cost_nano_usd,
               count(*) FILTER (WHERE i.estimated) AS estimated,
               coalesce(sum(i.duration_ms), 0)::bigint AS duration_ms
        FROM inserted AS i
        GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
    ), kept_hours AS (
        INSERT INTO usage_hourly AS kept
        SELECT * FROM by_hour ORDER BY 1, 2, 3, 4, 5, 6, 7, 8
        ON CONFLICT (starts_at, key_id, team_id, user_id, model_name, provider_name, agent_id, query_type) DO UPDATE SET
            requests = kept.requests + excluded.requests,
            attempts = kept.attempts + excluded.attempts,
            errors = kept.errors + excluded.errors,
            input_tokens = kept.input_tokens + excluded.input_tokens,
            output_tokens = kept.output_tokens + excluded.output_tokens,
            cached_tokens = kept.cached_tokens + excluded.cached_tokens,
            cache_write_tokens = kept.cache_write_tokens + excluded.cache_write_tokens,
            reasoning_tokens = kept.reasoning_tokens + excluded.reasoning_tokens,
            audio_input_tokens = kept.audio_input_tokens + excluded.audio_input_tokens,
            audio_output_tokens = kept.audio_output_tokens + excluded.audio_output_tokens,
            image_input_tokens = kept.image_input_tokens + excluded.image_input_tokens,
            image_output_tokens = kept.image_output_tokens + excluded.image_output_tokens,
            search_units = kept.search_units + excluded.search_units,
            cost_nano_usd = kept.cost_nano_usd + excluded.cost_nano_usd,
            estimated = kept.estimated + excluded.estimated,
            duration_ms = kept.duration_ms + excluded.duration_ms
    )
    INSERT INTO usage_daily AS kept
    SELECT date_bin(INTERVAL '1 day', h.starts_at, TIMESTAMPTZ 'epoch'),
           h.key_id, h.team_id, h.user_id, h.model_name, h.provider_name, h.agent_id, h.query_type,
           sum(h.requests)::bigint, sum(h.attempts)::bigint, sum(h.errors)::bigint,
           sum(h.input_tokens)::bigint, sum(h.output_tokens)::bigint,
           sum(h.cached_tokens)::bigint, sum(h.cache_write_tokens)::bigint, sum(h.reasoning_tokens)::bigint,
           sum(h.audio_input_tokens)::bigint, sum(h.audio_output_tokens)::bigint,
           sum(h.image_input_tokens)::bigint, sum(h.image_output_tokens)::bigint,
           sum(h.search_units)::bigint, sum(h.cost_nano_usd)::bigint, sum(h.estimated)::bigint,
           sum(h.duration_ms)::bigint
    FROM by_hour AS h
    GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
    ORDER BY 1, 2, 3, 4, 5, 6, 7, 8
    ON CONFLICT (starts_at, key_id, team_id, user_id, model_name, provider_name, agent_id, query_type) DO UPDATE SET
        requests = kept.requests + excluded.requests,
        attempts = kept.attempts + excluded.attempts,
        errors = kept.errors + excluded.errors,
        input_tokens = kept.input_tokens + excluded.input_tokens,
        output_tokens = kept.output_tokens + excluded.output_tokens,
        cached_tokens = kept.cached_tokens + excluded.cached_tokens,
        cache_write_tokens = kept.cache_write_tokens + excluded.cache_write_tokens,
        reasoning_tokens = kept.reasoning_tokens + excluded.reasoning_tokens,
        audio_input_tokens = kept.audio_input_tokens + excluded.audio_input_tokens,
        audio_output_tokens = kept.audio_output_tokens + excluded.audio_output_tokens,
        image_input_tokens = kept.image_input_tokens + excluded.image_input_tokens,
        image_output_tokens = kept.image_output_tokens + excluded.image_output_tokens,
        search_units = kept.search_units + excluded.search_units,
        cost_nano_usd = kept.cost_nano_usd + excluded.cost_nano_usd,
        estimated = kept.estimated + excluded.estimated,
        duration_ms = kept.duration_ms + excluded.duration_ms;

    IF EXISTS (SELECT FROM inserted WHERE tags IS NOT NULL) THEN
        WITH by_hour AS MATERIALIZED (
            SELECT date_bin(INTERVAL '1 hour', i."timestamp", TIMESTAMPTZ 'epoch') AS starts_at, t.tag, i.team_id,
                   count(*) FILTER (WHERE i.final) AS requests,
                   count(*) AS attempts,
                   count(*) FILTER (WHERE i.outcome <> 'ok') AS errors,
                   sum(least(coalesce(i.input_tokens, 0), 1099511627776))::bigint AS input_tokens,
                   sum(least(coalesce(i.output_tokens, 0), 1099511627776))::bigint AS output_tokens,
                   sum(least(i.cached_tokens, 1099511627776))::bigint AS cached_tokens,
                   sum(least(i.cache_write_tokens, 1099511627776))::bigint AS cache_write_tokens,
                   sum(least(i.reasoning_tokens, 1099511627776))::bigint AS reasoning_tokens,
                   sum(least(i.audio_input_tokens, 1099511627776))::bigint AS audio_input_tokens,
                   sum(least(i.audio_output_tokens, 1099511627776))::bigint AS audio_output_tokens,
                   sum(least(i.image_input_tokens, 1099511627776))::bigint AS image_input_tokens,
                   sum(least(i.image_output_tokens, 1099511627776))::bigint AS image_output_tokens,
                   sum(least(i.search_units, 1099511627776))::bigint AS search_units,
                   sum(least(coalesce(i.cost_nano_usd, (i.cost_amount * 1000000000)::bigint, 0), 1000000000000000))::bigint
                       AS cost_nano_usd,
                   count(*) FILTER (WHERE i.estimated) AS estimated,
                   coalesce(sum(i.duration_ms), 0)::bigint AS duration_ms
            FROM inserted AS i CROSS JOIN LATERAL (SELECT DISTINCT unnest(i.tags)) AS t (tag)
            WHERE t.tag IS NOT NULL
            GROUP BY 1, 2, 3
        ), kept_hours AS (
            INSERT INTO usage_hourly_tags AS kept
            SELECT * FROM by_hour ORDER BY 1, 2, 3
            ON CONFLICT (starts_at, tag, team_id) DO UPDATE SET
                requests = kept.requests + excluded.requests,
                attempts = kept.attempts + excluded.attempts,
                errors = kept.errors + excluded.errors,
                input_tokens = kept.input_tokens + excluded.input_tokens,
                output_tokens = kept.output_tokens + excluded.output_tokens,
                cached_tokens = kept.cached_tokens + excluded.cached_tokens,
                cache_write_tokens = kept.cache_write_tokens + excluded.cache_write_tokens,
                reasoning_tokens = kept.reasoning_tokens + excluded.reasoning_tokens,
                audio_input_tokens = kept.audio_input_tokens + excluded.audio_input_tokens,
                audio_output_tokens = kept.audio_output_tokens + excluded.audio_output_tokens,
                image_input_tokens = kept.image_input_tokens + excluded.image_input_tokens,
                image_output_tokens = kept.image_output_tokens + excluded.image_output_tokens,
                search_units = kept.search_units + excluded.search_units,
                cost_nano_usd = kept.cost_nano_usd + excluded.cost_nano_usd,
                estimated = kept.estimated + excluded.estimated,
                duration_ms = kept.duration_ms + excluded.duration_ms
        )
        INSERT INTO usage_daily_tags AS kept
        SELECT date_bin(INTERVAL '1 day', h.starts_at, TIMESTAMPTZ 'epoch'), h.tag, h.team_id,
               sum(h.requests)::bigint, sum(h.attempts)::bigint, sum(h.errors)::bigint,
               sum(h.input_tokens)::bigint, sum(h.output_tokens)::bigint,
               sum(h.cached_tokens)::bigint, sum(h.cache_write_tokens)::bigint, sum(h.reasoning_tokens)::bigint,
               sum(h.audio_input_tokens)::bigint, sum(h.audio_output_tokens)::bigint,
               sum(h.image_input_tokens)::bigint, sum(h.image_output_tokens)::bigint,
               sum(h.search_units)::bigint, sum(h.cost_nano_usd)::bigint, sum(h.estimated)::bigint,
               sum(h.duration_ms)::bigint
        FROM by_hour AS h
        GROUP BY 1, 2, 3
        ORDER BY 1, 2, 3
        ON CONFLICT (starts_at, tag, team_id) DO UPDATE SET
            requests = kept.requests + excluded.requests,
            attempts = kept.attempts + excluded.attempts,
            errors = kept.errors + excluded.errors,
            input_tokens = kept.input_tokens + excluded.input_tokens,
            output_tokens = kept.output_tokens + excluded.output_tokens,
            cached_tokens = kept.cached_tokens + excluded.cached_tokens,
            cache_write_tokens = kept.cache_write_tokens + excluded.cache_write_tokens,
            reasoning_tokens = kept.reasoning_tokens + excluded.reasoning_tokens,
            audio_input_tokens = kept.audio_input_tokens + excluded.audio_input_tokens,
            audio_output_tokens = kept.audio_output_tokens + excluded.audio_output_tokens,
            image_input_tokens = kept.image_input_tokens + excluded.image_input_tokens,
            image_output_tokens = kept.image_output_tokens + excluded.image_output_tokens,
            search_units = kept.search_units + excluded.search_units,
            cost_nano_usd = kept.cost_nano_usd + excluded.cost_nano_usd,
            estimated = kept.estimated + excluded.estimated,
            duration_ms = kept.duration_ms + excluded.duration_ms;
    END IF;
    RETURN NULL;
END
$$;

-- From here to the commit nobody inserts: what comes later is counted by the trigger, what came before just below.
CREATE TRIGGER usage_costs_roll_up AFTER INSERT ON usage_costs
    REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT EXECUTE FUNCTION usage_costs_roll_up();

CREATE TEMPORARY TABLE usage_costs_before ON COMMIT DROP AS SELECT * FROM usage_costs WITH NO DATA;
CREATE TRIGGER usage_costs_roll_up AFTER INSERT ON usage_costs_before
    REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT EXECUTE FUNCTION usage_costs_roll_up();
INSERT INTO usage_costs_before SELECT * FROM usage_costs;

-- Drop the oldest partition that ended before the last `months` whole months; its name, or null where none is left.
-- Once it has dropped one it is to be called again, in a transaction of its own: each takes a lock that all inserts
-- wait for, and gives up (55P03) when it must wait for it itself. (DETACH CONCURRENTLY is refused where there is a
-- default partition.) Older rows that the default partition took go along with the last.
CREATE FUNCTION usage_costs_drop_month(months INTEGER) RETURNS TEXT
LANGUAGE plpgsql SET lock_timeout = '1s' AS $$
DECLARE
    first_kept TIMESTAMP := date_trunc('month', now() AT TIME ZONE 'UTC') - make_interval(months => months);
    oldest TEXT;
BEGIN
    LOCK TABLE usage_costs IN SHARE UPDATE EXCLUSIVE MODE;
    SELECT c.relname INTO oldest
    FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'usage_costs'::regclass AND c.relname ~ '^usage_costs_\d{4}_\d{2}$'
      AND c.relname < 'usage_costs_' || to_char(first_kept, 'YYYY_MM')
    ORDER BY c.relname LIMIT 1;
    IF oldest IS NULL THEN
        DELETE FROM usage_costs_default WHERE "timestamp" < first_kept AT TIME ZONE 'UTC';
    ELSE
        EXECUTE format('DROP TABLE %I', oldest);
    END IF;
    RETURN oldest;
END
$$;
