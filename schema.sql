-- The schema after all migrations, written by `make schema`: change a migration, never this file.

CREATE EXTENSION IF NOT EXISTS vector WITH SCHEMA public;

COMMENT ON EXTENSION vector IS 'vector data type and ivfflat and hnsw access methods';

CREATE FUNCTION public.audit_log_is_append_only() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    RAISE EXCEPTION 'audit_log is append-only' USING ERRCODE = 'insufficient_privilege';
END
$$;

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

CREATE FUNCTION public.gateway_announce_members() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF (SELECT count(*) FROM (SELECT FROM changed LIMIT 1001) AS some_rows) > 1000 THEN
        PERFORM pg_notify('gateway_changes', 'users:reload');
    ELSE
        PERFORM pg_notify('gateway_changes', 'users:' || user_id) FROM changed;
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION public.gateway_announce_members_of_team() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF (SELECT count(*) FROM (SELECT FROM public.team_members WHERE team_id = NEW.id LIMIT 1001) AS some_rows) > 1000 THEN
        PERFORM pg_notify('gateway_changes', 'users:reload');
    ELSE
        PERFORM pg_notify('gateway_changes', 'users:' || user_id) FROM public.team_members WHERE team_id = NEW.id;
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

CREATE FUNCTION public.gateway_announce_row() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM pg_notify('gateway_changes', TG_ARGV[0] || ':' || (to_jsonb(NEW) ->> TG_ARGV[1]));
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

CREATE FUNCTION public.gateway_only_team(member uuid) RETURNS uuid
    LANGUAGE sql STABLE
    AS $$
    SELECT (array_agg(m.team_id))[1]
    FROM team_members AS m JOIN teams AS t ON t.id = m.team_id
    WHERE m.user_id = member AND t.deleted_at IS NULL
    HAVING count(*) = 1
$$;

CREATE FUNCTION public.gateway_organisation_of_user(member uuid) RETURNS uuid
    LANGUAGE sql STABLE
    AS $$
    SELECT (array_agg(DISTINCT t.organisation_id))[1]
    FROM public.team_members AS m JOIN public.teams AS t ON t.id = m.team_id
    WHERE m.user_id = member AND t.deleted_at IS NULL AND t.organisation_id IS NOT NULL
    HAVING count(DISTINCT t.organisation_id) = 1
$$;

CREATE FUNCTION public.usage_costs_drop_month(months integer) RETURNS text
    LANGUAGE plpgsql
    SET lock_timeout TO '1s'
    AS $_$
DECLARE
    first_kept TIMESTAMP := date_trunc('month', now() AT TIME ZONE 'UTC') - make_interval(months => months);
    oldest TEXT;
BEGIN
    LOCK TABLE usage_costs IN SHARE UPDATE EXCLUSIVE MODE;
    SELECT c.relname INTO oldest
    FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'usage_costs'::regclass AND c.relname ~ '^usage_costs_\d{4}_\d{2}$'
      AND c.relname < 'usage_costs_' || to_char(first_kept, 'YYYY_MM')
    ORDER BY c.relname LIMIT 1;
    IF oldest IS NULL THEN
        DELETE FROM usage_costs_default WHERE "timestamp" < first_kept AT TIME ZONE 'UTC';
    ELSE
        EXECUTE format('DROP TABLE %I', oldest);
    END IF;
    RETURN oldest;
END
$_$;

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

