-- What is in braces comes from fixed lists in reports.py and export.py, never from a request.

-- name: page
SELECT {bucket} AS starts_at, {value} AS value,
       sum(requests) AS requests, sum(attempts) AS attempts, sum(errors) AS errors,
       sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens,
       sum(cached_tokens) AS cached_tokens, sum(cache_write_tokens) AS cache_write_tokens,
       sum(reasoning_tokens) AS reasoning_tokens,
       sum(audio_input_tokens) AS audio_input_tokens, sum(audio_output_tokens) AS audio_output_tokens,
       sum(image_input_tokens) AS image_input_tokens, sum(image_output_tokens) AS image_output_tokens,
       sum(search_units) AS search_units, sum(cost_nano_usd) AS cost_nano_usd,
       sum(estimated) AS estimated, sum(duration_ms) AS duration_ms
FROM {table}
WHERE starts_at >= $1 AND starts_at < $2 {filters}
GROUP BY 1, 2
HAVING count(*) > 0 {beyond}
ORDER BY 1, 2
LIMIT {limit};

-- name: named
-- The page with names beside its ids: of its groups alone, after they were added up. Who is gone keeps its name.
SELECT summed.*, named.name
FROM ({page}) AS summed LEFT JOIN ({names}) AS named ON named.id = summed.value
ORDER BY summed.starts_at, summed.value;

-- name: names_of_key
SELECT id, name FROM api_keys

-- name: names_of_team
SELECT id, name FROM teams

-- name: names_of_user
-- users may be another service's, with other columns.
SELECT id, coalesce(nullif(to_jsonb(u) ->> 'name', ''), to_jsonb(u) ->> 'email') AS name FROM users AS u

-- name: request
SELECT request_id::text, attempt, final, "timestamp", key_id::text, team_id::text, user_id::text,
       provider_name AS provider, model_name AS model, target_model, endpoint, streamed,
       outcome, status, error_code, input_tokens, output_tokens, cached_tokens, cache_write_tokens, reasoning_tokens,
       audio_input_tokens, audio_output_tokens, image_input_tokens, image_output_tokens, search_units,
       coalesce(cost_nano_usd, (cost_amount * 1000000000)::bigint, 0) AS cost_nano_usd, estimated,
       duration_ms, first_byte_ms, end_user, tags
FROM usage_costs WHERE request_id = $1 ORDER BY attempt, "timestamp";

-- name: export
SELECT "timestamp", request_id, attempt, final, key_id, team_id, user_id,
       provider_name AS provider, model_name AS model, target_model, endpoint, streamed,
       outcome, status, error_code, input_tokens, output_tokens, cached_tokens, cache_write_tokens, reasoning_tokens,
       audio_input_tokens, audio_output_tokens, image_input_tokens, image_output_tokens, search_units,
       coalesce(cost_nano_usd, (cost_amount * 1000000000)::bigint, 0) AS cost_nano_usd, cost_amount AS cost_usd,
       estimated, duration_ms, first_byte_ms, agent_id, query_type, end_user, tags
FROM usage_costs
WHERE "timestamp" >= $1 AND "timestamp" < $2 {filters}

-- name: as_csv
-- A spreadsheet takes a cell that begins with one of these for a formula, and callers choose these texts:
-- https://owasp.org/www-community/attacks/CSV_Injection (read 2026-11)
SELECT "timestamp", request_id, attempt, final, key_id, team_id, user_id,
       regexp_replace(provider, '^[=+@\t\r-]', '''\&') AS provider, regexp_replace(model, '^[=+@\t\r-]', '''\&') AS model,
       regexp_replace(target_model, '^[=+@\t\r-]', '''\&') AS target_model, endpoint, streamed,
       outcome, status, error_code, input_tokens, output_tokens, cached_tokens, cache_write_tokens, reasoning_tokens,
       audio_input_tokens, audio_output_tokens, image_input_tokens, image_output_tokens, search_units,
       cost_nano_usd, cost_usd, estimated, duration_ms, first_byte_ms, agent_id,
       regexp_replace(query_type, '^[=+@\t\r-]', '''\&') AS query_type,
       regexp_replace(end_user, '^[=+@\t\r-]', '''\&') AS end_user, array_to_string(tags, ',') AS tags
FROM ({export}) AS exported

-- name: as_ndjson
SELECT row_to_json(exported) FROM ({export}) AS exported
