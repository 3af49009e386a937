-- The schema after all migrations, written by `make schema`: change a migration, never this file.

CREATE EXTENSION IF NOT EXISTS vector WITH SCHEMA public;

COMMENT ON EXTENSION vector IS 'vector data type and ivfflat and hnsw access methods';

CREATE FUNCTION public.gateway_announce_changes() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF (SELECT count(*) FROM (SELECT FROM changed LIMIT 1001) AS some_rows) > 1000 THEN
        PERFORM pg_notify('gateway_changes', TG_TABLE_NAME || ':reload');
    ELSE
        PERFORM pg_notify('gateway_changes', TG_TABLE_NAME || ':' || id) FROM changed;
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION public.gateway_announce_reload() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM pg_notify('gateway_changes', TG_TABLE_NAME || ':reload');
    RETURN NULL;
END
$$;

CREATE FUNCTION public.gateway_first_key(key uuid) RETURNS uuid
    LANGUAGE sql STABLE
    AS $$
    WITH RECURSIVE line AS (
        SELECT k.id, k.rotated_from FROM public.api_keys AS k WHERE k.id = key
        UNION ALL
        SELECT k.id, k.rotated_from FROM public.api_keys AS k JOIN line ON k.id = line.rotated_from
    )
    SELECT id FROM line WHERE rotated_from IS NULL
$$;

CREATE FUNCTION public.usage_costs_ensure_partitions(months_ahead integer) RETURNS integer
    LANGUAGE plpgsql
    AS $$
DECLARE
    first_month TIMESTAMP := date_trunc('month', now() AT TIME ZONE 'UTC');
    lower_bound TIMESTAMPTZ;
    upper_bound TIMESTAMPTZ;
    partition_name TEXT;
    made INTEGER := 0;
BEGIN
    FOR months IN 0..months_ahead LOOP
        lower_bound := (first_month + make_interval(months => months)) AT TIME ZONE 'UTC';
        upper_bound := (first_month + make_interval(months => months + 1)) AT TIME ZONE 'UTC';
        partition_name := 'usage_costs_' || to_char(first_month + make_interval(months => months), 'YYYY_MM');
        CONTINUE WHEN to_regclass(partition_name) IS NOT NULL;
        -- One at a time. (A table's lock, not an advisory one: taking it also makes others' new tables seen.)
        LOCK TABLE usage_costs IN SHARE UPDATE EXCLUSIVE MODE;
        CONTINUE WHEN to_regclass(partition_name) IS NOT NULL;
        EXECUTE format('CREATE TABLE %I (LIKE usage_costs INCLUDING ALL)', partition_name);
        -- Nothing may arrive in the default partition between the move and the attaching.
        LOCK TABLE usage_costs_default IN ACCESS EXCLUSIVE MODE;
        EXECUTE format(
            'WITH moved AS (DELETE FROM usage_costs_default WHERE "timestamp" >= %L AND "timestamp" < %L RETURNING *)'
            ' INSERT INTO %I SELECT * FROM moved', lower_bound, upper_bound, partition_name);
        EXECUTE format('ALTER TABLE usage_costs ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
            partition_name, lower_bound, upper_bound);
        made := made + 1;
    END LOOP;
    RETURN made;
END
$$;

CREATE TABLE public.advanced_ai_features (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    feature_name character varying(255) NOT NULL,
    feature_type character varying(100),
    description text,
    supported_models jsonb,
    configuration jsonb,
    usage_metrics jsonb,
    enabled boolean DEFAULT true,
    created_at timestamp with time zone DEFAULT now()
);

CREATE TABLE public.agent_interactions (
    id bigint NOT NULL,
    agent_id uuid,
    user_id uuid,
    session_id uuid,
    query text NOT NULL,
    response text,
    confidence_score numeric(3,2),
    handoff_to_agent uuid,
    user_feedback integer,
    "timestamp" timestamp with time zone DEFAULT now(),
    CONSTRAINT agent_interactions_user_feedback_check CHECK (((user_feedback >= 1) AND (user_feedback <= 5)))
);

CREATE SEQUENCE public.agent_interactions_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER SEQUENCE public.agent_interactions_id_seq OWNED BY public.agent_interactions.id;

CREATE TABLE public.ai_agents (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    agent_name character varying(255) NOT NULL,
    agent_domain character varying(100) NOT NULL,
    description text,
    specialized_prompt text NOT NULL,
    knowledge_base jsonb,
    preferred_models jsonb,
    performance_metrics jsonb,
    enabled boolean DEFAULT true,
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now(),
    deleted_at timestamp with time zone
);