CREATE FUNCTION public.usage_costs_roll_up() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    WITH by_hour AS MATERIALIZED (
        SELECT date_bin(INTERVAL '1 hour', i."timestamp", TIMESTAMPTZ 'epoch') AS starts_at,
               i.key_id, i.team_id, i.user_id, i.model_name, i.provider_name, i.agent_id, i.query_type::text AS query_type,
               count(*) FILTER (WHERE i.final) AS requests,
               count(*) FILTER (WHERE i.attempt > 0) AS attempts,
               count(*) FILTER (WHERE i.outcome <> 'ok') AS errors,
               sum(least(coalesce(i.input_tokens, 0), 1099511627776))::bigint AS input_tokens,
               sum(least(coalesce(i.output_tokens, 0), 1099511627776))::bigint AS output_tokens,
               sum(least(i.cached_tokens, 1099511627776))::bigint AS cached_tokens,
               sum(least(i.cache_write_tokens, 1099511627776))::bigint AS cache_write_tokens,
               sum(least(i.reasoning_tokens, 1099511627776))::bigint AS reasoning_tokens,
               sum(least(i.audio_input_tokens, 1099511627776))::bigint AS audio_input_tokens,
               sum(least(i.audio_output_tokens, 1099511627776))::bigint AS audio_output_tokens,
               sum(least(i.image_input_tokens, 1099511627776))::bigint AS image_input_tokens,
               sum(least(i.image_output_tokens, 1099511627776))::bigint AS image_output_tokens,
               sum(least(i.search_units, 1099511627776))::bigint AS search_units,
               sum(least(coalesce(i.cost_nano_usd, (i.cost_amount * 1000000000)::bigint, 0), 1000000000000000))::bigint
                   AS cost_nano_usd,
               count(*) FILTER (WHERE i.estimated) AS estimated,
               coalesce(sum(i.duration_ms), 0)::bigint AS duration_ms
        FROM inserted AS i
        GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
    ), kept_hours AS (
        INSERT INTO usage_hourly AS kept
        SELECT * FROM by_hour ORDER BY 1, 2, 3, 4, 5, 6, 7, 8
        ON CONFLICT (starts_at, key_id, team_id, user_id, model_name, provider_name, agent_id, query_type) DO UPDATE SET
            requests = kept.requests + excluded.requests,
            attempts = kept.attempts + excluded.attempts,
            errors = kept.errors + excluded.errors,
            input_tokens = kept.input_tokens + excluded.input_tokens,
            output_tokens = kept.output_tokens + excluded.output_tokens,
            cached_tokens = kept.cached_tokens + excluded.cached_tokens,
            cache_write_tokens = kept.cache_write_tokens + excluded.cache_write_tokens,
            reasoning_tokens = kept.reasoning_tokens + excluded.reasoning_tokens,
            audio_input_tokens = kept.audio_input_tokens + excluded.audio_input_tokens,
            audio_output_tokens = kept.audio_output_tokens + excluded.audio_output_tokens,
            image_input_tokens = kept.image_input_tokens + excluded.image_input_tokens,
            image_output_tokens = kept.image_output_tokens + excluded.image_output_tokens,
            search_units = kept.search_units + excluded.search_units,
            cost_nano_usd = kept.cost_nano_usd + excluded.cost_nano_usd,
            estimated = kept.estimated + excluded.estimated,
            duration_ms = kept.duration_ms + excluded.duration_ms
    )
    INSERT INTO usage_daily AS kept
    SELECT date_bin(INTERVAL '1 day', h.starts_at, TIMESTAMPTZ 'epoch'),
           h.key_id, h.team_id, h.user_id, h.model_name, h.provider_name, h.agent_id, h.query_type,
           sum(h.requests)::bigint, sum(h.attempts)::bigint, sum(h.errors)::bigint,
           sum(h.input_tokens)::bigint, sum(h.output_tokens)::bigint,
           sum(h.cached_tokens)::bigint, sum(h.cache_write_tokens)::bigint, sum(h.reasoning_tokens)::bigint,
           sum(h.audio_input_tokens)::bigint, sum(h.audio_output_tokens)::bigint,
           sum(h.image_input_tokens)::bigint, sum(h.image_output_tokens)::bigint,
           sum(h.search_units)::bigint, sum(h.cost_nano_usd)::bigint, sum(h.estimated)::bigint,
           sum(h.duration_ms)::bigint
    FROM by_hour AS h
    GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
    ORDER BY 1, 2, 3, 4, 5, 6, 7, 8
    ON CONFLICT (starts_at, key_id, team_id, user_id, model_name, provider_name, agent_id, query_type) DO UPDATE SET
        requests = kept.requests + excluded.requests,
        attempts = kept.attempts + excluded.attempts,
        errors = kept.errors + excluded.errors,
        input_tokens = kept.input_tokens + excluded.input_tokens,
        output_tokens = kept.output_tokens + excluded.output_tokens,
        cached_tokens = kept.cached_tokens + excluded.cached_tokens,
        cache_write_tokens = kept.cache_write_tokens + excluded.cache_write_tokens,
        reasoning_tokens = kept.reasoning_tokens + excluded.reasoning_tokens,
        audio_input_tokens = kept.audio_input_tokens + excluded.audio_input_tokens,
        audio_output_tokens = kept.audio_output_tokens + excluded.audio_output_tokens,
        image_input_tokens = kept.image_input_tokens + excluded.image_input_tokens,
        image_output_tokens = kept.image_output_tokens + excluded.image_output_tokens,
        search_units = kept.search_units + excluded.search_units,
        cost_nano_usd = kept.cost_nano_usd + excluded.cost_nano_usd,
        estimated = kept.estimated + excluded.estimated,
        duration_ms = kept.duration_ms + excluded.duration_ms;

    IF EXISTS (SELECT FROM inserted WHERE tags IS NOT NULL) THEN
        WITH by_hour AS MATERIALIZED (
            SELECT date_bin(INTERVAL '1 hour', i."timestamp", TIMESTAMPTZ 'epoch') AS starts_at, t.tag, i.team_id,
                   count(*) FILTER (WHERE i.final) AS requests,
                   count(*) FILTER (WHERE i.attempt > 0) AS attempts,
                   count(*) FILTER (WHERE i.outcome <> 'ok') AS errors,
                   sum(least(coalesce(i.input_tokens, 0), 1099511627776))::bigint AS input_tokens,
                   sum(least(coalesce(i.output_tokens, 0), 1099511627776))::bigint AS output_tokens,
                   sum(least(i.cached_tokens, 1099511627776))::bigint AS cached_tokens,
                   sum(least(i.cache_write_tokens, 1099511627776))::bigint AS cache_write_tokens,
                   sum(least(i.reasoning_tokens, 1099511627776))::bigint AS reasoning_tokens,
                   sum(least(i.audio_input_tokens, 1099511627776))::bigint AS audio_input_tokens,
                   sum(least(i.audio_output_tokens, 1099511627776))::bigint AS audio_output_tokens,
                   sum(least(i.image_input_tokens, 1099511627776))::bigint AS image_input_tokens,
                   sum(least(i.image_output_tokens, 1099511627776))::bigint AS image_output_tokens,
                   sum(least(i.search_units, 1099511627776))::bigint AS search_units,
                   sum(least(coalesce(i.cost_nano_usd, (i.cost_amount * 1000000000)::bigint, 0), 1000000000000000))::bigint
                       AS cost_nano_usd,
                   count(*) FILTER (WHERE i.estimated) AS estimated,
                   coalesce(sum(i.duration_ms), 0)::bigint AS duration_ms
            FROM inserted AS i CROSS JOIN LATERAL (SELECT DISTINCT unnest(i.tags)) AS t (tag)
            WHERE t.tag IS NOT NULL
            GROUP BY 1, 2, 3
        ), kept_hours AS (
            INSERT INTO usage_hourly_tags AS kept
            SELECT * FROM by_hour ORDER BY 1, 2, 3
            ON CONFLICT (starts_at, tag, team_id) DO UPDATE SET
                requests = kept.requests + excluded.requests,
                attempts = kept.attempts + excluded.attempts,
                errors = kept.errors + excluded.errors,
                input_tokens = kept.input_tokens + excluded.input_tokens,
                output_tokens = kept.output_tokens + excluded.output_tokens,
                cached_tokens = kept.cached_tokens + excluded.cached_tokens,
                cache_write_tokens = kept.cache_write_tokens + excluded.cache_write_tokens,
                reasoning_tokens = kept.reasoning_tokens + excluded.reasoning_tokens,
                audio_input_tokens = kept.audio_input_tokens + excluded.audio_input_tokens,
                audio_output_tokens = kept.audio_output_tokens + excluded.audio_output_tokens,
                image_input_tokens = kept.image_input_tokens + excluded.image_input_tokens,
                image_output_tokens = kept.image_output_tokens + excluded.image_output_tokens,
                search_units = kept.search_units + excluded.search_units,
                cost_nano_usd = kept.cost_nano_usd + excluded.cost_nano_usd,
                estimated = kept.estimated + excluded.estimated,
                duration_ms = kept.duration_ms + excluded.duration_ms
        )
        INSERT INTO usage_daily_tags AS kept
        SELECT date_bin(INTERVAL '1 day', h.starts_at, TIMESTAMPTZ 'epoch'), h.tag, h.team_id,
               sum(h.requests)::bigint, sum(h.attempts)::bigint, sum(h.errors)::bigint,
               sum(h.input_tokens)::bigint, sum(h.output_tokens)::bigint,
               sum(h.cached_tokens)::bigint, sum(h.cache_write_tokens)::bigint, sum(h.reasoning_tokens)::bigint,
               sum(h.audio_input_tokens)::bigint, sum(h.audio_output_tokens)::bigint,
               sum(h.image_input_tokens)::bigint, sum(h.image_output_tokens)::bigint,
               sum(h.search_units)::bigint, sum(h.cost_nano_usd)::bigint, sum(h.estimated)::bigint,
               sum(h.duration_ms)::bigint
        FROM by_hour AS h
        GROUP BY 1, 2, 3
        ORDER BY 1, 2, 3
        ON CONFLICT (starts_at, tag, team_id) DO UPDATE SET
            requests = kept.requests + excluded.requests,
            attempts = kept.attempts + excluded.attempts,
            errors = kept.errors + excluded.errors,
            input_tokens = kept.input_tokens + excluded.input_tokens,
            output_tokens = kept.output_tokens + excluded.output_tokens,
            cached_tokens = kept.cached_tokens + excluded.cached_tokens,
            cache_write_tokens = kept.cache_write_tokens + excluded.cache_write_tokens,
            reasoning_tokens = kept.reasoning_tokens + excluded.reasoning_tokens,
            audio_input_tokens = kept.audio_input_tokens + excluded.audio_input_tokens,
            audio_output_tokens = kept.audio_output_tokens + excluded.audio_output_tokens,
            image_input_tokens = kept.image_input_tokens + excluded.image_input_tokens,
            image_output_tokens = kept.image_output_tokens + excluded.image_output_tokens,
            search_units = kept.search_units + excluded.search_units,
            cost_nano_usd = kept.cost_nano_usd + excluded.cost_nano_usd,
            estimated = kept.estimated + excluded.estimated,
            duration_ms = kept.duration_ms + excluded.duration_ms;
    END IF;
    RETURN NULL;
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
    admin_role text,
    CONSTRAINT api_keys_admin_role_check CHECK ((admin_role = ANY (ARRAY['owner'::text, 'admin'::text, 'viewer'::text]))),
    CONSTRAINT api_keys_key_hash_check CHECK ((octet_length(key_hash) = 32)),
    CONSTRAINT api_keys_name_check CHECK (((char_length(name) >= 1) AND (char_length(name) <= 200))),
    CONSTRAINT api_keys_team_admin CHECK (((admin_role IS DISTINCT FROM 'admin'::text) OR (team_id IS NOT NULL)))
);

