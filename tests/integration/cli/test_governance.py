"""`kubechat-gateway limits|budgets …` on a database by URL."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import asyncpg
import click
import orjson
import pytest
from click.testing import CliRunner, Result

from gateway.assembly.options import end_users_keys
from gateway.cli.budgets import budgets
from gateway.cli.database import operator
from gateway.cli.limits import limits
from gateway.pipeline.reporting import Reporting
from gateway.services.keys.secret import Secrets
from gateway.store.postgres import Postgres
from tests.integration.services.governed import add_key

UNKNOWN = "00000000-0000-0000-0000-000000000007"


@pytest.fixture
def database(database_url: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch) -> Mapping[str, Any]:
    where = quote(str(database_url["host"]), safe="")
    url = f"postgresql://{database_url['user']}@{where}:{database_url.get('port', 5432)}/{database_url['database']}"
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.delenv("GATEWAY_SECRET_KEY", raising=False)
    return database_url


async def run(command: click.Command, *arguments: str) -> Result:
    # The command has an event loop of its own.
    return await asyncio.to_thread(CliRunner().invoke, command, list(arguments))


async def done(command: click.Command, *arguments: str) -> Any:
    result = await run(command, *arguments, "--json")
    assert result.exit_code == 0, result.output
    return orjson.loads(result.stdout)


async def test_limits_are_set_listed_changed_and_deleted(database: Mapping[str, Any]) -> None:
    made = await done(limits, "set", "model", "fast", "--rpm", "60", "--max-concurrency", "0")
    assert (made["requests_per_minute"], made["max_concurrency"], made["tokens_per_minute"]) == (60, 0, None)
    again = await done(limits, "set", "model", "fast", "--tpm", "1000", "--on-store-failure", "deny")
    assert (again["id"], again["requests_per_minute"], again["tokens_per_minute"]) == (made["id"], None, 1000)
    changed = await done(limits, "change", made["id"], "--tokens-per-minute", "none", "--requests-per-day", "7")
    assert (changed["tokens_per_minute"], changed["requests_per_day"]) == (None, 7)
    everybody = await done(limits, "set", "global", "--rpm", "600")
    assert everybody["subject"] == ""
    assert [one["id"] for one in await done(limits, "list")] == [everybody["id"], made["id"]]
    assert [one["id"] for one in await done(limits, "list", "--scope", "model", "--subject", "fast")] == [made["id"]]
    shown = await run(limits, "show", made["id"])
    assert "requests_per_day: 7" in shown.stdout
    assert (await done(limits, "delete", made["id"]))["deleted"]
    assert "600" in (await run(limits, "list")).stdout
    refused = await run(limits, "show", made["id"])
    assert refused.exit_code == 1
    assert "There is no limit" in refused.output


async def test_budgets_are_made_topped_up_reset_changed_and_deleted(database: Mapping[str, Any]) -> None:
    made = await done(
        budgets, "create", "global", "--limit-usd", "0.30", "--period", "day", "--time-zone", "Asia/Tokyo"
    )
    assert (made["limit_usd"], made["period"], made["time_zone"]) == (0.3, "day", "Asia/Tokyo")
    assert (await done(budgets, "top-up", made["id"], "0.2"))["remaining_usd"] == 0.5
    shown = await run(budgets, "show", made["id"])
    for line in ("limit_usd: 0.3", "thresholds: 50 %, 80 %, 100 %", "topped_up_usd: 0.2", "remaining_usd: 0.5"):
        assert line in shown.stdout
    assert (await done(budgets, "reset", made["id"]))["remaining_usd"] == 0.3
    options = ("--soft", "--threshold", "90", "--unbounded-usd", "1", "--limit-usd", "5")
    changed = await done(budgets, "change", made["id"], *options)
    assert (changed["hard"], changed["thresholds"], changed["unbounded_usd"], changed["limit_usd"]) == (
        False,
        [90],
        1,
        5,
    )
    assert (await done(budgets, "change", made["id"], "--unbounded-usd", "none"))["unbounded_usd"] is None
    assert [one["id"] for one in await done(budgets, "list", "--scope", "global")] == [made["id"]]
    assert "global" in (await run(budgets, "list")).stdout
    assert (await done(budgets, "delete", made["id"]))["deleted"]
    assert await done(budgets, "list") == []
    connection = await asyncpg.connect(**database)
    try:
        assert {row["actor"] for row in await connection.fetch("SELECT actor FROM audit_log")} == {operator().name}
    finally:
        await connection.close()


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        (limits, ("set", "galaxy", "--rpm", "1"), "is not one of"),
        (limits, ("set", "global", "--rpm", "many"), "neither a whole number nor `none`"),
        (limits, ("set", "global", "--rpm", "²"), "neither a whole number nor `none`"),
        (limits, ("set", "global"), "at least one of"),
        (limits, ("set", "team", "core", "--rpm", "1"), "must be the id of a team"),
        (limits, ("change", UNKNOWN, "--rpm", "1"), "There is no limit"),
        (budgets, ("create", "global", "--limit-usd", "lots"), "must be a number of US dollars"),
        (budgets, ("create", "key", UNKNOWN, "--limit-usd", "1"), "there is no key with the id"),
        (budgets, ("change", UNKNOWN), "Nothing to change"),
        (budgets, ("top-up", UNKNOWN, "1"), "There is no budget"),
    ],
)
async def test_what_makes_no_sense_is_refused_with_its_reason(
    database: Mapping[str, Any], command: click.Command, arguments: tuple[str, ...], message: str
) -> None:
    result = await run(command, *arguments)
    assert result.exit_code != 0
    assert message in result.output


async def test_an_end_user_is_named_as_its_periods_name_it(
    database: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_SECRET_KEY", base64.b64encode(bytes(range(32))).decode())
    key = end_users_keys(Secrets.read(os.environ, None))[0]
    hashed = Reporting(max_tags=0, max_users=0, hash_key=key).end_user({"user": "ann"})
    postgres = await Postgres.open(database)
    try:
        key_id = await add_key(postgres)
        made = await done(budgets, "create", "end_user", key_id, "--limit-usd", "1")
        refused = await run(budgets, "top-up", made["id"], "2", "--end-user", "ann")
        assert (refused.exit_code, "has no period of this user" in refused.output) == (1, True)
        assert await postgres.fetchval("SELECT count(*) FROM budget_periods") == 0
        opened = "INSERT INTO budget_periods (budget_id, end_user, starts_at) VALUES ($1, $2, now())"
        await postgres.execute(opened, made["id"], hashed)
        for name in ("ann", hashed):
            await done(budgets, "top-up", made["id"], "2", "--end-user", name)
        assert (await done(budgets, "show", made["id"], "--end-user", "ann"))["current"]["topped_up_usd"] == 4
        assert await postgres.fetchval("SELECT count(*) FROM budget_periods") == 1
        assert "ann" not in str(await postgres.fetch("SELECT after FROM audit_log"))
    finally:
        await postgres.close()
