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
                          tokens_per_minute, tokens_per_hour, tokens_per_day, max_concurrency, on_store_failure,
                          set_by_owner)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
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
    tokens_per_hour = $6, tokens_per_day = $7, max_concurrency = $8, on_store_failure = $9,
    set_by_owner = set_by_owner OR $10, updated_at = now()
WHERE id = $1;

-- name: delete
UPDATE quota_limits SET deleted_at = now(), updated_at = now() WHERE id = $1;

-- name: record
SELECT l.id::text, l.scope, l.subject, l.model, l.requests_per_minute, l.requests_per_hour, l.requests_per_day,
       l.tokens_per_minute, l.tokens_per_hour, l.tokens_per_day, l.max_concurrency, l.on_store_failure,
       CASE l.scope WHEN 'team' THEN l.subject
            WHEN 'key' THEN (SELECT k.team_id::text FROM api_keys AS k WHERE k.id::text = l.subject)
            WHEN 'user' THEN gateway_only_team(l.subject::uuid)::text END AS team_id,
       l.set_by_owner, l.created_at, l.updated_at
FROM quota_limits AS l
WHERE l.id = $1 AND l.deleted_at IS NULL;

-- name: page
-- $6: what belongs to this team, its keys, and the users that are in no other team.
SELECT l.id::text, l.scope, l.subject, l.model, l.requests_per_minute, l.requests_per_hour, l.requests_per_day,
       l.tokens_per_minute, l.tokens_per_hour, l.tokens_per_day, l.max_concurrency, l.on_store_failure,
       CASE l.scope WHEN 'team' THEN l.subject
            WHEN 'key' THEN (SELECT k.team_id::text FROM api_keys AS k WHERE k.id::text = l.subject)
            WHEN 'user' THEN gateway_only_team(l.subject::uuid)::text END AS team_id,
       l.set_by_owner, l.created_at, l.updated_at
FROM quota_limits AS l
WHERE l.deleted_at IS NULL
  AND ($1::uuid IS NULL OR l.id < $1)
  AND ($2::text IS NULL OR l.scope = $2)
  AND ($3::text IS NULL OR l.subject = $3)
  AND ($4::text IS NULL OR l.model = $4)
  AND ($6::uuid IS NULL OR (l.scope = 'team' AND l.subject = $6::text)
       OR (l.scope = 'key' AND l.subject IN (SELECT k.id::text FROM api_keys AS k WHERE k.team_id = $6))
       OR (l.scope = 'user' AND l.subject IN (SELECT m.user_id::text FROM team_members AS m
                                              WHERE m.team_id = $6 AND gateway_only_team(m.user_id) = $6)))
ORDER BY l.id DESC
LIMIT $5;

-- name: team_allows
-- What a team's own limits allow, the one for the model $2, too.
SELECT min(requests_per_minute) AS requests_per_minute, min(requests_per_hour) AS requests_per_hour,
       min(requests_per_day) AS requests_per_day, min(tokens_per_minute) AS tokens_per_minute,
       min(tokens_per_hour) AS tokens_per_hour, min(tokens_per_day) AS tokens_per_day,
       min(max_concurrency) AS max_concurrency
FROM quota_limits
WHERE scope = 'team' AND subject = $1 AND (model IS NULL OR model = $2) AND deleted_at IS NULL;

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
