-- kind: expand
-- Requests with an `Idempotency-Key`: who is answering one, and the answer, for whoever sends it again.

CREATE TABLE gateway_idempotent_requests (
    scope BYTEA PRIMARY KEY CHECK (octet_length(scope) = 32), -- SHA-256 of the API key's id, the path and the header
    body_hash BYTEA NOT NULL, -- keyed: nobody can try out with the database alone what a prompt was
    claim_id UUID NOT NULL, -- the request that answers; what another did meanwhile is not undone by it
    -- claimed: nothing has been sent yet; sent: a provider may have been asked; kept; too_large: answered, not kept
    state TEXT NOT NULL DEFAULT 'claimed' CHECK (state IN ('claimed', 'sent', 'kept', 'too_large')),
    -- Put off while whoever answers lives; not later than now once nobody does.
    claimed_until TIMESTAMPTZ NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL,
    answer BYTEA STORAGE EXTERNAL, -- encrypted, for this scope; what is encrypted cannot be compressed
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    CHECK ((state = 'kept') = (answer IS NOT NULL))
);

CREATE INDEX gateway_idempotent_requests_expires ON gateway_idempotent_requests (expires_at);
