"""`kubechat-gateway organisations|teams|users …` on a database by URL, which a person then finds in the audit log."""

from __future__ import annotations

import asyncio
import os
import pwd
import socket
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import asyncpg
import orjson
import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.cli.database import operator
from gateway.services.audit.service import AuditFilter, AuditLog
from gateway.store.audit import Actor, note
from gateway.store.postgres import Postgres

UNKNOWN = "00000000-0000-0000-0000-000000000007"


@pytest.fixture
def database(database_url: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch) -> Mapping[str, Any]:
    where = quote(str(database_url["host"]), safe="")
    url = f"postgresql://{database_url['user']}@{where}:{database_url.get('port', 5432)}/{database_url['database']}"
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.delenv("GATEWAY_SECRET_KEY", raising=False)
    return database_url


async def run(*arguments: str) -> Result:
    # The command has an event loop of its own.
    return await asyncio.to_thread(CliRunner().invoke, main, list(arguments))


async def done(*arguments: str) -> Any:
    result = await run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return orjson.loads(result.stdout)


async def test_who_pays_is_made_listed_changed_and_deleted_without_the_gateways_secret(
    database: Mapping[str, Any],
) -> None:
    acme = await done("organisations", "create", "acme")
    team = await done("teams", "create", "core", "--organisation-id", acme["id"], "--weight", "2.5")
    user = await done("users", "create", "--email", "alice@example.com")
    assert (team["organisation"], team["weight"], user["email"]) == ("acme", 2.5, "alice@example.com")
    assert (await done("teams", "add-member", team["id"], user["id"]))["team_id"] == team["id"]
    assert [member["id"] for member in await done("teams", "members", team["id"])] == [user["id"]]
    assert [found["id"] for found in await done("users", "list", "--team-id", team["id"])] == [user["id"]]
    changed = await done("teams", "change", team["id"], "--organisation-id", "none", "--disable")
    assert (changed["organisation_id"], changed["disabled"], changed["weight"]) == (None, True, 2.5)
    assert (await done("users", "change", user["id"], "--name", "Alice", "--disable"))["disabled"]
    assert (await done("organisations", "change", acme["id"], "--name", "acme & co"))["name"] == "acme & co"
    assert (await done("teams", "remove-member", team["id"], user["id"]))["deleted"]
    for what, made in (("teams", team), ("users", user), ("organisations", acme)):
        assert (await done(what, "delete", made["id"]))["deleted"]
        assert await done(what, "list") == []
        assert [found["id"] for found in await done(what, "list", "--all")] == [made["id"]]
        assert (await done(what, "show", made["id"]))["deleted_at"]
    connection = await asyncpg.connect(**database)
    rows = await connection.fetch("SELECT DISTINCT actor, actor_role, client_ip FROM audit_log")
    noted = await connection.fetchval("SELECT count(*) FROM audit_log")
    await connection.close()
    user = pwd.getpwuid(os.getuid()).pw_name
    assert [tuple(row) for row in rows] == [(f"cli:{user}@{socket.gethostname()}", "master", None)]
    assert noted == 11


async def test_for_people_there_are_tables_and_lines(database: Mapping[str, Any]) -> None:
    made = await run("teams", "create", "core")
    assert "name: core" in made.output
    listed = await run("teams", "list")
    assert "core" in listed.output
    assert "WEIGHT" in listed.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("teams", "show", UNKNOWN), "no team with the id"),
        (("teams", "show", "x"), "no team with this id"),
        (("teams", "change", UNKNOWN), "Nothing to change"),
        (("teams", "create", "core", "--weight", "0"), "greater than 0"),
        (("users", "create"), "Give a `name` or an `email`"),
        (("users", "create", "--email", "nobody"), "email"),
        (("organisations", "create", " "), "at least 1 character"),
    ],
)
async def test_what_cannot_be_done_is_said_without_a_traceback(
    database: Mapping[str, Any], arguments: tuple[str, ...], words: str
) -> None:
    result = await run(*arguments)
    assert result.exit_code == 1
    assert words in result.output
    assert "Traceback" not in result.output


def test_a_user_without_a_name_is_told_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_001)
    assert operator().name == f"cli:4000000001@{socket.gethostname()}"


async def test_the_actor_cli_is_everybody_on_the_command_line(postgres: Postgres) -> None:
    async def write(connection: Any) -> None:
        for name in ("cli:ann@one", "cli:bob@two", "cli", "client", "master"):
            await note(connection, Actor(name, "master"), "made", "thing", name, None, {})

    await postgres.in_transaction(write)

    async def found(actor: str) -> list[str]:
        rows, _ = await AuditLog(postgres).page(AuditFilter(actor=actor))
        return [row.actor for row in reversed(rows)]

    assert await found("cli") == ["cli:ann@one", "cli:bob@two", "cli"]
    assert await found("cli:bob@two") == ["cli:bob@two"]
    assert await found("master") == ["master"]
