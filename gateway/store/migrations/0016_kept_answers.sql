-- kind: expand
-- Whose kept answers are they? So that one API key cannot fill the database with them.

ALTER TABLE gateway_idempotent_requests
    ADD COLUMN holder TEXT; -- the API key's id, empty for the master key; null: kept by an older version

CREATE INDEX gateway_idempotent_requests_holder ON gateway_idempotent_requests (holder, created_at)
    WHERE state = 'kept';