CREATE TABLE public.ai_plugins (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    plugin_name character varying(255) NOT NULL,
    plugin_version character varying(50),
    developer_id uuid,
    description text,
    category character varying(100),
    installation_count integer DEFAULT 0,
    rating numeric(3,2),
    price numeric(18,9) DEFAULT 0,
    enabled boolean DEFAULT true,
    verified boolean DEFAULT false,
    created_at timestamp with time zone DEFAULT now()
);

CREATE TABLE public.api_keys (
    id uuid DEFAULT uuidv7() NOT NULL,
    name text NOT NULL,
    key_hash bytea NOT NULL,
    secret_fingerprint bytea NOT NULL,
    key_hint text NOT NULL,
    team_id uuid,
    user_id uuid,
    models text[],
    endpoints text[],
    disabled boolean DEFAULT false NOT NULL,
    expires_at timestamp with time zone,
    revoked_at timestamp with time zone,
    rotated_from uuid,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT api_keys_key_hash_check CHECK ((octet_length(key_hash) = 32)),
    CONSTRAINT api_keys_name_check CHECK (((char_length(name) >= 1) AND (char_length(name) <= 200)))
);

CREATE TABLE public.benchmark_results (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    suite_id uuid,
    model_id uuid,
    test_run_timestamp timestamp with time zone DEFAULT now(),
    accuracy_score numeric(5,4),
    response_time_avg_ms integer,
    cost_per_test numeric(18,9),
    quality_metrics jsonb,
    detailed_results jsonb
);

CREATE TABLE public.benchmark_suites (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    suite_name character varying(255) NOT NULL,
    description text,
    test_queries jsonb NOT NULL,
    evaluation_criteria jsonb,
    target_domains jsonb,
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now()
);

CREATE TABLE public.context_relationships (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    parent_context_id uuid,
    child_context_id uuid,
    relationship_type character varying(50),
    relationship_strength numeric(3,2),
    created_at timestamp with time zone DEFAULT now()
);

CREATE TABLE public.conversation_contexts (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    user_id uuid,
    session_id uuid,
    context_type character varying(50),
    context_summary text,
    context_embeddings public.vector(1536),
    relevance_score numeric(3,2),
    created_at timestamp with time zone DEFAULT now(),
    last_accessed timestamp with time zone DEFAULT now(),
    expires_at timestamp with time zone
);

CREATE TABLE public.cost_budgets (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    budget_name character varying(255) NOT NULL,
    budget_scope character varying(50),
    scope_identifier character varying(255),
    monthly_limit numeric(18,9),
    current_usage numeric(18,9) DEFAULT 0,
    alert_thresholds jsonb,
    reset_day integer DEFAULT 1,
    created_at timestamp with time zone DEFAULT now()
);

