-- kind: expand
-- Providers and models: what the configuration declares is noted here, what the admin API makes lives here.

-- Whose row it is: the configuration's (rewritten at every start), the admin API's, or (NULL) another service's,
-- which the gateway leaves alone.
ALTER TABLE llm_providers
    ADD COLUMN managed_by TEXT CHECK (managed_by IN ('config', 'admin')),
    -- The provider's keys and other secrets: JSON under AES-GCM, with the table and the id as associated data.
    ADD COLUMN secrets BYTEA;

ALTER TABLE llm_models
    ADD COLUMN managed_by TEXT CHECK (managed_by IN ('config', 'admin')),
    ADD COLUMN configuration JSONB, -- targets, aliases, prices, fallbacks; provider_id is the first target's
    ADD COLUMN updated_at TIMESTAMPTZ DEFAULT now();

-- A name that clients ask for is one row, deleted or not: made again, it is the same model.
CREATE UNIQUE INDEX llm_models_managed_name ON llm_models (model_name) WHERE managed_by IS NOT NULL;

CREATE TRIGGER llm_providers_announce_insert AFTER INSERT ON llm_providers
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION gateway_announce_changes();
CREATE TRIGGER llm_providers_announce_update AFTER UPDATE ON llm_providers
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION gateway_announce_changes();
CREATE TRIGGER llm_providers_announce_delete AFTER DELETE ON llm_providers
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION gateway_announce_changes();
CREATE TRIGGER llm_providers_announce_truncate AFTER TRUNCATE ON llm_providers
    FOR EACH STATEMENT EXECUTE FUNCTION gateway_announce_reload();

CREATE TRIGGER llm_models_announce_insert AFTER INSERT ON llm_models
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION gateway_announce_changes();
CREATE TRIGGER llm_models_announce_update AFTER UPDATE ON llm_models
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION gateway_announce_changes();
CREATE TRIGGER llm_models_announce_delete AFTER DELETE ON llm_models
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION gateway_announce_changes();
CREATE TRIGGER llm_models_announce_truncate AFTER TRUNCATE ON llm_models
    FOR EACH STATEMENT EXECUTE FUNCTION gateway_announce_reload();
