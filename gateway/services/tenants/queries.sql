-- name: organisations
SELECT id, name, disabled, created_at, updated_at, deleted_at
FROM organisations
WHERE ($1::uuid IS NULL OR id < $1)
  AND ($2::text IS NULL OR name = $2)
  AND ($3::boolean OR deleted_at IS NULL)
ORDER BY id DESC
LIMIT $4;

-- name: organisation
SELECT id, name, disabled, created_at, updated_at, deleted_at FROM organisations WHERE id = $1;

-- name: lock_organisation
SELECT id FROM organisations WHERE id = $1 FOR UPDATE;

-- name: share_organisation
-- A team joins only one that is there, and it stays there until the team has joined.
SELECT id FROM organisations WHERE id = $1 AND deleted_at IS NULL FOR SHARE;

-- name: insert_organisation
INSERT INTO organisations (name) VALUES ($1) RETURNING id;

-- name: update_organisation
-- $2 names the columns to set; the others keep their values. So with teams.
UPDATE organisations
SET name = CASE WHEN 'name' = ANY ($2::text[]) THEN $3 ELSE name END,
    disabled = CASE WHEN 'disabled' = ANY ($2) THEN $4::boolean ELSE disabled END,
    updated_at = now()
WHERE id = $1;

-- name: delete_organisation
UPDATE organisations SET deleted_at = now(), updated_at = now() WHERE id = $1;

-- name: teams
SELECT t.id, t.name, t.organisation_id, o.name AS organisation, t.weight, t.disabled, t.created_at, t.updated_at,
       t.deleted_at
FROM teams AS t LEFT JOIN organisations AS o ON o.id = t.organisation_id
WHERE ($1::uuid IS NULL OR t.id < $1)
  AND ($2::text IS NULL OR t.name = $2)
  AND ($3::uuid IS NULL OR t.organisation_id = $3)
  AND ($4::boolean OR t.deleted_at IS NULL)
  AND ($5::uuid IS NULL OR t.id = $5)
ORDER BY t.id DESC
LIMIT $6;

-- name: team
SELECT t.id, t.name, t.organisation_id, o.name AS organisation, t.weight, t.disabled, t.created_at, t.updated_at,
       t.deleted_at
FROM teams AS t LEFT JOIN organisations AS o ON o.id = t.organisation_id
WHERE t.id = $1;

-- name: lock_team
SELECT id FROM teams WHERE id = $1 FOR UPDATE;

-- name: insert_team
INSERT INTO teams (name, organisation_id, weight) VALUES ($1, $2, $3) RETURNING id;

-- name: update_team
UPDATE teams
SET name = CASE WHEN 'name' = ANY ($2::text[]) THEN $3 ELSE name END,
    organisation_id = CASE WHEN 'organisation_id' = ANY ($2) THEN $4::uuid ELSE organisation_id END,
    weight = CASE WHEN 'weight' = ANY ($2) THEN $5::double precision ELSE weight END,
    disabled = CASE WHEN 'disabled' = ANY ($2) THEN $6::boolean ELSE disabled END,
    updated_at = now()
WHERE id = $1;

-- name: delete_team
UPDATE teams SET deleted_at = now(), updated_at = now() WHERE id = $1;

-- name: members
-- users may be KubeChat's own, with other columns: read as JSON, it lacks what is not there. So below.
SELECT m.user_id AS id, m.team_id, to_jsonb(u) ->> 'name' AS name, to_jsonb(u) ->> 'email' AS email, m.created_at
FROM team_members AS m JOIN users AS u ON u.id = m.user_id
WHERE m.team_id = $1 AND ($2::uuid IS NULL OR m.user_id < $2)
ORDER BY m.user_id DESC
LIMIT $3;

-- name: member
SELECT m.user_id AS id, m.team_id, to_jsonb(u) ->> 'name' AS name, to_jsonb(u) ->> 'email' AS email, m.created_at
FROM team_members AS m JOIN users AS u ON u.id = m.user_id
WHERE m.team_id = $1 AND m.user_id = $2;

-- name: insert_member
INSERT INTO team_members (team_id, user_id) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING user_id;

-- name: delete_member
DELETE FROM team_members WHERE team_id = $1 AND user_id = $2;

-- name: users
SELECT u.id, to_jsonb(u) ->> 'name' AS name, to_jsonb(u) ->> 'email' AS email, coalesce(s.disabled, false) AS disabled,
       ARRAY(SELECT m.team_id FROM team_members AS m WHERE m.user_id = u.id ORDER BY m.team_id) AS teams, s.deleted_at
FROM users AS u LEFT JOIN user_standing AS s ON s.user_id = u.id
WHERE ($1::uuid IS NULL OR u.id < $1)
  AND ($2::text IS NULL OR to_jsonb(u) ->> 'name' = $2)
  AND ($3::text IS NULL OR to_jsonb(u) ->> 'email' = $3)
  AND ($4::uuid IS NULL OR EXISTS (SELECT FROM team_members AS m WHERE m.user_id = u.id AND m.team_id = $4))
  AND ($5::boolean OR s.deleted_at IS NULL)
ORDER BY u.id DESC
LIMIT $6;

-- name: user
SELECT u.id, to_jsonb(u) ->> 'name' AS name, to_jsonb(u) ->> 'email' AS email, coalesce(s.disabled, false) AS disabled,
       ARRAY(SELECT m.team_id FROM team_members AS m WHERE m.user_id = u.id ORDER BY m.team_id) AS teams, s.deleted_at
FROM users AS u LEFT JOIN user_standing AS s ON s.user_id = u.id
WHERE u.id = $1;

-- name: lock_user
SELECT id FROM users WHERE id = $1 FOR UPDATE;

-- name: lock_email
-- users may have no unique e-mail address: two that take the same one must take turns.
SELECT pg_advisory_xact_lock(hashtextextended('gateway user ' || $1::text, 0));

-- name: email_taken
SELECT EXISTS (
    SELECT FROM users AS u LEFT JOIN user_standing AS s ON s.user_id = u.id
    WHERE to_jsonb(u) ->> 'email' = $1 AND s.deleted_at IS NULL AND ($2::uuid IS NULL OR u.id <> $2)
);

-- name: insert_user
INSERT INTO users (name, email) VALUES ($1, $2) RETURNING id;

-- name: update_user_name
UPDATE users SET name = $2 WHERE id = $1;

-- name: update_user_email
UPDATE users SET email = $2 WHERE id = $1;

-- name: disable_user
INSERT INTO user_standing (user_id, disabled) VALUES ($1, $2)
ON CONFLICT (user_id) DO UPDATE SET disabled = excluded.disabled, updated_at = now();

-- name: delete_user
INSERT INTO user_standing (user_id, deleted_at) VALUES ($1, now())
ON CONFLICT (user_id) DO UPDATE SET deleted_at = now(), updated_at = now();
