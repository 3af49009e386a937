-- name: by_hash
SELECT k.key_hash, k.id, gateway_first_key(k.id) AS line_id, k.name, k.team_id, t.name AS team, t.weight AS team_weight, o.id AS organisation_id,
       k.user_id, k.models, k.endpoints, k.admin_role, k.disabled, k.revoked_at, k.expires_at,
       CASE WHEN o.disabled OR o.deleted_at IS NOT NULL THEN 'organisation_disabled'
            WHEN t.disabled OR t.deleted_at IS NOT NULL THEN 'team_disabled'
            WHEN s.disabled OR s.deleted_at IS NOT NULL THEN 'user_disabled' END AS holder_refusal
FROM api_keys AS k
    LEFT JOIN teams AS t ON t.id = k.team_id
    LEFT JOIN organisations AS o
        ON o.id = CASE WHEN k.team_id IS NULL THEN gateway_organisation_of_user(k.user_id) ELSE t.organisation_id END
    LEFT JOIN user_standing AS s ON s.user_id = k.user_id
WHERE k.key_hash = ANY ($1::bytea[]);

-- name: by_id
SELECT k.key_hash, k.id, gateway_first_key(k.id) AS line_id, k.name, k.team_id, t.name AS team, t.weight AS team_weight, o.id AS organisation_id,
       k.user_id, k.models, k.endpoints, k.admin_role, k.disabled, k.revoked_at, k.expires_at,
       CASE WHEN o.disabled OR o.deleted_at IS NOT NULL THEN 'organisation_disabled'
            WHEN t.disabled OR t.deleted_at IS NOT NULL THEN 'team_disabled'
            WHEN s.disabled OR s.deleted_at IS NOT NULL THEN 'user_disabled' END AS holder_refusal
FROM api_keys AS k
    LEFT JOIN teams AS t ON t.id = k.team_id
    LEFT JOIN organisations AS o
        ON o.id = CASE WHEN k.team_id IS NULL THEN gateway_organisation_of_user(k.user_id) ELSE t.organisation_id END
    LEFT JOIN user_standing AS s ON s.user_id = k.user_id
WHERE k.id = ANY ($1::uuid[]);

-- name: insert
INSERT INTO api_keys (name, key_hash, secret_fingerprint, key_hint, team_id, user_id, models, endpoints,
                      expires_at, admin_role, rotated_from)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
RETURNING id;

-- name: record
SELECT k.id, k.name, k.key_hint, k.secret_fingerprint, k.team_id, t.name AS team, k.user_id, k.models, k.endpoints,
       k.admin_role,
       CASE WHEN k.revoked_at IS NOT NULL THEN 'revoked' WHEN k.expires_at <= now() THEN 'expired'
            WHEN k.disabled THEN 'disabled' ELSE 'active' END AS state,
       k.revoked_at, k.expires_at, k.rotated_from, k.created_at, k.updated_at
FROM api_keys AS k LEFT JOIN teams AS t ON t.id = k.team_id
WHERE k.id = $1;

-- name: page
SELECT k.id, k.name, k.key_hint, k.secret_fingerprint, k.team_id, t.name AS team, k.user_id, k.models, k.endpoints,
       k.admin_role,
       CASE WHEN k.revoked_at IS NOT NULL THEN 'revoked' WHEN k.expires_at <= now() THEN 'expired'
            WHEN k.disabled THEN 'disabled' ELSE 'active' END AS state,
       k.revoked_at, k.expires_at, k.rotated_from, k.created_at, k.updated_at
FROM api_keys AS k LEFT JOIN teams AS t ON t.id = k.team_id
WHERE ($1::uuid IS NULL OR k.id < $1)
  AND ($2::text IS NULL OR t.name = $2)
  AND ($3::boolean OR k.revoked_at IS NULL)
  AND ($4::uuid IS NULL OR k.team_id = $4)
  AND ($5::text IS NULL OR k.name = $5)
  -- By id, e-mail address or name, as `users_named` reads them.
  AND ($6::text IS NULL OR k.user_id IN (
      SELECT u.id FROM users AS u
      WHERE u.id::text = lower($6) OR to_jsonb(u) ->> 'email' = $6 OR to_jsonb(u) ->> 'name' = $6
  ))
ORDER BY k.id DESC
LIMIT $7;

-- name: update
-- $2 names the columns to set; the others keep their values.
UPDATE api_keys
SET name = CASE WHEN 'name' = ANY ($2::text[]) THEN $3 ELSE name END,
    models = CASE WHEN 'models' = ANY ($2) THEN $4::text[] ELSE models END,
    endpoints = CASE WHEN 'endpoints' = ANY ($2) THEN $5::text[] ELSE endpoints END,
    expires_at = CASE WHEN 'expires_at' = ANY ($2) THEN $6::timestamptz ELSE expires_at END,
    disabled = CASE WHEN 'disabled' = ANY ($2) THEN $7::boolean ELSE disabled END,
    updated_at = now()
WHERE id = $1 AND revoked_at IS NULL;

-- name: revoke
UPDATE api_keys SET revoked_at = now(), updated_at = now()
WHERE id = $1 AND revoked_at IS NULL;

-- name: lock
SELECT name, team_id, user_id, models, endpoints, expires_at, admin_role, disabled, revoked_at,
       expires_at <= now() AS expired
FROM api_keys WHERE id = $1
FOR UPDATE;

-- name: successor
-- Asked once the old row is locked: inside that statement it would not see what it had waited for.
SELECT id FROM api_keys WHERE rotated_from = $1;

-- name: retire
UPDATE api_keys
SET expires_at = least(expires_at, now() + make_interval(secs => $2)), updated_at = now()
WHERE id = $1;

-- name: insert_team
INSERT INTO teams (name) VALUES ($1) ON CONFLICT (name) DO NOTHING RETURNING id;

-- name: team_named
SELECT id, deleted_at IS NOT NULL AS deleted FROM teams WHERE name = $1;

-- name: team_name
SELECT name FROM teams WHERE id = $1;

-- name: user_exists
SELECT EXISTS (
    SELECT FROM users AS u LEFT JOIN user_standing AS s ON s.user_id = u.id WHERE u.id = $1 AND s.deleted_at IS NULL
);

-- name: lock_user_name
-- users has no unique name: two that make the same one must take turns.
SELECT pg_advisory_xact_lock(hashtextextended('gateway user ' || $1::text, 0));

-- name: users_named
-- The table may be KubeChat's own, with other columns: so read the row as JSON, which lacks what is not there.
SELECT u.id FROM users AS u LEFT JOIN user_standing AS s ON s.user_id = u.id
WHERE (to_jsonb(u) ->> 'email' = $1 OR to_jsonb(u) ->> 'name' = $1) AND s.deleted_at IS NULL
LIMIT 2;

-- name: insert_user
INSERT INTO users (name, email) VALUES ($1::text, CASE WHEN strpos($1::text, '@') > 0 THEN $1 END) RETURNING id;

-- name: is_member
SELECT EXISTS (SELECT FROM team_members WHERE team_id = $1 AND user_id = $2);

-- name: lock_secrets
LOCK TABLE gateway_secret IN SHARE ROW EXCLUSIVE MODE;

-- name: fingerprints
SELECT fingerprint FROM gateway_secret ORDER BY first_used_at DESC;

-- name: add_fingerprint
INSERT INTO gateway_secret (fingerprint) VALUES ($1) ON CONFLICT DO NOTHING;

-- name: keys_under_other_secrets
SELECT count(*) FROM api_keys
WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
  AND secret_fingerprint <> ALL ($1::bytea[]);
