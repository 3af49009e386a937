-- Is whom a limit or a budget is set on there, and which team does it belong to?

-- name: organisation
SELECT id::text AS subject, NULL::uuid AS team_id FROM organisations WHERE id = $1 AND deleted_at IS NULL;

-- name: team
SELECT id::text AS subject, id AS team_id FROM teams WHERE id = $1 AND deleted_at IS NULL;

-- name: user
SELECT u.id::text AS subject, gateway_only_team(u.id) AS team_id
FROM users AS u LEFT JOIN user_standing AS s ON s.user_id = u.id
WHERE u.id = $1 AND s.deleted_at IS NULL;

-- name: key
-- The first of a line of rotated keys stands for all of them: rotation gives nobody a fresh budget.
SELECT gateway_first_key(id)::text AS subject, team_id FROM api_keys WHERE id = $1 AND revoked_at IS NULL;

-- name: first_key
SELECT gateway_first_key($1)::text;