CREATE TABLE public.audit_log (
    id bigint NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL,
    actor text NOT NULL,
    actor_role text NOT NULL,
    client_ip text,
    action text NOT NULL,
    object_type text NOT NULL,
    object_id text NOT NULL,
    team_id uuid,
    before jsonb,
    after jsonb
);

ALTER TABLE public.audit_log ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.audit_log_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
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

CREATE TABLE public.budget_alert_deliveries (
    alert_id uuid NOT NULL,
    webhook text NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    next_attempt_at timestamp with time zone DEFAULT now(),
    delivered_at timestamp with time zone,
    last_error text
);

CREATE TABLE public.budget_alerts (
    id uuid DEFAULT uuidv7() NOT NULL,
    budget_id uuid,
    period_id bigint,
    kind text NOT NULL,
    threshold_percent integer DEFAULT 0 NOT NULL,
    spent_nano_usd bigint NOT NULL,
    limit_nano_usd bigint NOT NULL,
    raised_at timestamp with time zone DEFAULT now() NOT NULL,
    place text,
    reason text,
    CONSTRAINT budget_alerts_kind_check CHECK ((kind = ANY (ARRAY['threshold'::text, 'burn_rate'::text, 'exceeded'::text, 'journal_unwritable'::text]))),
    CONSTRAINT budget_alerts_subject_check CHECK (((kind = 'journal_unwritable'::text) = ((budget_id IS NULL) AND (period_id IS NULL) AND (place IS NOT NULL))))
);

