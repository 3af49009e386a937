-- name: record
INSERT INTO gateway_batches (provider, batch_id, key_id, team_id, user_id, ask_at, creation)
VALUES ($1, $2, $3::uuid, $4::uuid, $5::uuid, now() + make_interval(secs => $6::float8), $7::jsonb)
ON CONFLICT (provider, batch_id) DO NOTHING;

-- name: hasten
UPDATE gateway_batches SET ask_at = now() WHERE provider = $1 AND batch_id = $2 AND metered_at IS NULL;

-- name: claim
-- $1 seconds it is the caller's, $2 seconds until it is due again (set here, so that a `hasten` in between stands).
UPDATE gateway_batches
SET claimed_until = now() + make_interval(secs => $1::float8), ask_at = now() + make_interval(secs => $2::float8)
WHERE id = (
    SELECT id FROM gateway_batches
    WHERE metered_at IS NULL AND ask_at <= now() AND (claimed_until IS NULL OR claimed_until <= now())
    ORDER BY ask_at LIMIT 1 FOR UPDATE SKIP LOCKED
)
RETURNING id, provider, batch_id, key_id, team_id, user_id, used, ended_at, creation,
    coalesce(extract(epoch FROM now() - missing_since), 0)::float8 AS missing_s;

-- name: renew
UPDATE gateway_batches SET claimed_until = now() + make_interval(secs => $2::float8) WHERE id = $1::uuid;

-- name: release
-- $2: was it missing at its provider? NULL: nobody knows, the provider gave no answer.
UPDATE gateway_batches
SET claimed_until = NULL,
    missing_since = CASE WHEN $2::boolean IS NULL THEN missing_since
                         WHEN $2::boolean THEN coalesce(missing_since, now()) END
WHERE id = $1::uuid;

-- name: decide
-- The first decision stands.
UPDATE gateway_batches SET used = coalesce(used, $2::jsonb), ended_at = coalesce(ended_at, now())
WHERE id = $1::uuid
RETURNING used, ended_at;

-- name: close
UPDATE gateway_batches SET metered_at = now(), claimed_until = NULL WHERE id = $1::uuid;
