-- kind: expand
-- Virtual keys, the fingerprints of the secrets they were made under, and the announcement of changes.

-- Not the secret: a one-way fingerprint (HKDF) by which a gateway started with the wrong one notices.
CREATE TABLE gateway_secret (
    fingerprint BYTEA PRIMARY KEY,
    first_used_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

CREATE TABLE api_keys (
    id UUID PRIMARY KEY DEFAULT uuidv7(),
    name TEXT NOT NULL CHECK (char_length(name) BETWEEN 1 AND 200),
    -- HMAC-SHA256 of the token under a sub-key of the secret with that fingerprint.
    key_hash BYTEA NOT NULL UNIQUE CHECK (octet_length(key_hash) = 32),
    secret_fingerprint BYTEA NOT NULL REFERENCES gateway_secret (fingerprint),
    -- The token's first and last characters, for people to tell keys apart.
    key_hint TEXT NOT NULL,
    team_id UUID REFERENCES teams (id),
    user_id UUID REFERENCES users (id),
    models TEXT[],      -- NULL: all declared models
    endpoints TEXT[],   -- NULL: the default set
    disabled BOOLEAN NOT NULL DEFAULT false,
    expires_at TIMESTAMPTZ,
    -- Rows are never deleted: the ledger refers to them.
    revoked_at TIMESTAMPTZ,
    -- The key that this one took the place of; a key has one successor at most.
    rotated_from UUID UNIQUE REFERENCES api_keys (id),
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

CREATE INDEX api_keys_team_id ON api_keys (team_id);
CREATE INDEX api_keys_user_id ON api_keys (user_id);

-- Announces a statement's rows on gateway_changes as `table:id`, or many of them as `table:reload`.
-- Its triggers name the transition table `changed`; on UPDATE that is the rows as they were.
CREATE FUNCTION gateway_announce_changes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT count(*) FROM (SELECT FROM changed LIMIT 1001) AS some_rows) > 1000 THEN
        PERFORM pg_notify('gateway_changes', TG_TABLE_NAME || ':reload');
    ELSE
        PERFORM pg_notify('gateway_changes', TG_TABLE_NAME || ':' || id) FROM changed;
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION gateway_announce_reload() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('gateway_changes', TG_TABLE_NAME || ':reload');
    RETURN NULL;
END
$$;

CREATE TRIGGER api_keys_announce_insert AFTER INSERT ON api_keys
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION gateway_announce_changes();
CREATE TRIGGER api_keys_announce_update AFTER UPDATE ON api_keys
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION gateway_announce_changes();
CREATE TRIGGER api_keys_announce_delete AFTER DELETE ON api_keys
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION gateway_announce_changes();
CREATE TRIGGER api_keys_announce_truncate AFTER TRUNCATE ON api_keys
    FOR EACH STATEMENT EXECUTE FUNCTION gateway_announce_reload();

-- A key in a snapshot carries its team's name.
CREATE TRIGGER teams_announce_update AFTER UPDATE ON teams
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION gateway_announce_changes();