CREATE TABLE public.budget_periods (
    id bigint NOT NULL,
    budget_id uuid NOT NULL,
    end_user text DEFAULT ''::text NOT NULL,
    starts_at timestamp with time zone NOT NULL,
    ends_at timestamp with time zone,
    settled_nano_usd bigint DEFAULT 0 NOT NULL,
    lost_nano_usd bigint DEFAULT 0 NOT NULL,
    topped_up_nano_usd bigint DEFAULT 0 NOT NULL,
    opened_epoch text,
    released_nano_usd bigint DEFAULT 0 NOT NULL
);

ALTER TABLE public.budget_periods ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.budget_periods_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
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
    created_at timestamp with time zone DEFAULT now(),
    model text,
    limit_nano_usd bigint,
    period text DEFAULT 'month'::text NOT NULL,
    time_zone text DEFAULT 'UTC'::text NOT NULL,
    hard boolean DEFAULT true NOT NULL,
    on_too_dear text DEFAULT 'clamp'::text NOT NULL,
    unbounded_nano_usd bigint,
    max_end_users integer,
    on_store_failure text DEFAULT 'local'::text NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    deleted_at timestamp with time zone,
    set_by_owner boolean DEFAULT true NOT NULL,
    CONSTRAINT cost_budgets_limit_nano_usd_check CHECK (((limit_nano_usd >= 0) AND (limit_nano_usd <= '9007199254740991'::bigint))),
    CONSTRAINT cost_budgets_max_end_users_check CHECK ((max_end_users > 0)),
    CONSTRAINT cost_budgets_on_store_failure_check CHECK ((on_store_failure = ANY (ARRAY['deny'::text, 'allow'::text, 'local'::text]))),
    CONSTRAINT cost_budgets_on_too_dear_check CHECK ((on_too_dear = ANY (ARRAY['clamp'::text, 'refuse'::text]))),
    CONSTRAINT cost_budgets_period_check CHECK ((period = ANY (ARRAY['day'::text, 'week'::text, 'month'::text, 'total'::text]))),
    CONSTRAINT cost_budgets_reset_day CHECK (((reset_day >= 1) AND (reset_day <= 31))),
    CONSTRAINT cost_budgets_unbounded_nano_usd_check CHECK (((unbounded_nano_usd >= 0) AND (unbounded_nano_usd <= '9007199254740991'::bigint)))
);

CREATE TABLE public.gateway_batches (
    id uuid DEFAULT uuidv7() NOT NULL,
    provider text NOT NULL,
    batch_id text NOT NULL,
    key_id uuid,
    team_id uuid,
    user_id uuid,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    ask_at timestamp with time zone DEFAULT now() NOT NULL,
    claimed_until timestamp with time zone,
    missing_since timestamp with time zone,
    used jsonb,
    ended_at timestamp with time zone,
    metered_at timestamp with time zone,
    creation jsonb
);

CREATE TABLE public.gateway_idempotent_requests (
    scope bytea NOT NULL,
    body_hash bytea NOT NULL,
    claim_id uuid NOT NULL,
    state text DEFAULT 'claimed'::text NOT NULL,
    claimed_until timestamp with time zone NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    answer bytea,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    holder text,
    CONSTRAINT gateway_idempotent_requests_check CHECK (((state = 'kept'::text) = (answer IS NOT NULL))),
    CONSTRAINT gateway_idempotent_requests_scope_check CHECK ((octet_length(scope) = 32)),
    CONSTRAINT gateway_idempotent_requests_state_check CHECK ((state = ANY (ARRAY['claimed'::text, 'sent'::text, 'kept'::text, 'too_large'::text])))
);
ALTER TABLE ONLY public.gateway_idempotent_requests ALTER COLUMN answer SET STORAGE EXTERNAL;

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
    last_seen timestamp with time zone DEFAULT now() NOT NULL,
    settled_at timestamp with time zone,
    holds_since timestamp with time zone
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

CREATE TABLE public.organisations (
    id uuid DEFAULT uuidv7() NOT NULL,
    name text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    disabled boolean DEFAULT false NOT NULL,
    deleted_at timestamp with time zone,
    CONSTRAINT organisations_name_check CHECK (((char_length(name) >= 1) AND (char_length(name) <= 200)))
);

CREATE TABLE public.plugin_installations (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    plugin_id uuid,
    user_id uuid,
    installed_at timestamp with time zone DEFAULT now(),
    active boolean DEFAULT true,
    configuration jsonb
);

