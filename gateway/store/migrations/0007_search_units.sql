-- kind: expand
-- Rerank is billed by the search unit, not by the token.

ALTER TABLE usage_costs ADD COLUMN search_units BIGINT NOT NULL DEFAULT 0; -- as the provider counts them
