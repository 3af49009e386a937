-- name: all
SELECT id, scope, subject, model, requests_per_minute, requests_per_hour, requests_per_day, tokens_per_minute,
       tokens_per_hour, tokens_per_day, max_concurrency, on_store_failure
FROM quota_limits
WHERE deleted_at IS NULL AND ($1::uuid IS NULL OR id > $1)
ORDER BY id
LIMIT $2;

-- name: by_id
SELECT id, scope, subject, model, requests_per_minute, requests_per_hour, requests_per_day, tokens_per_minute,
       tokens_per_hour, tokens_per_day, max_concurrency, on_store_failure
FROM quota_limits
WHERE id = ANY ($1::uuid[]) AND deleted_at IS NULL;

-- name: insert
INSERT INTO quota_limits (scope, subject, model, requests_per_minute, requests_per_hour, requests_per_day,
                          tokens_per_minute, tokens_per_hour, tokens_per_day, max_concurrency, on_store_failure)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
ON CONFLICT (scope, subject, coalesce(model, '')) WHERE deleted_at IS NULL DO NOTHING
RETURNING id;

-- name: lock_place
SELECT id FROM quota_limits
WHERE scope = $1 AND subject = $2 AND model IS NOT DISTINCT FROM $3 AND deleted_at IS NULL
FOR UPDATE;

-- name: lock
SELECT id FROM quota_limits WHERE id = $1 AND deleted_at IS NULL FOR UPDATE;

-- name: update
UPDATE quota_limits
SET requests_per_minute = $2, requests_per_hour = $3, requests_per_day = $4, tokens_per_minute = $5,
    tokens_per_hour = $6, tokens_per_day = $7, max_concurrency = $8, on_store_failure = $9, updated_at = now()
WHERE id = $1;

-- name: delete
UPDATE quota_limits SET deleted_at = now(), updated_at = now() WHERE id = $1;

-- name: record
SELECT l.id::text, l.scope, l.subject, l.model, l.requests_per_minute, l.requests_per_hour, l.requests_per_day,
       l.tokens_per_minute, l.tokens_per_hour, l.tokens_per_day, l.max_concurrency, l.on_store_failure,
       CASE l.scope WHEN 'team' THEN l.subject
            WHEN 'key' THEN (SELECT k.team_id::text FROM api_keys AS k WHERE k.id::text = l.subject) END AS team_id,
       l.created_at, l.updated_at
FROM quota_limits AS l
WHERE l.id = $1 AND l.deleted_at IS NULL;

-- name: page
-- $6: what belongs to this team and its keys alone.
SELECT l.id::text, l.scope, l.subject, l.model, l.requests_per_minute, l.requests_per_hour, l.requests_per_day,
       l.tokens_per_minute, l.tokens_per_hour, l.tokens_per_day, l.max_concurrency, l.on_store_failure,
       CASE l.scope WHEN 'team' THEN l.subject
            WHEN 'key' THEN (SELECT k.team_id::text FROM api_keys AS k WHERE k.id::text = l.subject) END AS team_id,
       l.created_at, l.updated_at
FROM quota_limits AS l
WHERE l.deleted_at IS NULL
  AND ($1::uuid IS NULL OR l.id < $1)
  AND ($2::text IS NULL OR l.scope = $2)
  AND ($3::text IS NULL OR l.subject = $3)
  AND ($4::text IS NULL OR l.model = $4)
  AND ($6::uuid IS NULL OR (l.scope = 'team' AND l.subject = $6::text)
       OR (l.scope = 'key' AND l.subject IN (SELECT k.id::text FROM api_keys AS k WHERE k.team_id = $6)))
ORDER BY l.id DESC
LIMIT $5;

-- name: of_keys
SELECT k.id AS key_id, l.requests_per_minute AS rpm, l.tokens_per_minute AS tpm, l.max_concurrency
FROM unnest($1::uuid[]) AS k (id)
    JOIN quota_limits AS l ON l.scope = 'key' AND l.subject = gateway_first_key(k.id)::text
        AND l.model IS NULL AND l.deleted_at IS NULL;

-- name: of_lines
SELECT id FROM quota_limits WHERE scope = 'key' AND subject = ANY ($1::text[]) AND deleted_at IS NULL;

-- name: lock_declared
-- Of workers that are given the same configuration, one writes down what changed.
SELECT pg_advisory_xact_lock(hashtextextended('gateway declared limits', 0));

-- name: last_declared
SELECT DISTINCT ON (object_id) object_id, after
FROM audit_log
WHERE object_type = 'limit' AND starts_with(object_id, 'config:')
ORDER BY object_id, id DESC;
