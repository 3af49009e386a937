-- name: page
SELECT id, at, actor, actor_role, client_ip, action, object_type, object_id, team_id, before, after
FROM audit_log
WHERE ($1::bigint IS NULL OR id < $1)
  AND ($2::text IS NULL OR object_type = $2)
  AND ($3::text IS NULL OR object_id = $3)
  AND ($4::text IS NULL OR actor = $4 OR ($4 = 'cli' AND starts_with(actor, 'cli:')))
  AND ($5::timestamptz IS NULL OR at >= $5)
  AND ($6::timestamptz IS NULL OR at < $6)
  AND ($7::uuid IS NULL OR team_id = $7)
ORDER BY id DESC
LIMIT $8;
