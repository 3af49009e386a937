-- name: stage
-- The staging table belongs to the connection, and its name to its shape (change both together); made again on whichever connection a pooler gives, it works behind
-- transaction poolers too. Defaults are those of an attempt whose end was never written. A database that does not
-- wait for its log would lose what the journal forgets: then this transaction waits.
SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off';
SET LOCAL client_min_messages = warning;
CREATE TEMPORARY TABLE IF NOT EXISTS usage_costs_staging_0003 (
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
    first_byte_ms INTEGER
) ON COMMIT DELETE ROWS;

-- name: insert
-- Microseconds times an interval of one microsecond is exact (below 2^53); a product with 0.000000001 is, too,
-- where a division would round large costs.
INSERT INTO usage_costs (
    request_id, attempt, "timestamp", key_id, team_id, user_id, provider_id, model_id,
    provider_name, model_name, target_model, endpoint, streamed, final, outcome, status, error_code,
    input_tokens, output_tokens, cached_tokens, cache_write_tokens, reasoning_tokens,
    audio_input_tokens, audio_output_tokens, image_input_tokens, image_output_tokens,
    cost_nano_usd, cost_amount, estimated, duration_ms, first_byte_ms
)
SELECT
    request_id, attempt, TIMESTAMPTZ 'epoch' + started_us * INTERVAL '1 microsecond',
    key_id, team_id, user_id, provider_id, model_id,
    provider_name, model_name, target_model, endpoint, streamed, final, outcome, status, error_code,
    input_tokens, output_tokens, cached_tokens, cache_write_tokens, reasoning_tokens,
    audio_input_tokens, audio_output_tokens, image_input_tokens, image_output_tokens,
    cost_nano_usd, cost_nano_usd * 0.000000001, estimated, duration_ms, first_byte_ms
FROM usage_costs_staging_0003
ON CONFLICT (request_id, attempt, "timestamp") DO NOTHING;

-- name: ensure_partitions
SELECT usage_costs_ensure_partitions($1::integer);

-- name: spent
SELECT coalesce(sum(cost_nano_usd), 0)::bigint FROM usage_costs WHERE key_id = $1::uuid;
