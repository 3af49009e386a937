"""The schema that all migrations make: equal to schema.sql, and holding what was promised to other services."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway.store.migrate import CONTRACT, EXPAND, apply
from gateway.store.postgres import Postgres
from gateway.store.schema_dump import dump

_SCHEMA = Path(__file__).parents[3] / "schema.sql"

# The tables and columns that KubeChat's services rely on, as they were promised.
_PROMISED = {
    "llm_providers": (
        "id provider_name provider_type api_endpoint authentication_type max_tokens rate_limits "
        "supported_models configuration enabled created_at updated_at "
    ),
    "llm_models": (
        "id provider_id model_name model_version model_type context_length input_cost_per_token "
        "output_cost_per_token performance_metrics specializations enabled created_at "
    ),
    "routing_rules": (
        "id rule_name priority query_patterns model_preferences cost_constraints "
        "performance_requirements enabled created_by created_at "
    ),
    "model_performance_history": (
        "id model_id query_type response_quality_score response_time_ms cost_per_query user_satisfaction "
        "timestamp session_id "
    ),
    "ai_agents": (
        "id agent_name agent_domain description specialized_prompt knowledge_base preferred_models "
        "performance_metrics enabled created_at updated_at "
    ),
    "agent_interactions": (
        "id agent_id user_id session_id query response confidence_score handoff_to_agent user_feedback timestamp "
    ),
    "conversation_contexts": (
        "id user_id session_id context_type context_summary context_embeddings relevance_score "
        "created_at last_accessed expires_at "
    ),
    "context_relationships": "id parent_context_id child_context_id relationship_type relationship_strength created_at",
    "usage_costs": (
        "id user_id session_id model_id provider_id input_tokens output_tokens cost_amount query_type "
        "timestamp agent_id "
    ),
    "cost_budgets": (
        "id budget_name budget_scope scope_identifier monthly_limit current_usage alert_thresholds "
        "reset_day created_at "
    ),
    "benchmark_suites": (
        "id suite_name description test_queries evaluation_criteria target_domains created_at updated_at "
    ),
    "benchmark_results": (
        "id suite_id model_id test_run_timestamp accuracy_score response_time_avg_ms cost_per_test "
        "quality_metrics detailed_results "
    ),
    "advanced_ai_features": (
        "id feature_name feature_type description supported_models configuration usage_metrics enabled created_at "
    ),
    "multimodal_interactions": (
        "id user_id session_id input_type input_content input_media_url output_type output_content "
        "output_media_url processing_time_ms timestamp "
    ),
    "ai_plugins": (
        "id plugin_name plugin_version developer_id description category installation_count rating price "
        "enabled verified created_at "
    ),
    "plugin_installations": "id plugin_id user_id installed_at active configuration",
}


async def test_schema_sql_equals_all_migrations_applied(database_url: Mapping[str, Any]) -> None:
    made = await asyncio.to_thread(dump, database_url)
    assert made == await asyncio.to_thread(_SCHEMA.read_text, encoding="utf-8"), "run `make schema`"


async def test_every_promised_table_and_column_is_there(postgres: Postgres) -> None:
    rows = await postgres.fetch(
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"
    )
    present = {(row["table_name"], row["column_name"]) for row in rows}
    promised = {(table, column) for table, columns in _PROMISED.items() for column in columns.split()}
    assert promised - present == set()


async def test_no_time_is_without_its_zone(postgres: Postgres) -> None:
    rows = await postgres.fetch(
        "SELECT table_name, column_name FROM information_schema.columns"
        " WHERE table_schema = 'public' AND data_type = 'timestamp without time zone'"
    )
    assert [tuple(row) for row in rows] == []


async def test_money_keeps_its_last_nano_dollar_and_prices_their_last_femto_dollar(postgres: Postgres) -> None:
    rows = await postgres.fetch(
        "SELECT table_name || '.' || column_name AS name, numeric_precision AS digits, numeric_scale AS scale"
        " FROM information_schema.columns WHERE table_schema = 'public'"
    )
    types = {row["name"]: (row["digits"], row["scale"]) for row in rows}
    for price in ("llm_models.input_cost_per_token", "llm_models.output_cost_per_token"):
        assert types[price] == (20, 15)
    for cost in (
        "model_performance_history.cost_per_query",
        "cost_budgets.monthly_limit",
        "cost_budgets.current_usage",
    ):
        assert types[cost] == (18, 9)


async def test_a_users_table_that_was_there_before_is_left_as_it_is(empty_database_url: Mapping[str, Any]) -> None:
    postgres = await Postgres.open(empty_database_url)
    await postgres.execute("CREATE TABLE users (id UUID PRIMARY KEY, login TEXT NOT NULL)")
    await postgres.execute("INSERT INTO users VALUES ('11111111-1111-1111-1111-111111111111', 'ann')")
    await apply(postgres, kinds=(EXPAND, CONTRACT))
    assert await postgres.fetchval("SELECT login FROM users") == "ann"
    columns = await postgres.fetch("SELECT column_name FROM information_schema.columns WHERE table_name = 'users'")
    assert {row["column_name"] for row in columns} == {"id", "login"}
    await postgres.close()


@pytest.mark.parametrize("dimensions", [1536])
async def test_embeddings_of_the_promised_size_can_be_searched(postgres: Postgres, dimensions: int) -> None:
    for first in (0.0, 1.0):
        vector = "[" + ",".join(str(first if n == 0 else 0.5) for n in range(dimensions)) + "]"
        await postgres.execute(
            "INSERT INTO conversation_contexts (context_summary, context_embeddings) VALUES ($1, $2::text::vector)",
            str(first),
            vector,
        )
    nearest = await postgres.fetchval(
        "SELECT context_summary FROM conversation_contexts"
        " ORDER BY context_embeddings <-> (SELECT context_embeddings FROM conversation_contexts"
        " WHERE context_summary = '1.0') LIMIT 1"
    )
    assert nearest == "1.0"
