-- kind: expand
-- The schema that KubeChat's services rely on (names are a promise), and what the gateway needs beside it.
-- usage_costs, the ledger's table, has a migration of its own: it is partitioned by month.
--
-- Widened against the product's first draft, everywhere for the same reasons:
--   prices per token  NUMERIC(20,15)  the draft's 8 decimals lose $0.000000075, half of today's price list
--   costs             NUMERIC(18,9)   money is counted in nano-dollars; 6 decimals would round each call
--   times             TIMESTAMPTZ     a time without a zone means something else on every server

CREATE EXTENSION IF NOT EXISTS vector;

-- Shared with KubeChat, which may have made it already, in its own shape: then it is left as it is.
CREATE TABLE IF NOT EXISTS users (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    email VARCHAR(320),
    name VARCHAR(255),
    created_at TIMESTAMPTZ DEFAULT now()
);

CREATE TABLE teams (
    id UUID PRIMARY KEY DEFAULT uuidv7(),
    name TEXT UNIQUE NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

CREATE TABLE llm_providers (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    provider_name VARCHAR(100) UNIQUE NOT NULL,
    provider_type VARCHAR(50) NOT NULL,
    api_endpoint TEXT,
    authentication_type VARCHAR(50),
    max_tokens INTEGER,
    rate_limits JSONB,
    supported_models JSONB,
    configuration JSONB,
    enabled BOOLEAN DEFAULT true,
    created_at TIMESTAMPTZ DEFAULT now(),
    updated_at TIMESTAMPTZ DEFAULT now(),
    -- The ledger refers to providers, so they are marked and never deleted.
    deleted_at TIMESTAMPTZ
);

CREATE TABLE llm_models (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    provider_id UUID REFERENCES llm_providers (id),
    model_name VARCHAR(255) NOT NULL,
    model_version VARCHAR(50),
    model_type VARCHAR(100),
    context_length INTEGER,
    input_cost_per_token NUMERIC(20, 15), -- USD
    output_cost_per_token NUMERIC(20, 15), -- USD
    performance_metrics JSONB,
    specializations JSONB,
    enabled BOOLEAN DEFAULT true,
    created_at TIMESTAMPTZ DEFAULT now(),
    -- The ledger refers to models, so they are marked and never deleted.
    deleted_at TIMESTAMPTZ
);

CREATE INDEX llm_models_provider_id_idx ON llm_models (provider_id);

CREATE TABLE routing_rules (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    rule_name VARCHAR(255) NOT NULL,
    priority INTEGER DEFAULT 100,
    query_patterns JSONB,
    model_preferences JSONB,
    cost_constraints JSONB,
    performance_requirements JSONB,
    enabled BOOLEAN DEFAULT true,
    created_by UUID REFERENCES users (id),
    created_at TIMESTAMPTZ DEFAULT now()
);

CREATE TABLE model_performance_history (
    id BIGSERIAL PRIMARY KEY,
    model_id UUID REFERENCES llm_models (id),
    query_type VARCHAR(100),
    response_quality_score NUMERIC(3, 2),
    response_time_ms INTEGER,
    cost_per_query NUMERIC(18, 9), -- USD
    user_satisfaction NUMERIC(3, 2),
    timestamp TIMESTAMPTZ DEFAULT now(),
    session_id UUID
);

CREATE INDEX model_performance_history_model_id_timestamp_idx ON model_performance_history (model_id, timestamp);

CREATE TABLE ai_agents (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    agent_name VARCHAR(255) UNIQUE NOT NULL,
    agent_domain VARCHAR(100) NOT NULL,
    description TEXT,
    specialized_prompt TEXT NOT NULL,
    knowledge_base JSONB,
    preferred_models JSONB,
    performance_metrics JSONB,
    enabled BOOLEAN DEFAULT true,
    created_at TIMESTAMPTZ DEFAULT now(),
    updated_at TIMESTAMPTZ DEFAULT now(),
    -- The ledger refers to agents, so they are marked and never deleted.
    deleted_at TIMESTAMPTZ
);

CREATE TABLE agent_interactions (
    id BIGSERIAL PRIMARY KEY,
    agent_id UUID REFERENCES ai_agents (id),
    user_id UUID REFERENCES users (id),
    session_id UUID,
    query TEXT NOT NULL,
    response TEXT,
    confidence_score NUMERIC(3, 2),
    handoff_to_agent UUID REFERENCES ai_agents (id),
    user_feedback INTEGER CHECK (user_feedback BETWEEN 1 AND 5),
    timestamp TIMESTAMPTZ DEFAULT now()
);

CREATE INDEX agent_interactions_session_id_idx ON agent_interactions (session_id);

CREATE TABLE conversation_contexts (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id UUID REFERENCES users (id),
    session_id UUID,
    context_type VARCHAR(50),
    context_summary TEXT,
    context_embeddings VECTOR(1536),
    relevance_score NUMERIC(3, 2),
    created_at TIMESTAMPTZ DEFAULT now(),
    last_accessed TIMESTAMPTZ DEFAULT now(),
    expires_at TIMESTAMPTZ
);

CREATE INDEX conversation_contexts_user_id_idx ON conversation_contexts (user_id);
CREATE INDEX conversation_contexts_session_id_idx ON conversation_contexts (session_id);
CREATE INDEX conversation_contexts_expires_at_idx ON conversation_contexts (expires_at);

CREATE TABLE context_relationships (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    parent_context_id UUID REFERENCES conversation_contexts (id),
    child_context_id UUID REFERENCES conversation_contexts (id),
    relationship_type VARCHAR(50),
    relationship_strength NUMERIC(3, 2),
    created_at TIMESTAMPTZ DEFAULT now()
);

CREATE INDEX context_relationships_parent_context_id_idx ON context_relationships (parent_context_id);
CREATE INDEX context_relationships_child_context_id_idx ON context_relationships (child_context_id);

CREATE TABLE cost_budgets (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    budget_name VARCHAR(255) NOT NULL,
    budget_scope VARCHAR(50), -- user, team, global
    scope_identifier VARCHAR(255),
    monthly_limit NUMERIC(18, 9), -- USD
    current_usage NUMERIC(18, 9) DEFAULT 0, -- USD
    alert_thresholds JSONB,
    reset_day INTEGER DEFAULT 1,
    created_at TIMESTAMPTZ DEFAULT now()
);

CREATE TABLE benchmark_suites (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    suite_name VARCHAR(255) NOT NULL,
    description TEXT,
    test_queries JSONB NOT NULL,
    evaluation_criteria JSONB,
    target_domains JSONB,
    created_at TIMESTAMPTZ DEFAULT now(),
    updated_at TIMESTAMPTZ DEFAULT now()
);

CREATE TABLE benchmark_results (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    suite_id UUID REFERENCES benchmark_suites (id),
    model_id UUID REFERENCES llm_models (id),
    test_run_timestamp TIMESTAMPTZ DEFAULT now(),
    accuracy_score NUMERIC(5, 4),
    response_time_avg_ms INTEGER,
    cost_per_test NUMERIC(18, 9), -- USD
    quality_metrics JSONB,
    detailed_results JSONB
);

CREATE INDEX benchmark_results_suite_id_idx ON benchmark_results (suite_id, test_run_timestamp);

CREATE TABLE advanced_ai_features (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    feature_name VARCHAR(255) NOT NULL,
    feature_type VARCHAR(100),
    description TEXT,
    supported_models JSONB,
    configuration JSONB,
    usage_metrics JSONB,
    enabled BOOLEAN DEFAULT true,
    created_at TIMESTAMPTZ DEFAULT now()
);

CREATE TABLE multimodal_interactions (
    id BIGSERIAL PRIMARY KEY,
    user_id UUID REFERENCES users (id),
    session_id UUID,
    input_type VARCHAR(50),
    input_content TEXT,
    input_media_url TEXT,
    output_type VARCHAR(50),
    output_content TEXT,
    output_media_url TEXT,
    processing_time_ms INTEGER,
    timestamp TIMESTAMPTZ DEFAULT now()
);

CREATE TABLE ai_plugins (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    plugin_name VARCHAR(255) UNIQUE NOT NULL,
    plugin_version VARCHAR(50),
    developer_id UUID REFERENCES users (id),
    description TEXT,
    category VARCHAR(100),
    installation_count INTEGER DEFAULT 0,
    rating NUMERIC(3, 2),
    price NUMERIC(18, 9) DEFAULT 0, -- USD
    enabled BOOLEAN DEFAULT true,
    verified BOOLEAN DEFAULT false,
    created_at TIMESTAMPTZ DEFAULT now()
);

CREATE TABLE plugin_installations (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    plugin_id UUID REFERENCES ai_plugins (id),
    user_id UUID REFERENCES users (id),
    installed_at TIMESTAMPTZ DEFAULT now(),
    active BOOLEAN DEFAULT true,
    configuration JSONB
);

-- Who runs on this database: a contract migration is refused while a worker of an older version does.
CREATE TABLE gateway_workers (
    id UUID PRIMARY KEY,
    version TEXT NOT NULL, -- the gateway's, as in "1.4.0"
    started_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    last_seen TIMESTAMPTZ NOT NULL DEFAULT now()
);
