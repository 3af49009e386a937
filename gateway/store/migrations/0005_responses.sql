-- kind: expand
-- Responses that the gateway itself keeps for `previous_response_id`: those that it translated for providers
-- without a Responses API.

CREATE TABLE gateway_responses (
    response_id TEXT PRIMARY KEY CHECK (char_length(response_id) BETWEEN 1 AND 256),
    -- Both NULL: made with the master key, and seen by it alone. A key with a team shares with that team.
    team_id UUID REFERENCES teams (id),
    key_id UUID REFERENCES api_keys (id), -- gateway_first_key of the one that made it
    -- Not a reference: the response before may be deleted, and what goes on from it stays.
    previous_id TEXT,
    -- JSON, but not as JSONB, which has no U+0000 and gives numbers back otherwise than they came.
    input BYTEA NOT NULL,       -- the request's own items, without those of earlier responses
    response BYTEA NOT NULL,    -- the response object
    item_ids TEXT[] NOT NULL,   -- of both, for references to single items
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    expires_at TIMESTAMPTZ NOT NULL
);

CREATE INDEX gateway_responses_items ON gateway_responses USING gin (item_ids);
CREATE INDEX gateway_responses_expires ON gateway_responses (expires_at);
