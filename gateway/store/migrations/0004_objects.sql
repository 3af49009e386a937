-- kind: expand
-- Who made the files, batches, fine-tuning jobs, uploads and stored responses that lie at the providers.

-- A rotated key goes on seeing what the keys before it made: the first of its line stands for all of them.
CREATE FUNCTION gateway_first_key(key UUID) RETURNS UUID LANGUAGE sql STABLE AS $$
    WITH RECURSIVE line AS (
        SELECT k.id, k.rotated_from FROM public.api_keys AS k WHERE k.id = key
        UNION ALL
        SELECT k.id, k.rotated_from FROM public.api_keys AS k JOIN line ON k.id = line.rotated_from
    )
    SELECT id FROM line WHERE rotated_from IS NULL
$$;

CREATE TABLE gateway_objects (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind TEXT NOT NULL,         -- file, batch, fine_tuning_job, upload, response, response_item
    object_id TEXT NOT NULL,    -- the provider's own id
    provider TEXT NOT NULL,     -- the provider's name in the configuration
    -- Both NULL: made with the master key, and seen by it alone. A key with a team shares with that team.
    team_id UUID REFERENCES teams (id),
    key_id UUID REFERENCES api_keys (id), -- gateway_first_key of the one that made it
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    UNIQUE (provider, kind, object_id)
);

CREATE INDEX gateway_objects_object ON gateway_objects (kind, object_id);
CREATE INDEX gateway_objects_team ON gateway_objects (team_id, kind, id) WHERE team_id IS NOT NULL;
CREATE INDEX gateway_objects_key ON gateway_objects (key_id, kind, id) WHERE team_id IS NULL;
