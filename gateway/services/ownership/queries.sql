-- What an owner sees: $1 everything (the master key), else $2 its team, else $3 its own line of keys.

-- name: find
SELECT kind, object_id, provider, team_id, key_id
FROM gateway_objects
WHERE (kind, object_id) IN (SELECT * FROM unnest($4::text[], $5::text[]))
  AND ($1::boolean OR team_id = $2::uuid
       OR ($2::uuid IS NULL AND team_id IS NULL AND key_id = gateway_first_key($3::uuid)))
ORDER BY id;

-- name: others
-- Which of these are known to belong to somebody else?
SELECT kind, object_id
FROM gateway_objects
WHERE (kind, object_id) IN (SELECT * FROM unnest($4::text[], $5::text[]))
GROUP BY kind, object_id
HAVING NOT bool_or($1::boolean OR team_id IS NOT DISTINCT FROM $2::uuid
                   AND ($2::uuid IS NOT NULL OR key_id IS NOT DISTINCT FROM gateway_first_key($3::uuid)));

-- name: record
INSERT INTO gateway_objects (kind, object_id, provider, team_id, key_id)
SELECT kind, object_id, $3, $4::uuid, gateway_first_key($5::uuid)
FROM unnest($1::text[], $2::text[]) AS made (kind, object_id)
ON CONFLICT (provider, kind, object_id) DO NOTHING;

-- name: forget
DELETE FROM gateway_objects WHERE provider = $1 AND kind = $2 AND object_id = $3;

-- name: position
SELECT id FROM gateway_objects
WHERE kind = $4 AND object_id = $5
  AND ($1::boolean OR team_id = $2::uuid
       OR ($2::uuid IS NULL AND team_id IS NULL AND key_id = gateway_first_key($3::uuid)))
ORDER BY id LIMIT 1;

-- name: page_down
SELECT id, kind, object_id, provider, team_id, key_id
FROM gateway_objects
WHERE kind = $4 AND ($5::bigint IS NULL OR id < $5)
  AND ($1::boolean OR team_id = $2::uuid
       OR ($2::uuid IS NULL AND team_id IS NULL AND key_id = gateway_first_key($3::uuid)))
ORDER BY id DESC LIMIT $6;

-- name: page_up
SELECT id, kind, object_id, provider, team_id, key_id
FROM gateway_objects
WHERE kind = $4 AND ($5::bigint IS NULL OR id > $5)
  AND ($1::boolean OR team_id = $2::uuid
       OR ($2::uuid IS NULL AND team_id IS NULL AND key_id = gateway_first_key($3::uuid)))
ORDER BY id LIMIT $6;