CREATE TABLE public.quota_limits (
    id uuid DEFAULT uuidv7() NOT NULL,
    scope text NOT NULL,
    subject text DEFAULT ''::text NOT NULL,
    model text,
    requests_per_minute bigint,
    requests_per_hour bigint,
    requests_per_day bigint,
    tokens_per_minute bigint,
    tokens_per_hour bigint,
    tokens_per_day bigint,
    max_concurrency bigint,
    on_store_failure text DEFAULT 'local'::text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    deleted_at timestamp with time zone,
    set_by_owner boolean DEFAULT true NOT NULL,
    CONSTRAINT quota_limits_check CHECK (((scope = 'global'::text) = (subject = ''::text))),
    CONSTRAINT quota_limits_check1 CHECK (((model IS NULL) OR (scope = ANY (ARRAY['team'::text, 'key'::text])))),
    CONSTRAINT quota_limits_max_concurrency_check CHECK ((max_concurrency >= 0)),
    CONSTRAINT quota_limits_on_store_failure_check CHECK ((on_store_failure = ANY (ARRAY['deny'::text, 'allow'::text, 'local'::text]))),
    CONSTRAINT quota_limits_requests_per_day_check CHECK ((requests_per_day >= 0)),
    CONSTRAINT quota_limits_requests_per_hour_check CHECK ((requests_per_hour >= 0)),
    CONSTRAINT quota_limits_requests_per_minute_check CHECK ((requests_per_minute >= 0)),
    CONSTRAINT quota_limits_scope_check CHECK ((scope = ANY (ARRAY['global'::text, 'organisation'::text, 'team'::text, 'user'::text, 'key'::text, 'model'::text, 'provider'::text, 'target'::text]))),
    CONSTRAINT quota_limits_tokens_per_day_check CHECK ((tokens_per_day >= 0)),
    CONSTRAINT quota_limits_tokens_per_hour_check CHECK ((tokens_per_hour >= 0)),
    CONSTRAINT quota_limits_tokens_per_minute_check CHECK ((tokens_per_minute >= 0))
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

CREATE TABLE public.team_members (
    team_id uuid NOT NULL,
    user_id uuid NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.teams (
    id uuid DEFAULT uuidv7() NOT NULL,
    name text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    organisation_id uuid,
    weight double precision DEFAULT 1 NOT NULL,
    disabled boolean DEFAULT false NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    deleted_at timestamp with time zone,
    CONSTRAINT teams_weight_check CHECK (((weight > (0)::double precision) AND (weight <= (1000)::double precision)))
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
    first_byte_ms integer,
    search_units bigint DEFAULT 0 NOT NULL,
    budget_period_ids bigint[],
    end_user text,
    tags text[]
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
    first_byte_ms integer,
    search_units bigint DEFAULT 0 CONSTRAINT usage_costs_search_units_not_null NOT NULL,
    budget_period_ids bigint[],
    end_user text,
    tags text[]
);

CREATE TABLE public.usage_daily (
    starts_at timestamp with time zone CONSTRAINT usage_hourly_starts_at_not_null NOT NULL,
    key_id uuid,
    team_id uuid,
    user_id uuid,
    model_name text,
    provider_name text,
    agent_id uuid,
    query_type text,
    requests bigint CONSTRAINT usage_hourly_requests_not_null NOT NULL,
    attempts bigint CONSTRAINT usage_hourly_attempts_not_null NOT NULL,
    errors bigint CONSTRAINT usage_hourly_errors_not_null NOT NULL,
    input_tokens bigint CONSTRAINT usage_hourly_input_tokens_not_null NOT NULL,
    output_tokens bigint CONSTRAINT usage_hourly_output_tokens_not_null NOT NULL,
    cached_tokens bigint CONSTRAINT usage_hourly_cached_tokens_not_null NOT NULL,
    cache_write_tokens bigint CONSTRAINT usage_hourly_cache_write_tokens_not_null NOT NULL,
    reasoning_tokens bigint CONSTRAINT usage_hourly_reasoning_tokens_not_null NOT NULL,
    audio_input_tokens bigint CONSTRAINT usage_hourly_audio_input_tokens_not_null NOT NULL,
    audio_output_tokens bigint CONSTRAINT usage_hourly_audio_output_tokens_not_null NOT NULL,
    image_input_tokens bigint CONSTRAINT usage_hourly_image_input_tokens_not_null NOT NULL,
    image_output_tokens bigint CONSTRAINT usage_hourly_image_output_tokens_not_null NOT NULL,
    search_units bigint CONSTRAINT usage_hourly_search_units_not_null NOT NULL,
    cost_nano_usd bigint CONSTRAINT usage_hourly_cost_nano_usd_not_null NOT NULL,
    estimated bigint CONSTRAINT usage_hourly_estimated_not_null NOT NULL,
    duration_ms bigint CONSTRAINT usage_hourly_duration_ms_not_null NOT NULL
)
WITH (fillfactor='70');

CREATE TABLE public.usage_daily_tags (
    starts_at timestamp with time zone CONSTRAINT usage_hourly_tags_starts_at_not_null NOT NULL,
    tag text CONSTRAINT usage_hourly_tags_tag_not_null NOT NULL,
    team_id uuid,
    requests bigint CONSTRAINT usage_hourly_tags_requests_not_null NOT NULL,
    attempts bigint CONSTRAINT usage_hourly_tags_attempts_not_null NOT NULL,
    errors bigint CONSTRAINT usage_hourly_tags_errors_not_null NOT NULL,
    input_tokens bigint CONSTRAINT usage_hourly_tags_input_tokens_not_null NOT NULL,
    output_tokens bigint CONSTRAINT usage_hourly_tags_output_tokens_not_null NOT NULL,
    cached_tokens bigint CONSTRAINT usage_hourly_tags_cached_tokens_not_null NOT NULL,
    cache_write_tokens bigint CONSTRAINT usage_hourly_tags_cache_write_tokens_not_null NOT NULL,
    reasoning_tokens bigint CONSTRAINT usage_hourly_tags_reasoning_tokens_not_null NOT NULL,
    audio_input_tokens bigint CONSTRAINT usage_hourly_tags_audio_input_tokens_not_null NOT NULL,
    audio_output_tokens bigint CONSTRAINT usage_hourly_tags_audio_output_tokens_not_null NOT NULL,
    image_input_tokens bigint CONSTRAINT usage_hourly_tags_image_input_tokens_not_null NOT NULL,
    image_output_tokens bigint CONSTRAINT usage_hourly_tags_image_output_tokens_not_null NOT NULL,
    search_units bigint CONSTRAINT usage_hourly_tags_search_units_not_null NOT NULL,
    cost_nano_usd bigint CONSTRAINT usage_hourly_tags_cost_nano_usd_not_null NOT NULL,
    estimated bigint CONSTRAINT usage_hourly_tags_estimated_not_null NOT NULL,
    duration_ms bigint CONSTRAINT usage_hourly_tags_duration_ms_not_null NOT NULL
)
WITH (fillfactor='70');

CREATE TABLE public.usage_hourly (
    starts_at timestamp with time zone NOT NULL,
    key_id uuid,
    team_id uuid,
    user_id uuid,
    model_name text,
    provider_name text,
    agent_id uuid,
    query_type text,
    requests bigint NOT NULL,
    attempts bigint NOT NULL,
    errors bigint NOT NULL,
    input_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL,
    cached_tokens bigint NOT NULL,
    cache_write_tokens bigint NOT NULL,
    reasoning_tokens bigint NOT NULL,
    audio_input_tokens bigint NOT NULL,
    audio_output_tokens bigint NOT NULL,
    image_input_tokens bigint NOT NULL,
    image_output_tokens bigint NOT NULL,
    search_units bigint NOT NULL,
    cost_nano_usd bigint NOT NULL,
    estimated bigint NOT NULL,
    duration_ms bigint NOT NULL
)
WITH (fillfactor='70');

CREATE TABLE public.usage_hourly_tags (
    starts_at timestamp with time zone NOT NULL,
    tag text NOT NULL,
    team_id uuid,
    requests bigint NOT NULL,
    attempts bigint NOT NULL,
    errors bigint NOT NULL,
    input_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL,
    cached_tokens bigint NOT NULL,
    cache_write_tokens bigint NOT NULL,
    reasoning_tokens bigint NOT NULL,
    audio_input_tokens bigint NOT NULL,
    audio_output_tokens bigint NOT NULL,
    image_input_tokens bigint NOT NULL,
    image_output_tokens bigint NOT NULL,
    search_units bigint NOT NULL,
    cost_nano_usd bigint NOT NULL,
    estimated bigint NOT NULL,
    duration_ms bigint NOT NULL
)
WITH (fillfactor='70');

CREATE TABLE public.user_standing (
    user_id uuid NOT NULL,
    disabled boolean DEFAULT false NOT NULL,
    deleted_at timestamp with time zone,
    updated_at timestamp with time zone DEFAULT now() NOT NULL
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

ALTER TABLE ONLY public.audit_log
    ADD CONSTRAINT audit_log_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.benchmark_results
    ADD CONSTRAINT benchmark_results_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.benchmark_suites
    ADD CONSTRAINT benchmark_suites_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.budget_alert_deliveries
    ADD CONSTRAINT budget_alert_deliveries_pkey PRIMARY KEY (alert_id, webhook);

ALTER TABLE ONLY public.budget_alerts
    ADD CONSTRAINT budget_alerts_period_id_kind_threshold_percent_key UNIQUE (period_id, kind, threshold_percent);

ALTER TABLE ONLY public.budget_alerts
    ADD CONSTRAINT budget_alerts_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.budget_periods
    ADD CONSTRAINT budget_periods_budget_id_end_user_starts_at_key UNIQUE (budget_id, end_user, starts_at);

ALTER TABLE ONLY public.budget_periods
    ADD CONSTRAINT budget_periods_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.context_relationships
    ADD CONSTRAINT context_relationships_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.conversation_contexts
    ADD CONSTRAINT conversation_contexts_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.cost_budgets
    ADD CONSTRAINT cost_budgets_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.gateway_batches
    ADD CONSTRAINT gateway_batches_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.gateway_batches
    ADD CONSTRAINT gateway_batches_provider_batch_id_key UNIQUE (provider, batch_id);

ALTER TABLE ONLY public.gateway_idempotent_requests
    ADD CONSTRAINT gateway_idempotent_requests_pkey PRIMARY KEY (scope);

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

ALTER TABLE ONLY public.organisations
    ADD CONSTRAINT organisations_name_key UNIQUE (name);

ALTER TABLE ONLY public.organisations
    ADD CONSTRAINT organisations_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.plugin_installations
    ADD CONSTRAINT plugin_installations_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.quota_limits
    ADD CONSTRAINT quota_limits_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.routing_rules
    ADD CONSTRAINT routing_rules_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.schema_migrations
    ADD CONSTRAINT schema_migrations_pkey PRIMARY KEY (version);

ALTER TABLE ONLY public.team_members
    ADD CONSTRAINT team_members_pkey PRIMARY KEY (team_id, user_id);

ALTER TABLE ONLY public.teams
    ADD CONSTRAINT teams_name_key UNIQUE (name);

ALTER TABLE ONLY public.teams
    ADD CONSTRAINT teams_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.usage_costs
    ADD CONSTRAINT usage_costs_pkey PRIMARY KEY (request_id, attempt, "timestamp");

ALTER TABLE ONLY public.usage_costs_default
    ADD CONSTRAINT usage_costs_default_pkey PRIMARY KEY (request_id, attempt, "timestamp");

ALTER TABLE ONLY public.user_standing
    ADD CONSTRAINT user_standing_pkey PRIMARY KEY (user_id);

ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (id);

CREATE INDEX agent_interactions_session_id_idx ON public.agent_interactions USING btree (session_id);

CREATE INDEX api_keys_team_id ON public.api_keys USING btree (team_id);

CREATE INDEX api_keys_user_id ON public.api_keys USING btree (user_id);

CREATE INDEX audit_log_object ON public.audit_log USING btree (object_type, object_id, id);

CREATE INDEX audit_log_team_id ON public.audit_log USING btree (team_id, id);

CREATE INDEX benchmark_results_suite_id_idx ON public.benchmark_results USING btree (suite_id, test_run_timestamp);

CREATE INDEX budget_alert_deliveries_due ON public.budget_alert_deliveries USING btree (next_attempt_at) WHERE (next_attempt_at IS NOT NULL);

CREATE INDEX budget_alerts_budget_id ON public.budget_alerts USING btree (budget_id, id);

CREATE INDEX budget_alerts_place ON public.budget_alerts USING btree (kind, place, raised_at) WHERE (place IS NOT NULL);

CREATE INDEX budget_periods_ends_at ON public.budget_periods USING btree (budget_id, ends_at);

CREATE INDEX context_relationships_child_context_id_idx ON public.context_relationships USING btree (child_context_id);

CREATE INDEX context_relationships_parent_context_id_idx ON public.context_relationships USING btree (parent_context_id);

CREATE INDEX conversation_contexts_expires_at_idx ON public.conversation_contexts USING btree (expires_at);

CREATE INDEX conversation_contexts_session_id_idx ON public.conversation_contexts USING btree (session_id);

CREATE INDEX conversation_contexts_user_id_idx ON public.conversation_contexts USING btree (user_id);

CREATE INDEX cost_budgets_scope ON public.cost_budgets USING btree (budget_scope, scope_identifier) WHERE (deleted_at IS NULL);

CREATE INDEX gateway_batches_due ON public.gateway_batches USING btree (ask_at) WHERE (metered_at IS NULL);

CREATE INDEX gateway_idempotent_requests_expires ON public.gateway_idempotent_requests USING btree (expires_at);

CREATE INDEX gateway_idempotent_requests_holder ON public.gateway_idempotent_requests USING btree (holder, created_at) WHERE (state = 'kept'::text);

CREATE INDEX gateway_objects_key ON public.gateway_objects USING btree (key_id, kind, id) WHERE (team_id IS NULL);

CREATE INDEX gateway_objects_object ON public.gateway_objects USING btree (kind, object_id);

CREATE INDEX gateway_objects_team ON public.gateway_objects USING btree (team_id, kind, id) WHERE (team_id IS NOT NULL);

CREATE INDEX gateway_responses_expires ON public.gateway_responses USING btree (expires_at);

CREATE INDEX gateway_responses_items ON public.gateway_responses USING gin (item_ids);

CREATE UNIQUE INDEX llm_models_managed_name ON public.llm_models USING btree (model_name) WHERE (managed_by IS NOT NULL);

CREATE INDEX llm_models_provider_id_idx ON public.llm_models USING btree (provider_id);

CREATE INDEX model_performance_history_model_id_timestamp_idx ON public.model_performance_history USING btree (model_id, "timestamp");

CREATE UNIQUE INDEX quota_limits_one_a_scope ON public.quota_limits USING btree (scope, subject, COALESCE(model, ''::text)) WHERE (deleted_at IS NULL);

CREATE INDEX team_members_user_id ON public.team_members USING btree (user_id);

CREATE INDEX teams_organisation_id ON public.teams USING btree (organisation_id);

CREATE UNIQUE INDEX usage_daily_cube ON public.usage_daily USING btree (starts_at, key_id, team_id, user_id, model_name, provider_name, agent_id, query_type) NULLS NOT DISTINCT;

CREATE INDEX usage_daily_key_id ON public.usage_daily USING btree (key_id, starts_at);

CREATE UNIQUE INDEX usage_daily_tags_cube ON public.usage_daily_tags USING btree (starts_at, tag, team_id) NULLS NOT DISTINCT;

CREATE UNIQUE INDEX usage_hourly_cube ON public.usage_hourly USING btree (starts_at, key_id, team_id, user_id, model_name, provider_name, agent_id, query_type) NULLS NOT DISTINCT;

CREATE UNIQUE INDEX usage_hourly_tags_cube ON public.usage_hourly_tags USING btree (starts_at, tag, team_id) NULLS NOT DISTINCT;

ALTER INDEX public.usage_costs_pkey ATTACH PARTITION public.usage_costs_default_pkey;

CREATE TRIGGER api_keys_announce_delete AFTER DELETE ON public.api_keys REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION public.gateway_announce_changes();

CREATE TRIGGER api_keys_announce_insert AFTER INSERT ON public.api_keys REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION public.gateway_announce_changes();

CREATE TRIGGER api_keys_announce_truncate AFTER TRUNCATE ON public.api_keys FOR EACH STATEMENT EXECUTE FUNCTION public.gateway_announce_reload();

CREATE TRIGGER api_keys_announce_update AFTER UPDATE ON public.api_keys REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION public.gateway_announce_changes();

CREATE TRIGGER audit_log_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.audit_log FOR EACH STATEMENT EXECUTE FUNCTION public.audit_log_is_append_only();

CREATE TRIGGER budget_periods_announce_insert AFTER INSERT ON public.budget_periods FOR EACH ROW WHEN ((new.end_user = ''::text)) EXECUTE FUNCTION public.gateway_announce_row('cost_budgets', 'budget_id');

CREATE TRIGGER budget_periods_announce_update AFTER UPDATE ON public.budget_periods FOR EACH ROW WHEN (((old.topped_up_nano_usd IS DISTINCT FROM new.topped_up_nano_usd) OR (old.released_nano_usd IS DISTINCT FROM new.released_nano_usd) OR (old.lost_nano_usd IS DISTINCT FROM new.lost_nano_usd) OR (old.ends_at IS DISTINCT FROM new.ends_at))) EXECUTE FUNCTION public.gateway_announce_row('cost_budgets', 'budget_id');

CREATE TRIGGER cost_budgets_announce_insert AFTER INSERT ON public.cost_budgets REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION public.gateway_announce_changes();

CREATE TRIGGER cost_budgets_announce_update AFTER UPDATE ON public.cost_budgets FOR EACH ROW WHEN (((to_jsonb(old.*) - 'current_usage'::text) IS DISTINCT FROM (to_jsonb(new.*) - 'current_usage'::text))) EXECUTE FUNCTION public.gateway_announce_row('cost_budgets', 'id');

CREATE TRIGGER llm_models_announce_delete AFTER DELETE ON public.llm_models REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION public.gateway_announce_changes();

CREATE TRIGGER llm_models_announce_insert AFTER INSERT ON public.llm_models REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION public.gateway_announce_changes();

CREATE TRIGGER llm_models_announce_truncate AFTER TRUNCATE ON public.llm_models FOR EACH STATEMENT EXECUTE FUNCTION public.gateway_announce_reload();

CREATE TRIGGER llm_models_announce_update AFTER UPDATE ON public.llm_models REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION public.gateway_announce_changes();

CREATE TRIGGER llm_providers_announce_delete AFTER DELETE ON public.llm_providers REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION public.gateway_announce_changes();

CREATE TRIGGER llm_providers_announce_insert AFTER INSERT ON public.llm_providers REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION public.gateway_announce_changes();

CREATE TRIGGER llm_providers_announce_truncate AFTER TRUNCATE ON public.llm_providers FOR EACH STATEMENT EXECUTE FUNCTION public.gateway_announce_reload();

CREATE TRIGGER llm_providers_announce_update AFTER UPDATE ON public.llm_providers REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION public.gateway_announce_changes();

CREATE TRIGGER organisations_announce_update AFTER UPDATE ON public.organisations REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION public.gateway_announce_changes();

CREATE TRIGGER quota_limits_announce_insert AFTER INSERT ON public.quota_limits REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION public.gateway_announce_changes();

CREATE TRIGGER quota_limits_announce_update AFTER UPDATE ON public.quota_limits REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION public.gateway_announce_changes();

CREATE TRIGGER team_members_announce_delete AFTER DELETE ON public.team_members REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION public.gateway_announce_members();

CREATE TRIGGER team_members_announce_insert AFTER INSERT ON public.team_members REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION public.gateway_announce_members();

CREATE TRIGGER teams_announce_members AFTER UPDATE ON public.teams FOR EACH ROW WHEN (((old.organisation_id IS DISTINCT FROM new.organisation_id) OR ((old.deleted_at IS NULL) <> (new.deleted_at IS NULL)))) EXECUTE FUNCTION public.gateway_announce_members_of_team();

CREATE TRIGGER teams_announce_update AFTER UPDATE ON public.teams REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION public.gateway_announce_changes();

CREATE TRIGGER usage_costs_roll_up AFTER INSERT ON public.usage_costs REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT EXECUTE FUNCTION public.usage_costs_roll_up();

CREATE TRIGGER user_standing_announce AFTER INSERT OR UPDATE ON public.user_standing FOR EACH ROW EXECUTE FUNCTION public.gateway_announce_row('users', 'user_id');

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

ALTER TABLE ONLY public.budget_alert_deliveries
    ADD CONSTRAINT budget_alert_deliveries_alert_id_fkey FOREIGN KEY (alert_id) REFERENCES public.budget_alerts(id);

ALTER TABLE ONLY public.budget_alerts
    ADD CONSTRAINT budget_alerts_budget_id_fkey FOREIGN KEY (budget_id) REFERENCES public.cost_budgets(id);

ALTER TABLE ONLY public.budget_alerts
    ADD CONSTRAINT budget_alerts_period_id_fkey FOREIGN KEY (period_id) REFERENCES public.budget_periods(id);

ALTER TABLE ONLY public.budget_periods
    ADD CONSTRAINT budget_periods_budget_id_fkey FOREIGN KEY (budget_id) REFERENCES public.cost_budgets(id);

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

ALTER TABLE ONLY public.team_members
    ADD CONSTRAINT team_members_team_id_fkey FOREIGN KEY (team_id) REFERENCES public.teams(id);

ALTER TABLE ONLY public.team_members
    ADD CONSTRAINT team_members_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.teams
    ADD CONSTRAINT teams_organisation_id_fkey FOREIGN KEY (organisation_id) REFERENCES public.organisations(id);

ALTER TABLE ONLY public.user_standing
    ADD CONSTRAINT user_standing_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE;
