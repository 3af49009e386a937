-- kind: expand
-- Batches that were made through the gateway, and whether what they cost is in the ledger.

CREATE TABLE gateway_batches (
    id UUID PRIMARY KEY DEFAULT uuidv7(), -- the request id of its rows in usage_costs
    provider TEXT NOT NULL,  -- the provider's name in the configuration
    batch_id TEXT NOT NULL,  -- the provider's own id
    -- Who made it; no references, as in the ledger. All NULL: the master key.
    key_id UUID,
    team_id UUID,
    user_id UUID,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    ask_at TIMESTAMPTZ NOT NULL DEFAULT now(), -- when the provider is asked (again)
    claimed_until TIMESTAMPTZ, -- until then a worker is at it
    missing_since TIMESTAMPTZ, -- since then the provider says that it has no such batch
    used JSONB, -- what it used, once that is decided: a list of {model, tier, and token counts}
    ended_at TIMESTAMPTZ, -- when that was decided; the timestamp of its rows in usage_costs
    metered_at TIMESTAMPTZ, -- when the ledger had it
    UNIQUE (provider, batch_id)
);

CREATE INDEX gateway_batches_due ON gateway_batches (ask_at) WHERE metered_at IS NULL;

-- Those that exist already. What only the master key owns may have been made elsewhere and merely been looked at.
INSERT INTO gateway_batches (provider, batch_id, key_id, team_id, user_id, created_at)
SELECT o.provider, o.object_id, o.key_id, o.team_id, k.user_id, o.created_at
FROM gateway_objects AS o LEFT JOIN api_keys AS k ON k.id = o.key_id
WHERE o.kind = 'batch' AND (o.team_id IS NOT NULL OR o.key_id IS NOT NULL);