CREATE TABLE public.gateway_objects (
    id bigint NOT NULL,
    kind text NOT NULL,
    object_id text NOT NULL,
    provider text NOT NULL,
    team_id uuid,
    key_id uuid,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE public.gateway_objects ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.gateway_objects_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.gateway_responses (
    response_id text NOT NULL,
    team_id uuid,
    key_id uuid,
    previous_id text,
    input bytea NOT NULL,
    response bytea NOT NULL,
    item_ids text[] NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    CONSTRAINT gateway_responses_response_id_check CHECK (((char_length(response_id) >= 1) AND (char_length(response_id) <= 256)))
);

CREATE TABLE public.gateway_secret (
    fingerprint bytea NOT NULL,
    first_used_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.gateway_workers (
    id uuid NOT NULL,
    version text NOT NULL,
    started_at timestamp with time zone DEFAULT now() NOT NULL,
    last_seen timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.llm_models (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    provider_id uuid,
    model_name character varying(255) NOT NULL,
    model_version character varying(50),
    model_type character varying(100),
    context_length integer,
    input_cost_per_token numeric(20,15),
    output_cost_per_token numeric(20,15),
    performance_metrics jsonb,
    specializations jsonb,
    enabled boolean DEFAULT true,
    created_at timestamp with time zone DEFAULT now(),
    deleted_at timestamp with time zone,
    managed_by text,
    configuration jsonb,
    updated_at timestamp with time zone DEFAULT now(),
    CONSTRAINT llm_models_managed_by_check CHECK ((managed_by = ANY (ARRAY['config'::text, 'admin'::text])))
);

CREATE TABLE public.llm_providers (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    provider_name character varying(100) NOT NULL,
    provider_type character varying(50) NOT NULL,
    api_endpoint text,
    authentication_type character varying(50),
    max_tokens integer,
    rate_limits jsonb,
    supported_models jsonb,
    configuration jsonb,
    enabled boolean DEFAULT true,
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now(),
    deleted_at timestamp with time zone,
    managed_by text,
    secrets bytea,
    CONSTRAINT llm_providers_managed_by_check CHECK ((managed_by = ANY (ARRAY['config'::text, 'admin'::text])))
);

CREATE TABLE public.model_performance_history (
    id bigint NOT NULL,
    model_id uuid,
    query_type character varying(100),
    response_quality_score numeric(3,2),
    response_time_ms integer,
    cost_per_query numeric(18,9),
    user_satisfaction numeric(3,2),
    "timestamp" timestamp with time zone DEFAULT now(),
    session_id uuid
);

CREATE SEQUENCE public.model_performance_history_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER SEQUENCE public.model_performance_history_id_seq OWNED BY public.model_performance_history.id;

CREATE TABLE public.multimodal_interactions (
    id bigint NOT NULL,
    user_id uuid,
    session_id uuid,
    input_type character varying(50),
    input_content text,
    input_media_url text,
    output_type character varying(50),
    output_content text,
    output_media_url text,
    processing_time_ms integer,
    "timestamp" timestamp with time zone DEFAULT now()
);

CREATE SEQUENCE public.multimodal_interactions_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER SEQUENCE public.multimodal_interactions_id_seq OWNED BY public.multimodal_interactions.id;

CREATE TABLE public.plugin_installations (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    plugin_id uuid,
    user_id uuid,
    installed_at timestamp with time zone DEFAULT now(),
    active boolean DEFAULT true,
    configuration jsonb
);

CREATE TABLE public.routing_rules (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    rule_name character varying(255) NOT NULL,
    priority integer DEFAULT 100,
    query_patterns jsonb,
    model_preferences jsonb,
    cost_constraints jsonb,
    performance_requirements jsonb,
    enabled boolean DEFAULT true,
    created_by uuid,
    created_at timestamp with time zone DEFAULT now()
);

CREATE TABLE public.schema_migrations (
    version integer NOT NULL,
    name text NOT NULL,
    kind text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT schema_migrations_kind_check CHECK ((kind = ANY (ARRAY['expand'::text, 'contract'::text])))
);

CREATE TABLE public.teams (
    id uuid DEFAULT uuidv7() NOT NULL,
    name text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.usage_costs (
    id bigint NOT NULL,
    user_id uuid,
    session_id uuid,
    model_id uuid,
    provider_id uuid,
    input_tokens bigint,
    output_tokens bigint,
    cost_amount numeric(18,9),
    query_type character varying(100),
    "timestamp" timestamp with time zone DEFAULT CURRENT_TIMESTAMP NOT NULL,
    agent_id uuid,
    request_id uuid DEFAULT uuidv7() NOT NULL,
    attempt smallint DEFAULT 1 NOT NULL,
    final boolean DEFAULT true NOT NULL,
    key_id uuid,
    team_id uuid,
    provider_name text,
    model_name text,
    target_model text,
    endpoint text,
    streamed boolean,
    outcome text,
    status smallint,
    error_code text,
    cached_tokens bigint DEFAULT 0 NOT NULL,
    cache_write_tokens bigint DEFAULT 0 NOT NULL,
    reasoning_tokens bigint DEFAULT 0 NOT NULL,
    audio_input_tokens bigint DEFAULT 0 NOT NULL,
    audio_output_tokens bigint DEFAULT 0 NOT NULL,
    image_input_tokens bigint DEFAULT 0 NOT NULL,
    image_output_tokens bigint DEFAULT 0 NOT NULL,
    cost_nano_usd bigint,
    estimated boolean DEFAULT false NOT NULL,
    duration_ms integer,
    first_byte_ms integer
)
PARTITION BY RANGE ("timestamp");

CREATE SEQUENCE public.usage_costs_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1000;

ALTER SEQUENCE public.usage_costs_id_seq OWNED BY public.usage_costs.id;

CREATE TABLE public.usage_costs_default (
    id bigint DEFAULT nextval('public.usage_costs_id_seq'::regclass) CONSTRAINT usage_costs_id_not_null NOT NULL,
    user_id uuid,
    session_id uuid,
    model_id uuid,
    provider_id uuid,
    input_tokens bigint,
    output_tokens bigint,
    cost_amount numeric(18,9),
    query_type character varying(100),
    "timestamp" timestamp with time zone DEFAULT CURRENT_TIMESTAMP CONSTRAINT usage_costs_timestamp_not_null NOT NULL,
    agent_id uuid,
    request_id uuid DEFAULT uuidv7() CONSTRAINT usage_costs_request_id_not_null NOT NULL,
    attempt smallint DEFAULT 1 CONSTRAINT usage_costs_attempt_not_null NOT NULL,
    final boolean DEFAULT true CONSTRAINT usage_costs_final_not_null NOT NULL,
    key_id uuid,
    team_id uuid,
    provider_name text,
    model_name text,
    target_model text,
    endpoint text,
    streamed boolean,
    outcome text,
    status smallint,
    error_code text,
    cached_tokens bigint DEFAULT 0 CONSTRAINT usage_costs_cached_tokens_not_null NOT NULL,
    cache_write_tokens bigint DEFAULT 0 CONSTRAINT usage_costs_cache_write_tokens_not_null NOT NULL,
    reasoning_tokens bigint DEFAULT 0 CONSTRAINT usage_costs_reasoning_tokens_not_null NOT NULL,
    audio_input_tokens bigint DEFAULT 0 CONSTRAINT usage_costs_audio_input_tokens_not_null NOT NULL,
    audio_output_tokens bigint DEFAULT 0 CONSTRAINT usage_costs_audio_output_tokens_not_null NOT NULL,
    image_input_tokens bigint DEFAULT 0 CONSTRAINT usage_costs_image_input_tokens_not_null NOT NULL,
    image_output_tokens bigint DEFAULT 0 CONSTRAINT usage_costs_image_output_tokens_not_null NOT NULL,
    cost_nano_usd bigint,
    estimated boolean DEFAULT false CONSTRAINT usage_costs_estimated_not_null NOT NULL,
    duration_ms integer,
    first_byte_ms integer
);

CREATE TABLE public.users (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    email character varying(320),
    name character varying(255),
    created_at timestamp with time zone DEFAULT now()
);

ALTER TABLE ONLY public.usage_costs ATTACH PARTITION public.usage_costs_default DEFAULT;

ALTER TABLE ONLY public.agent_interactions ALTER COLUMN id SET DEFAULT nextval('public.agent_interactions_id_seq'::regclass);

ALTER TABLE ONLY public.model_performance_history ALTER COLUMN id SET DEFAULT nextval('public.model_performance_history_id_seq'::regclass);

ALTER TABLE ONLY public.multimodal_interactions ALTER COLUMN id SET DEFAULT nextval('public.multimodal_interactions_id_seq'::regclass);

ALTER TABLE ONLY public.usage_costs ALTER COLUMN id SET DEFAULT nextval('public.usage_costs_id_seq'::regclass);

ALTER TABLE ONLY public.advanced_ai_features
    ADD CONSTRAINT advanced_ai_features_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.agent_interactions
    ADD CONSTRAINT agent_interactions_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.ai_agents
    ADD CONSTRAINT ai_agents_agent_name_key UNIQUE (agent_name);

ALTER TABLE ONLY public.ai_agents
    ADD CONSTRAINT ai_agents_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.ai_plugins
    ADD CONSTRAINT ai_plugins_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.ai_plugins
    ADD CONSTRAINT ai_plugins_plugin_name_key UNIQUE (plugin_name);

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_key_hash_key UNIQUE (key_hash);

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_rotated_from_key UNIQUE (rotated_from);

ALTER TABLE ONLY public.benchmark_results
    ADD CONSTRAINT benchmark_results_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.benchmark_suites
    ADD CONSTRAINT benchmark_suites_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.context_relationships
    ADD CONSTRAINT context_relationships_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.conversation_contexts
    ADD CONSTRAINT conversation_contexts_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.cost_budgets
    ADD CONSTRAINT cost_budgets_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.gateway_objects
    ADD CONSTRAINT gateway_objects_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.gateway_objects
    ADD CONSTRAINT gateway_objects_provider_kind_object_id_key UNIQUE (provider, kind, object_id);

ALTER TABLE ONLY public.gateway_responses
    ADD CONSTRAINT gateway_responses_pkey PRIMARY KEY (response_id);

ALTER TABLE ONLY public.gateway_secret
    ADD CONSTRAINT gateway_secret_pkey PRIMARY KEY (fingerprint);

ALTER TABLE ONLY public.gateway_workers
    ADD CONSTRAINT gateway_workers_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.llm_models
    ADD CONSTRAINT llm_models_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.llm_providers
    ADD CONSTRAINT llm_providers_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.llm_providers
    ADD CONSTRAINT llm_providers_provider_name_key UNIQUE (provider_name);

ALTER TABLE ONLY public.model_performance_history
    ADD CONSTRAINT model_performance_history_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.multimodal_interactions
    ADD CONSTRAINT multimodal_interactions_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.plugin_installations
    ADD CONSTRAINT plugin_installations_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.routing_rules
    ADD CONSTRAINT routing_rules_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.schema_migrations
    ADD CONSTRAINT schema_migrations_pkey PRIMARY KEY (version);

ALTER TABLE ONLY public.teams
    ADD CONSTRAINT teams_name_key UNIQUE (name);

ALTER TABLE ONLY public.teams
    ADD CONSTRAINT teams_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.usage_costs
    ADD CONSTRAINT usage_costs_pkey PRIMARY KEY (request_id, attempt, "timestamp");

ALTER TABLE ONLY public.usage_costs_default
    ADD CONSTRAINT usage_costs_default_pkey PRIMARY KEY (request_id, attempt, "timestamp");

ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (id);

CREATE INDEX agent_interactions_session_id_idx ON public.agent_interactions USING btree (session_id);

CREATE INDEX api_keys_team_id ON public.api_keys USING btree (team_id);

CREATE INDEX api_keys_user_id ON public.api_keys USING btree (user_id);

CREATE INDEX benchmark_results_suite_id_idx ON public.benchmark_results USING btree (suite_id, test_run_timestamp);

CREATE INDEX context_relationships_child_context_id_idx ON public.context_relationships USING btree (child_context_id);

CREATE INDEX context_relationships_parent_context_id_idx ON public.context_relationships USING btree (parent_context_id);

CREATE INDEX conversation_contexts_expires_at_idx ON public.conversation_contexts USING btree (expires_at);

CREATE INDEX conversation_contexts_session_id_idx ON public.conversation_contexts USING btree (session_id);

CREATE INDEX conversation_contexts_user_id_idx ON public.conversation_contexts USING btree (user_id);

CREATE INDEX gateway_objects_key ON public.gateway_objects USING btree (key_id, kind, id) WHERE (team_id IS NULL);

CREATE INDEX gateway_objects_object ON public.gateway_objects USING btree (kind, object_id);

CREATE INDEX gateway_objects_team ON public.gateway_objects USING btree (team_id, kind, id) WHERE (team_id IS NOT NULL);

CREATE INDEX gateway_responses_expires ON public.gateway_responses USING btree (expires_at);

CREATE INDEX gateway_responses_items ON public.gateway_responses USING gin (item_ids);

CREATE UNIQUE INDEX llm_models_managed_name ON public.llm_models USING btree (model_name) WHERE (managed_by IS NOT NULL);

CREATE INDEX llm_models_provider_id_idx ON public.llm_models USING btree (provider_id);

CREATE INDEX model_performance_history_model_id_timestamp_idx ON public.model_performance_history USING btree (model_id, "timestamp");

ALTER INDEX public.usage_costs_pkey ATTACH PARTITION public.usage_costs_default_pkey;

CREATE TRIGGER api_keys_announce_delete AFTER DELETE ON public.api_keys REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION public.gateway_announce_changes();

CREATE TRIGGER api_keys_announce_insert AFTER INSERT ON public.api_keys REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION public.gateway_announce_changes();

CREATE TRIGGER api_keys_announce_truncate AFTER TRUNCATE ON public.api_keys FOR EACH STATEMENT EXECUTE FUNCTION public.gateway_announce_reload();

CREATE TRIGGER api_keys_announce_update AFTER UPDATE ON public.api_keys REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION public.gateway_announce_changes();

CREATE TRIGGER llm_models_announce_delete AFTER DELETE ON public.llm_models REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION public.gateway_announce_changes();

CREATE TRIGGER llm_models_announce_insert AFTER INSERT ON public.llm_models REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION public.gateway_announce_changes();

CREATE TRIGGER llm_models_announce_truncate AFTER TRUNCATE ON public.llm_models FOR EACH STATEMENT EXECUTE FUNCTION public.gateway_announce_reload();

CREATE TRIGGER llm_models_announce_update AFTER UPDATE ON public.llm_models REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION public.gateway_announce_changes();

CREATE TRIGGER llm_providers_announce_delete AFTER DELETE ON public.llm_providers REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION public.gateway_announce_changes();

CREATE TRIGGER llm_providers_announce_insert AFTER INSERT ON public.llm_providers REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION public.gateway_announce_changes();

CREATE TRIGGER llm_providers_announce_truncate AFTER TRUNCATE ON public.llm_providers FOR EACH STATEMENT EXECUTE FUNCTION public.gateway_announce_reload();

CREATE TRIGGER llm_providers_announce_update AFTER UPDATE ON public.llm_providers REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION public.gateway_announce_changes();

CREATE TRIGGER teams_announce_update AFTER UPDATE ON public.teams REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION public.gateway_announce_changes();

ALTER TABLE ONLY public.agent_interactions
    ADD CONSTRAINT agent_interactions_agent_id_fkey FOREIGN KEY (agent_id) REFERENCES public.ai_agents(id);

ALTER TABLE ONLY public.agent_interactions
    ADD CONSTRAINT agent_interactions_handoff_to_agent_fkey FOREIGN KEY (handoff_to_agent) REFERENCES public.ai_agents(id);

ALTER TABLE ONLY public.agent_interactions
    ADD CONSTRAINT agent_interactions_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id);

ALTER TABLE ONLY public.ai_plugins
    ADD CONSTRAINT ai_plugins_developer_id_fkey FOREIGN KEY (developer_id) REFERENCES public.users(id);

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_rotated_from_fkey FOREIGN KEY (rotated_from) REFERENCES public.api_keys(id);

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_secret_fingerprint_fkey FOREIGN KEY (secret_fingerprint) REFERENCES public.gateway_secret(fingerprint);

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_team_id_fkey FOREIGN KEY (team_id) REFERENCES public.teams(id);

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id);

ALTER TABLE ONLY public.benchmark_results
    ADD CONSTRAINT benchmark_results_model_id_fkey FOREIGN KEY (model_id) REFERENCES public.llm_models(id);

ALTER TABLE ONLY public.benchmark_results
    ADD CONSTRAINT benchmark_results_suite_id_fkey FOREIGN KEY (suite_id) REFERENCES public.benchmark_suites(id);

ALTER TABLE ONLY public.context_relationships
    ADD CONSTRAINT context_relationships_child_context_id_fkey FOREIGN KEY (child_context_id) REFERENCES public.conversation_contexts(id);

ALTER TABLE ONLY public.context_relationships
    ADD CONSTRAINT context_relationships_parent_context_id_fkey FOREIGN KEY (parent_context_id) REFERENCES public.conversation_contexts(id);

ALTER TABLE ONLY public.conversation_contexts
    ADD CONSTRAINT conversation_contexts_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id);

ALTER TABLE ONLY public.gateway_objects
    ADD CONSTRAINT gateway_objects_key_id_fkey FOREIGN KEY (key_id) REFERENCES public.api_keys(id);

ALTER TABLE ONLY public.gateway_objects
    ADD CONSTRAINT gateway_objects_team_id_fkey FOREIGN KEY (team_id) REFERENCES public.teams(id);

ALTER TABLE ONLY public.gateway_responses
    ADD CONSTRAINT gateway_responses_key_id_fkey FOREIGN KEY (key_id) REFERENCES public.api_keys(id);

ALTER TABLE ONLY public.gateway_responses
    ADD CONSTRAINT gateway_responses_team_id_fkey FOREIGN KEY (team_id) REFERENCES public.teams(id);

ALTER TABLE ONLY public.llm_models
    ADD CONSTRAINT llm_models_provider_id_fkey FOREIGN KEY (provider_id) REFERENCES public.llm_providers(id);

ALTER TABLE ONLY public.model_performance_history
    ADD CONSTRAINT model_performance_history_model_id_fkey FOREIGN KEY (model_id) REFERENCES public.llm_models(id);

ALTER TABLE ONLY public.multimodal_interactions
    ADD CONSTRAINT multimodal_interactions_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id);

ALTER TABLE ONLY public.plugin_installations
    ADD CONSTRAINT plugin_installations_plugin_id_fkey FOREIGN KEY (plugin_id) REFERENCES public.ai_plugins(id);

ALTER TABLE ONLY public.plugin_installations
    ADD CONSTRAINT plugin_installations_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id);

ALTER TABLE ONLY public.routing_rules
    ADD CONSTRAINT routing_rules_created_by_fkey FOREIGN KEY (created_by) REFERENCES public.users(id);
