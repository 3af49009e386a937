-- name: lock
-- One change of the catalogue at a time, over all workers: names must stay unique across what is declared and made.
SELECT pg_advisory_xact_lock(hashtextextended('gateway catalogue', 0));

-- name: providers
SELECT id, provider_name, provider_type, api_endpoint, configuration, secrets, enabled, managed_by, created_at, updated_at
FROM llm_providers
WHERE managed_by IS NOT NULL AND deleted_at IS NULL AND ($1::text IS NULL OR managed_by = $1)
ORDER BY provider_name;

-- name: provider
SELECT id, provider_name, provider_type, api_endpoint, configuration, secrets, enabled, managed_by, created_at, updated_at
FROM llm_providers
WHERE id = $1 AND managed_by IS NOT NULL AND deleted_at IS NULL;

-- name: provider_named
-- Any row: a deleted one's name and id are used again, and so are another service's.
SELECT id, managed_by IS NOT NULL AND deleted_at IS NULL AS in_use FROM llm_providers WHERE provider_name = $1;

-- name: provider_ids
SELECT provider_name AS name, id::text FROM llm_providers
WHERE managed_by IS NOT NULL AND deleted_at IS NULL AND enabled;

-- name: declare_provider
INSERT INTO llm_providers AS p (provider_name, provider_type, api_endpoint, authentication_type, supported_models,
                                configuration, managed_by)
VALUES ($1, $2, $3, $4, $5, $6, 'config')
ON CONFLICT (provider_name) DO UPDATE
SET provider_type = excluded.provider_type, api_endpoint = excluded.api_endpoint,
    authentication_type = excluded.authentication_type, supported_models = excluded.supported_models,
    configuration = excluded.configuration, secrets = NULL, enabled = true, managed_by = 'config', deleted_at = NULL,
    updated_at = now()
WHERE (p.provider_type, p.api_endpoint, p.authentication_type, p.supported_models, p.configuration, p.secrets,
       p.enabled, p.managed_by, p.deleted_at)
    IS DISTINCT FROM (excluded.provider_type, excluded.api_endpoint, excluded.authentication_type,
       excluded.supported_models, excluded.configuration, NULL, true, 'config', NULL);

-- name: drop_undeclared_providers
UPDATE llm_providers SET deleted_at = now(), updated_at = now(), enabled = false
WHERE managed_by = 'config' AND deleted_at IS NULL AND provider_name <> ALL ($1::text[]);

-- name: insert_provider
INSERT INTO llm_providers (id, provider_name, provider_type, api_endpoint, authentication_type, configuration, secrets,
                           enabled, managed_by)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'admin')
ON CONFLICT (id) DO UPDATE
SET provider_type = excluded.provider_type, api_endpoint = excluded.api_endpoint,
    authentication_type = excluded.authentication_type, supported_models = NULL,
    configuration = excluded.configuration, secrets = excluded.secrets, enabled = excluded.enabled,
    managed_by = 'admin', deleted_at = NULL, created_at = now(), updated_at = now();

-- name: update_provider
UPDATE llm_providers SET api_endpoint = $2, configuration = $3, secrets = $4, enabled = $5, updated_at = now()
WHERE id = $1;

-- name: reseal_provider
UPDATE llm_providers SET secrets = $3 WHERE id = $1 AND secrets = $2;

-- name: delete_provider
UPDATE llm_providers SET deleted_at = now(), updated_at = now(), enabled = false, secrets = NULL WHERE id = $1;

-- name: models
SELECT id, model_name, configuration, enabled, managed_by, created_at, updated_at
FROM llm_models
WHERE managed_by IS NOT NULL AND deleted_at IS NULL AND ($1::text IS NULL OR managed_by = $1)
ORDER BY model_name;

-- name: model
SELECT id, model_name, configuration, enabled, managed_by, created_at, updated_at
FROM llm_models
WHERE id = $1 AND managed_by IS NOT NULL AND deleted_at IS NULL;

-- name: model_named
SELECT id, deleted_at IS NULL AS in_use FROM llm_models WHERE model_name = $1 AND managed_by IS NOT NULL;

-- name: model_ids
SELECT model_name AS name, id::text FROM llm_models
WHERE managed_by IS NOT NULL AND deleted_at IS NULL AND enabled;

-- name: declare_model
INSERT INTO llm_models AS m (provider_id, model_name, input_cost_per_token, output_cost_per_token, configuration,
                             managed_by)
VALUES ((SELECT id FROM llm_providers WHERE provider_name = $1), $2, $3, $4, $5, 'config')
ON CONFLICT (model_name) WHERE managed_by IS NOT NULL DO UPDATE
SET provider_id = excluded.provider_id, input_cost_per_token = excluded.input_cost_per_token,
    output_cost_per_token = excluded.output_cost_per_token, configuration = excluded.configuration, enabled = true,
    managed_by = 'config', deleted_at = NULL, updated_at = now()
WHERE (m.provider_id, m.input_cost_per_token, m.output_cost_per_token, m.configuration, m.enabled, m.managed_by,
       m.deleted_at)
    IS DISTINCT FROM (excluded.provider_id, excluded.input_cost_per_token, excluded.output_cost_per_token,
       excluded.configuration, true, 'config', NULL);

-- name: drop_undeclared_models
UPDATE llm_models SET deleted_at = now(), updated_at = now(), enabled = false
WHERE managed_by = 'config' AND deleted_at IS NULL AND model_name <> ALL ($1::text[]);

-- name: insert_model
INSERT INTO llm_models (id, provider_id, model_name, input_cost_per_token, output_cost_per_token, configuration,
                        enabled, managed_by)
VALUES ($1, (SELECT id FROM llm_providers WHERE provider_name = $2), $3, $4, $5, $6, $7, 'admin')
ON CONFLICT (id) DO UPDATE
SET provider_id = excluded.provider_id, input_cost_per_token = excluded.input_cost_per_token,
    output_cost_per_token = excluded.output_cost_per_token, configuration = excluded.configuration,
    enabled = excluded.enabled, managed_by = 'admin', deleted_at = NULL, created_at = now(), updated_at = now();

-- name: update_model
UPDATE llm_models
SET provider_id = (SELECT id FROM llm_providers WHERE provider_name = $2), input_cost_per_token = $3,
    output_cost_per_token = $4, configuration = $5, enabled = $6, updated_at = now()
WHERE id = $1;

-- name: delete_model
UPDATE llm_models SET deleted_at = now(), updated_at = now(), enabled = false WHERE id = $1;
