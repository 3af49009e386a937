-- kind: expand
-- Who pays, what limits and budgets hold for them, and who changed what.

CREATE TABLE organisations (
    id UUID PRIMARY KEY DEFAULT uuidv7(),
    name TEXT UNIQUE NOT NULL CHECK (char_length(name) BETWEEN 1 AND 200),
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    -- The keys of what is disabled or deleted are refused.
    disabled BOOLEAN NOT NULL DEFAULT false,
    -- The ledger refers to it, so it is marked and never deleted.
    deleted_at TIMESTAMPTZ
);

ALTER TABLE teams
    ADD COLUMN organisation_id UUID REFERENCES organisations (id),
    -- Its share of a queue before a provider's limit, against the other teams' weights.
    ADD COLUMN weight DOUBLE PRECISION NOT NULL DEFAULT 1 CHECK (weight > 0 AND weight <= 1000),
    ADD COLUMN disabled BOOLEAN NOT NULL DEFAULT false,
    ADD COLUMN updated_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    ADD COLUMN deleted_at TIMESTAMPTZ;

CREATE INDEX teams_organisation_id ON teams (organisation_id);

-- users is KubeChat's: what the gateway has to say of a user stands beside it.
CREATE TABLE team_members (
    team_id UUID NOT NULL REFERENCES teams (id),
    user_id UUID NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (team_id, user_id)
);

CREATE INDEX team_members_user_id ON team_members (user_id);

