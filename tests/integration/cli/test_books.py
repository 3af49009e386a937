"""`kubechat-gateway budgets verify|holders|write-off` on a database and a Valkey by URL."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner, Result

from gateway.cli.budgets import budgets
from gateway.services.budgets.books import Account
from gateway.store.embedded import StoreAddresses
from gateway.store.postgres import Postgres
from gateway.store.valkey import Valkey
from tests.integration.cli.test_governance import database
from tests.integration.services.money import Site, Worker

__all__ = ["database"]


@pytest.fixture
async def site(
    database: Mapping[str, Any],
    stores: StoreAddresses,
    valkey: Valkey,
    postgres: Postgres,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Site]:
    assert stores.valkey is not None
    monkeypatch.setenv("REDIS_URL", stores.valkey)
    made = Site(postgres, valkey, tmp_path)
    yield made
    await made.close()


async def run(*arguments: str) -> Result:
    # The command has an event loop of its own.
    return await asyncio.to_thread(CliRunner().invoke, budgets, list(arguments))


async def spent(site: Site) -> tuple[Account, Worker]:
    """A budget of which a worker has spent something."""
    account = await site.budget()
    worker = await site.hire()
    assert await worker.attempt(account)
    await site.quiet(worker)
    return account, worker


async def test_verify_says_that_all_agree_with_status_0(site: Site) -> None:
    await spent(site)
    result = await run("verify")
    assert (result.exit_code, result.stdout) == (0, "1 periods and 1 counters: no differences\n")


async def test_verify_shows_what_differs_with_status_1_and_repairs_it_when_asked(site: Site) -> None:
    account, worker = await spent(site)
    await site.postgres.execute("UPDATE budget_periods SET settled_nano_usd = 20000")
    await site.valkey.client.hset(await site.key(account, worker), "s", "30000")
    result = await run("verify")
    assert result.exit_code == 1
    for words in ("settled, by the ledger's rows", "0.000020000", "0.000012345", "0.000030000", account.budget_id):
        assert words in result.stdout
    assert "1 periods and 1 counters: 2 differences" in result.stdout
    as_json = await run("verify", "--json")
    assert as_json.exit_code == 1
    found = orjson.loads(as_json.stdout)["differences"]
    assert [(one["figure"], one["found_nano_usd"], one["expected_nano_usd"]) for one in found] == [
        ("settled", 20_000, 12_345),
        ("counter", 30_000, 20_000),
    ]
    repaired = await run("verify", "--repair")
    assert repaired.exit_code == 0
    assert "repaired; none left" in repaired.stdout
    assert (await run("verify", "--all")).exit_code == 0
    assert await site.settled_in_valkey(account) == 12_345


async def test_verify_ends_with_status_2_where_it_cannot_look(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    result = await run("verify")
    assert result.exit_code == 2
    assert "not available" in result.output


async def test_where_no_gateway_runs_the_database_alone_is_verified(
    site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    await spent(site)
    monkeypatch.delenv("REDIS_URL")
    await site.postgres.execute("UPDATE budget_periods SET settled_nano_usd = 20000")
    home = ("--home", str(tmp_path / "home"))
    result = await run("verify", "--repair", *home)
    assert (result.exit_code, "Valkey is not running here: 1 differences" in result.stdout) == (0, True)
    refused = await run("holders", *home)
    assert (refused.exit_code, "No gateway runs here" in refused.output) == (1, True)


async def test_holders_are_shown_and_a_lost_one_is_written_off(site: Site) -> None:
    account, worker = await spent(site)
    listed = await run("holders")
    assert "alive" in listed.stdout
    assert worker.id in listed.stdout
    refused = await run("write-off", worker.id)
    assert (refused.exit_code, "is alive" in refused.output) == (1, True)
    await site.die(worker)
    await site.silence(worker, 1)
    (found,) = orjson.loads((await run("holders", "--json")).stdout)
    assert (found["worker"], found["state"], list(found["periods"])) == (worker.id, "silent", [str(account.period_id)])
    done = await run("write-off", worker.id)
    assert (done.exit_code, done.stdout) == (0, f"written off: {found['held_usd']:.9f} USD, of 1 budgets\n")
    assert orjson.loads((await run("holders", "--json")).stdout) == []
    (settled,) = orjson.loads((await run("holders", "--all", "--json")).stdout)
    assert (settled["state"], settled["held_usd"]) == ("settled", 0)
    shown = orjson.loads((await run("show", account.budget_id, "--json")).stdout)
    assert shown["current"]["lost_usd"] == found["held_usd"]
    assert (await run("verify")).exit_code == 0
    unknown = await run("write-off", str(uuid.uuid4()))
    assert (unknown.exit_code, "There is no worker" in unknown.output) == (1, True)
    assert (await run("write-off", "it")).exit_code == 2
