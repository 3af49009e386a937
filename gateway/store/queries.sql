-- Statements of the store package itself.

-- name: beat
SELECT pg_notify($1, '')

-- name: end_when_idle
SET LOCAL idle_in_transaction_session_timeout = '5s'

-- name: lock_migrations
-- The key is "kubechat" read as a big-endian integer, halved to fit: no other program's lock.
SELECT pg_advisory_lock(3859612498461057594)

-- name: create_schema_migrations
CREATE TABLE IF NOT EXISTS schema_migrations (
    version INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('expand', 'contract')),
    checksum TEXT NOT NULL,
    applied_at TIMESTAMPTZ NOT NULL DEFAULT now()
)

-- name: has_schema_migrations
SELECT to_regclass('schema_migrations') IS NOT NULL

-- name: applied_migrations
SELECT version, name, kind, checksum FROM schema_migrations ORDER BY version

-- name: record_migration
INSERT INTO schema_migrations (version, name, kind, checksum) VALUES ($1, $2, $3, $4)

-- name: has_workers
SELECT to_regclass('gateway_workers') IS NOT NULL

-- name: living_workers
SELECT id, version FROM gateway_workers AS worker
WHERE last_seen > now() - interval '60 seconds' AND to_jsonb(worker) ->> 'settled_at' IS NULL
ORDER BY started_at

-- name: note_change
INSERT INTO audit_log (actor, actor_role, client_ip, action, object_type, object_id, team_id, before, after)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)

-- name: worker_beat
INSERT INTO gateway_workers (id, version) VALUES ($1, $2)
ON CONFLICT (id) DO UPDATE SET last_seen = now(), settled_at = NULL

-- name: worker_holds
UPDATE gateway_workers SET holds_since = now() WHERE id = $1

-- name: worker_settled
UPDATE gateway_workers SET settled_at = now() WHERE id = $1

-- name: other_workers
SELECT EXISTS (
    SELECT FROM gateway_workers
    WHERE id <> $1 AND settled_at IS NULL AND holds_since IS NOT NULL
      AND last_seen > now() - make_interval(secs => $2)
)

-- name: holding_workers
SELECT id FROM gateway_workers WHERE id <> $1 AND settled_at IS NULL AND holds_since IS NOT NULL ORDER BY id

-- name: forget_workers
DELETE FROM gateway_workers WHERE settled_at < now() - interval '1 day'
