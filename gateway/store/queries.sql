-- Statements of the store package itself.

-- name: beat
SELECT pg_notify($1, '')

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
SELECT id, version FROM gateway_workers WHERE last_seen > now() - interval '60 seconds' ORDER BY started_at