CREATE TABLE user_standing (
    user_id UUID PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    disabled BOOLEAN NOT NULL DEFAULT false,
    deleted_at TIMESTAMPTZ,
    updated_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- What an admin key may do: owner everything, admin what belongs to the key's team, viewer read what an owner reads.
ALTER TABLE api_keys
    ADD COLUMN admin_role TEXT CHECK (admin_role IN ('owner', 'admin', 'viewer')),
    ADD CONSTRAINT api_keys_team_admin CHECK (admin_role IS DISTINCT FROM 'admin' OR team_id IS NOT NULL);

-- Limits of requests, tokens and requests at once. `subject` is an id, or a name for models, providers and targets
-- (`provider/model`), empty for the global scope; `model` narrows a team or a key to one model.
CREATE TABLE quota_limits (
    id UUID PRIMARY KEY DEFAULT uuidv7(),
    scope TEXT NOT NULL CHECK (scope IN
        ('global', 'organisation', 'team', 'user', 'key', 'model', 'provider', 'target')),
    subject TEXT NOT NULL DEFAULT '',
    model TEXT,
    requests_per_minute BIGINT CHECK (requests_per_minute >= 0),
    requests_per_hour BIGINT CHECK (requests_per_hour >= 0),
    requests_per_day BIGINT CHECK (requests_per_day >= 0),
    tokens_per_minute BIGINT CHECK (tokens_per_minute >= 0),
    tokens_per_hour BIGINT CHECK (tokens_per_hour >= 0),
    tokens_per_day BIGINT CHECK (tokens_per_day >= 0),
    max_concurrency BIGINT CHECK (max_concurrency >= 0),
    on_store_failure TEXT NOT NULL DEFAULT 'local' CHECK (on_store_failure IN ('deny', 'allow', 'local')),
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    deleted_at TIMESTAMPTZ,
    CHECK ((scope = 'global') = (subject = '')),
    CHECK (model IS NULL OR scope IN ('team', 'key'))
);

CREATE UNIQUE INDEX quota_limits_one_a_scope ON quota_limits (scope, subject, coalesce(model, ''))
    WHERE deleted_at IS NULL;

-- cost_budgets: `budget_scope` is a scope as above or end_user (subject: the key's id; each of its users has one),
-- `scope_identifier` the subject. monthly_limit and current_usage follow limit_nano_usd and the current period, for
-- those who read the product's columns.
ALTER TABLE cost_budgets
    ADD COLUMN model TEXT,
    ADD COLUMN limit_nano_usd BIGINT CHECK (limit_nano_usd BETWEEN 0 AND 9007199254740991), -- exact in Lua's doubles
    ADD COLUMN period TEXT NOT NULL DEFAULT 'month' CHECK (period IN ('day', 'week', 'month', 'total')),
    ADD COLUMN time_zone TEXT NOT NULL DEFAULT 'UTC',
    ADD COLUMN hard BOOLEAN NOT NULL DEFAULT true,
    -- What becomes of a request whose worst case does not fit: its output is cut short, or it is refused.
    ADD COLUMN on_too_dear TEXT NOT NULL DEFAULT 'clamp' CHECK (on_too_dear IN ('clamp', 'refuse')),
    -- What a request may cost whose worst case cannot be computed; null: such a request is refused.
    ADD COLUMN unbounded_nano_usd BIGINT CHECK (unbounded_nano_usd BETWEEN 0 AND 9007199254740991),
    ADD COLUMN max_end_users INTEGER CHECK (max_end_users > 0),
    ADD COLUMN on_store_failure TEXT NOT NULL DEFAULT 'local' CHECK (on_store_failure IN ('deny', 'allow', 'local')),
    ADD COLUMN updated_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    ADD COLUMN deleted_at TIMESTAMPTZ,
    ADD CONSTRAINT cost_budgets_reset_day CHECK (reset_day BETWEEN 1 AND 31);

CREATE INDEX cost_budgets_scope ON cost_budgets (budget_scope, scope_identifier) WHERE deleted_at IS NULL;

-- One period of one budget; of an end_user budget, of one of its users. The ledger adds to settled_nano_usd in the
-- transaction that adds its rows, so it only grows; `ends_at` is null for a total.
CREATE TABLE budget_periods (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    budget_id UUID NOT NULL REFERENCES cost_budgets (id),
    end_user TEXT NOT NULL DEFAULT '',
    starts_at TIMESTAMPTZ NOT NULL,
    ends_at TIMESTAMPTZ,
    settled_nano_usd BIGINT NOT NULL DEFAULT 0,
    -- Leases of workers whose journal is gone for good count as spent.
    lost_nano_usd BIGINT NOT NULL DEFAULT 0,
    topped_up_nano_usd BIGINT NOT NULL DEFAULT 0,
    -- The counter store's epoch in which it was last counted there; null: never.
    opened_epoch TEXT,
    UNIQUE (budget_id, end_user, starts_at)
);

CREATE INDEX budget_periods_ends_at ON budget_periods (budget_id, ends_at);

-- An alert is told of once: whoever inserts it tells.
CREATE TABLE budget_alerts (
    id UUID PRIMARY KEY DEFAULT uuidv7(),
    budget_id UUID NOT NULL REFERENCES cost_budgets (id),
    period_id BIGINT NOT NULL REFERENCES budget_periods (id),
    kind TEXT NOT NULL CHECK (kind IN ('threshold', 'burn_rate', 'exceeded')),
    threshold_percent INTEGER NOT NULL DEFAULT 0,
    spent_nano_usd BIGINT NOT NULL,
    limit_nano_usd BIGINT NOT NULL,
    raised_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    UNIQUE (period_id, kind, threshold_percent)
);

CREATE INDEX budget_alerts_budget_id ON budget_alerts (budget_id, id);

-- What each webhook is to hear; made with the alert. A claim moves next_attempt_at, so whoever dies leaves it to others.
CREATE TABLE budget_alert_deliveries (
    alert_id UUID NOT NULL REFERENCES budget_alerts (id),
    webhook TEXT NOT NULL, -- its host and a digest of its URL, which may be a secret
    attempts INTEGER NOT NULL DEFAULT 0,
    next_attempt_at TIMESTAMPTZ DEFAULT now(), -- null: there will be none
    delivered_at TIMESTAMPTZ,
    last_error TEXT,
    PRIMARY KEY (alert_id, webhook)
);

CREATE INDEX budget_alert_deliveries_due ON budget_alert_deliveries (next_attempt_at) WHERE next_attempt_at IS NOT NULL;

CREATE TABLE audit_log (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at TIMESTAMPTZ NOT NULL DEFAULT now(),
    actor TEXT NOT NULL, -- master, config, or the id of the admin key
    actor_role TEXT NOT NULL,
    client_ip TEXT,
    action TEXT NOT NULL, -- created, changed, deleted, …
    object_type TEXT NOT NULL, -- key, team, budget, …
    object_id TEXT NOT NULL,
    team_id UUID, -- whose it was: what a team's admin may read
    before JSONB,
    after JSONB
);

CREATE INDEX audit_log_object ON audit_log (object_type, object_id, id);
CREATE INDEX audit_log_team_id ON audit_log (team_id, id);

CREATE FUNCTION audit_log_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit_log is append-only' USING ERRCODE = 'insufficient_privilege';
END
$$;

CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION audit_log_is_append_only();

-- A worker that stopped cleanly, or whose journal was copied by another, holds nothing any more.
-- One that has only started has not leased anything yet: null in holds_since.
ALTER TABLE gateway_workers ADD COLUMN settled_at TIMESTAMPTZ, ADD COLUMN holds_since TIMESTAMPTZ;

CREATE TRIGGER organisations_announce_update AFTER UPDATE ON organisations
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION gateway_announce_changes();
CREATE TRIGGER quota_limits_announce_insert AFTER INSERT ON quota_limits
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION gateway_announce_changes();
CREATE TRIGGER quota_limits_announce_update AFTER UPDATE ON quota_limits
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION gateway_announce_changes();
CREATE TRIGGER cost_budgets_announce_insert AFTER INSERT ON cost_budgets
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION gateway_announce_changes();

-- What the ledger keeps up by itself (current_usage, settled_nano_usd) is not announced.
CREATE FUNCTION gateway_announce_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('gateway_changes', TG_ARGV[0] || ':' || (to_jsonb(NEW) ->> TG_ARGV[1]));
    RETURN NULL;
END
$$;

CREATE TRIGGER cost_budgets_announce_update AFTER UPDATE ON cost_budgets FOR EACH ROW
    WHEN (to_jsonb(OLD) - 'current_usage' IS DISTINCT FROM to_jsonb(NEW) - 'current_usage')
    EXECUTE FUNCTION gateway_announce_row('cost_budgets', 'id');
-- An end user's is read when it is needed.
CREATE TRIGGER budget_periods_announce_insert AFTER INSERT ON budget_periods FOR EACH ROW
    WHEN (NEW.end_user = '')
    EXECUTE FUNCTION gateway_announce_row('cost_budgets', 'budget_id');
CREATE TRIGGER budget_periods_announce_update AFTER UPDATE ON budget_periods FOR EACH ROW
    WHEN (OLD.topped_up_nano_usd IS DISTINCT FROM NEW.topped_up_nano_usd
        OR OLD.lost_nano_usd IS DISTINCT FROM NEW.lost_nano_usd OR OLD.ends_at IS DISTINCT FROM NEW.ends_at)
    EXECUTE FUNCTION gateway_announce_row('cost_budgets', 'budget_id');
CREATE TRIGGER user_standing_announce AFTER INSERT OR UPDATE ON user_standing FOR EACH ROW
    EXECUTE FUNCTION gateway_announce_row('users', 'user_id');
