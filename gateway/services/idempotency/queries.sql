-- $1 is the scope, $2 the claim's id, wherever a claim goes on or ends: one that lost its row changes nothing.

-- name: claim
-- Free is what is not there, what expired, and what somebody claimed who died before anything was sent.
INSERT INTO gateway_idempotent_requests AS held (scope, claim_id, body_hash, claimed_until, expires_at, holder)
VALUES ($1, $2::uuid, $3, now() + make_interval(secs => $4::float8), now() + make_interval(secs => $5::float8), $6)
ON CONFLICT (scope) DO UPDATE
SET claim_id = excluded.claim_id, body_hash = excluded.body_hash, state = 'claimed', answer = NULL,
    claimed_until = excluded.claimed_until, expires_at = excluded.expires_at, created_at = now(),
    holder = excluded.holder
WHERE held.claimed_until <= now() AND (held.state = 'claimed' OR held.expires_at <= now());

-- name: look
SELECT body_hash, state, answer, claimed_until <= now() AS lapsed,
       claimed_until <= now() AND (state = 'claimed' OR expires_at <= now()) AS free
FROM gateway_idempotent_requests
WHERE scope = $1;

-- name: mark_sent
UPDATE gateway_idempotent_requests
SET state = 'sent', claimed_until = now() + make_interval(secs => $3::float8)
WHERE scope = $1 AND claim_id = $2::uuid AND state = 'claimed';

-- name: keep
WITH kept AS (
    UPDATE gateway_idempotent_requests
    SET state = CASE WHEN $3::bytea IS NULL THEN 'too_large' ELSE 'kept' END, answer = $3::bytea,
        claimed_until = now(), expires_at = now() + make_interval(secs => $4::float8)
    WHERE scope = $1 AND claim_id = $2::uuid AND state = 'sent'
    RETURNING scope
)
SELECT pg_notify('gateway_idempotency', encode(scope, 'hex')) FROM kept;

-- name: release
WITH freed AS (
    DELETE FROM gateway_idempotent_requests
    WHERE scope = $1 AND claim_id = $2::uuid AND state IN ('claimed', 'sent')
    RETURNING scope
)
SELECT pg_notify('gateway_idempotency', encode(scope, 'hex')) FROM freed;

-- name: abandon
WITH left_behind AS (
    UPDATE gateway_idempotent_requests
    SET claimed_until = now()
    WHERE scope = $1 AND claim_id = $2::uuid AND state IN ('claimed', 'sent')
    RETURNING scope
)
SELECT pg_notify('gateway_idempotency', encode(scope, 'hex')) FROM left_behind;

-- name: hold
UPDATE gateway_idempotent_requests AS held
SET claimed_until = now() + make_interval(secs => $3::float8)
FROM unnest($1::bytea[], $2::uuid[]) AS mine (scope, claim_id)
WHERE held.scope = mine.scope AND held.claim_id = mine.claim_id AND held.state IN ('claimed', 'sent');

-- name: trim
-- Of these holders' answers, newest first, those that come after so many bytes are not kept any longer: the rows stay,
-- so that nothing is paid for twice unnoticed.
WITH counted AS (
    SELECT scope, sum(octet_length(answer)) OVER (PARTITION BY holder ORDER BY created_at DESC, scope) AS bytes
    FROM gateway_idempotent_requests
    WHERE holder = ANY ($1::text[]) AND state = 'kept'
)
UPDATE gateway_idempotent_requests AS held
SET state = 'too_large', answer = NULL
FROM counted
WHERE held.scope = counted.scope AND counted.bytes > $2::bigint AND held.state = 'kept'
RETURNING held.holder;

-- name: prune
DELETE FROM gateway_idempotent_requests
WHERE scope IN (
    SELECT scope FROM gateway_idempotent_requests
    WHERE expires_at <= now() AND claimed_until <= now()
    ORDER BY expires_at
    LIMIT $1
    FOR UPDATE SKIP LOCKED
);
