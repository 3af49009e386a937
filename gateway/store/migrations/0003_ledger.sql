-- kind: expand
-- The ledger: one row per attempt at a provider that may have been billed, exactly one of a request's rows final.
--
-- Against the product's first draft: partitioned by month, so that old months can be dropped at once; cost_amount is
-- NUMERIC(18,9), tokens BIGINT, timestamp TIMESTAMPTZ (a cost in nano-dollars must not be rounded); `id` keeps its
-- sequence, but a partitioned table cannot have it as its primary key. The draft's foreign keys are left out: the
-- ledger must take every row whatever became of the user, model or provider it names, rows come in batches of a
-- thousand where three look-ups each would cost more than the insert, and what it refers to is never deleted.
-- Whoever inserts with the draft's columns alone still can: the rest has defaults.

-- Ids are unique, not without gaps: each session takes a thousand at once, since taking one costs a log record.
CREATE SEQUENCE usage_costs_id_seq AS BIGINT CACHE 1000;

CREATE TABLE usage_costs (
    id BIGINT NOT NULL DEFAULT nextval('usage_costs_id_seq'),
    user_id UUID,
    session_id UUID,
    model_id UUID,
    provider_id UUID,
    input_tokens BIGINT,
    output_tokens BIGINT,
    cost_amount NUMERIC(18, 9), -- USD; cost_nano_usd, for people
    query_type VARCHAR(100),
    "timestamp" TIMESTAMPTZ NOT NULL DEFAULT CURRENT_TIMESTAMP, -- when the attempt began, by the gateway's clock
    agent_id UUID,
    request_id UUID NOT NULL DEFAULT uuidv7(),
    attempt SMALLINT NOT NULL DEFAULT 1,
    final BOOLEAN NOT NULL DEFAULT true, -- its outcome is what the client saw
    key_id UUID,
    team_id UUID,
    -- Names beside ids: what is used ad hoc has no row elsewhere, and names change.
    provider_name TEXT,
    model_name TEXT, -- what the client asked for
    target_model TEXT, -- what the provider was asked for
    endpoint TEXT,
    streamed BOOLEAN,
    outcome TEXT, -- ok, error, client_gone, timeout, cancelled; unknown: the worker died, costs are what was reserved
    status SMALLINT, -- HTTP status; 0 where none came
    error_code TEXT, -- gateway/errors.py
    cached_tokens BIGINT NOT NULL DEFAULT 0, -- part of input_tokens
    cache_write_tokens BIGINT NOT NULL DEFAULT 0, -- part of input_tokens
    reasoning_tokens BIGINT NOT NULL DEFAULT 0, -- part of output_tokens
    audio_input_tokens BIGINT NOT NULL DEFAULT 0, -- part of input_tokens
    audio_output_tokens BIGINT NOT NULL DEFAULT 0, -- part of output_tokens
    image_input_tokens BIGINT NOT NULL DEFAULT 0, -- part of input_tokens
    image_output_tokens BIGINT NOT NULL DEFAULT 0, -- part of output_tokens
    cost_nano_usd BIGINT, -- null in rows of others, who fill cost_amount
    estimated BOOLEAN NOT NULL DEFAULT false, -- the provider did not report the usage
    duration_ms INTEGER,
    first_byte_ms INTEGER,
    PRIMARY KEY (request_id, attempt, "timestamp")
) PARTITION BY RANGE ("timestamp");

ALTER SEQUENCE usage_costs_id_seq OWNED BY usage_costs.id;

-- What no month's partition takes: clocks far off, months nobody prepared.
CREATE TABLE usage_costs_default PARTITION OF usage_costs DEFAULT;

-- Make the partitions (UTC months) from this month to `months_ahead` months on, where they are missing. Rows of such a
-- month that the default partition took meanwhile move over. Safe to call from many workers at once.
CREATE FUNCTION usage_costs_ensure_partitions(months_ahead INTEGER) RETURNS INTEGER
LANGUAGE plpgsql AS $$
DECLARE
    first_month TIMESTAMP := date_trunc('month', now() AT TIME ZONE 'UTC');
    lower_bound TIMESTAMPTZ;
    upper_bound TIMESTAMPTZ;
    partition_name TEXT;
    made INTEGER := 0;
BEGIN
    FOR months IN 0..months_ahead LOOP
        lower_bound := (first_month + make_interval(months => months)) AT TIME ZONE 'UTC';
        upper_bound := (first_month + make_interval(months => months + 1)) AT TIME ZONE 'UTC';
        partition_name := 'usage_costs_' || to_char(first_month + make_interval(months => months), 'YYYY_MM');
        CONTINUE WHEN to_regclass(partition_name) IS NOT NULL;
        -- One at a time. (A table's lock, not an advisory one: taking it also makes others' new tables seen.)
        LOCK TABLE usage_costs IN SHARE UPDATE EXCLUSIVE MODE;
        CONTINUE WHEN to_regclass(partition_name) IS NOT NULL;
        EXECUTE format('CREATE TABLE %I (LIKE usage_costs INCLUDING ALL)', partition_name);
        -- Nothing may arrive in the default partition between the move and the attaching.
        LOCK TABLE usage_costs_default IN ACCESS EXCLUSIVE MODE;
        EXECUTE format(
            'WITH moved AS (DELETE FROM usage_costs_default WHERE "timestamp" >= %L AND "timestamp" < %L RETURNING *)'
            ' INSERT INTO %I SELECT * FROM moved', lower_bound, upper_bound, partition_name);
        EXECUTE format('ALTER TABLE usage_costs ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
            partition_name, lower_bound, upper_bound);
        made := made + 1;
    END LOOP;
    RETURN made;
END
$$;
