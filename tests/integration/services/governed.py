"""Whom limits and budgets are set on, in a real database."""

from __future__ import annotations

import secrets
import uuid

import pytest

from gateway.errors import GatewayError
from gateway.store.audit import Actor
from gateway.store.postgres import Postgres

ACTOR = Actor("the owner", "owner", "192.0.2.7")
UNKNOWN = "00000000-0000-0000-0000-000000000007"


async def add_team(postgres: Postgres, name: str) -> str:
    """A new team's id."""
    return str(await postgres.fetchval("INSERT INTO teams (name) VALUES ($1) RETURNING id", name))


async def add_user(postgres: Postgres, name: str) -> str:
    """A new user's id."""
    return str(await postgres.fetchval("INSERT INTO users (name) VALUES ($1) RETURNING id", name))


async def add_organisation(postgres: Postgres, name: str) -> str:
    """A new organisation's id."""
    return str(await postgres.fetchval("INSERT INTO organisations (name) VALUES ($1) RETURNING id", name))


async def add_key(postgres: Postgres, *, team_id: str | None = None, rotated_from: str | None = None) -> str:
    """A new key's id."""
    await postgres.execute("INSERT INTO gateway_secret (fingerprint) VALUES ('\\x01') ON CONFLICT DO NOTHING")
    made = await postgres.fetchval(
        "INSERT INTO api_keys (name, key_hash, secret_fingerprint, key_hint, team_id, rotated_from) "
        "VALUES ('app', $1, '\\x01', 'sk-…', $2, $3) RETURNING id",
        secrets.token_bytes(32),
        team_id and uuid.UUID(team_id),
        rotated_from and uuid.UUID(rotated_from),
    )
    return str(made)


async def audited(postgres: Postgres) -> list[tuple[str, str]]:
    """What the audit log has, oldest first: actions and object types."""
    rows = await postgres.fetch("SELECT action, object_type FROM audit_log ORDER BY id")
    return [(row["action"], row["object_type"]) for row in rows]


def refusal(raised: pytest.ExceptionInfo[GatewayError]) -> tuple[str, str | None]:
    """The code of an error, and the field that it names."""
    return raised.value.code, raised.value.param
