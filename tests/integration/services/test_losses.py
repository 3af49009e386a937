"""What workers held whose journal is gone for good, on a real PostgreSQL and Valkey."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.errors import GatewayError
from gateway.services.budgets.books import Account
from gateway.services.budgets.losses import Losses
from gateway.services.ledger.service import Ledger
from gateway.store.audit import CLI
from gateway.store.postgres import Postgres
from gateway.store.valkey import Valkey
from tests.integration.services.governed import audited
from tests.integration.services.money import LIMIT, Site, Worker

HOURS = 24
COST = 12_345  # of one attempt


@pytest.fixture
async def site(postgres: Postgres, valkey: Valkey, tmp_path: Path) -> AsyncIterator[Site]:
    made = Site(postgres, valkey, tmp_path)
    yield made
    await made.close()


@pytest.fixture
def losses(site: Site) -> Losses:
    return Losses(site.postgres, site.inspection)


async def lost_worker(site: Site, account: Account, hours: float = HOURS + 1) -> tuple[Worker, int]:
    """One that died with its disk, so long ago; and what it holds."""
    worker = await site.hire()
    assert await worker.attempt(account)
    await site.quiet(worker)
    await site.die(worker)
    await site.silence(worker, hours)
    return worker, (await site.held(account))[worker.id]


async def test_what_a_lost_worker_held_counts_as_spent_once_whoever_sees_it(
    site: Site, losses: Losses, caplog: pytest.LogCaptureFixture
) -> None:
    account, other = await site.budget(), await site.budget()
    worker, held = await lost_worker(site, account)
    assert held > 0
    living = await site.hire()
    assert await living.attempt(other)
    with caplog.at_level(logging.WARNING, "gateway.budgets"):
        done = await asyncio.gather(*(losses.write_off_silent(HOURS) for _ in range(5)))
    assert sorted(done) == [0, 0, 0, 0, 1]
    after = await site.account(account.period_id)
    assert (after.lost, after.settled) == (held, after.rows)
    assert await site.held(account) == {}
    assert await site.settled_in_valkey(account) == after.total
    assert (await site.account(other.period_id)).lost == 0
    assert living.id in await site.held(other)
    rows = await site.postgres.fetch("SELECT actor, action, object_id, before, after FROM audit_log WHERE id > 2")
    assert [(row["actor"], row["action"], row["object_id"]) for row in rows] == [
        ("gateway", "lost", account.budget_id),
        ("gateway", "written_off", worker.id),
    ]
    assert (rows[0]["before"]["lost_nano_usd"], rows[0]["after"]["lost_nano_usd"]) == (0, held)
    assert f"{held / 1e9:.9f} USD" in caplog.text
    assert await site.figures() == []


async def test_the_rest_of_the_budget_can_be_spent_and_no_more(site: Site, losses: Losses) -> None:
    account = await site.budget()
    _, held = await lost_worker(site, account)
    assert await losses.write_off_silent(HOURS) == 1
    worker = await site.hire()
    counter = worker.counter(account)
    left = LIMIT - (await site.account(account.period_id)).total
    assert await worker.quota.acquire([(counter, left + 1)]) is not None
    await asyncio.sleep(0.05)
    assert await worker.quota.acquire([(counter, left)]) is None
    assert left < LIMIT - held


async def test_a_worker_is_not_lost_before_its_time_nor_while_a_store_hears_of_it(site: Site, losses: Losses) -> None:
    account = await site.budget()
    worker, held = await lost_worker(site, account, HOURS - 1)
    cut_off = await site.hire()
    assert await cut_off.attempt(account)
    await site.postgres.execute(
        "UPDATE gateway_workers SET last_seen = now() - interval '3 days' WHERE id = $1", uuid.UUID(cut_off.id)
    )
    assert await losses.write_off_silent(HOURS) == 0
    assert (await site.held(account))[worker.id] == held
    for alive in (cut_off, await site.hire()):
        with pytest.raises(GatewayError, match="is alive") as raised:
            await losses.write_off(uuid.UUID(alive.id), CLI)
        assert raised.value.code == "conflict"
    assert (await site.account(account.period_id)).lost == 0


async def test_an_operator_need_not_wait(site: Site, losses: Losses) -> None:
    account = await site.budget()
    worker, held = await lost_worker(site, account, hours=0.1)
    found = {one.worker: one for one in await losses.holders()}
    assert (found[worker.id].state, found[worker.id].held) == ("silent", {account.period_id: held})
    assert await losses.write_off(uuid.UUID(worker.id), CLI) == {account.period_id: held}
    with pytest.raises(GatewayError, match="has stopped, or its journal was copied"):
        await losses.write_off(uuid.UUID(worker.id), CLI)
    with pytest.raises(GatewayError) as raised:
        await losses.write_off(uuid.uuid4(), CLI)
    assert raised.value.code == "not_found"
    found = {one.worker: one for one in await losses.holders()}
    assert (found[worker.id].state, found[worker.id].held) == ("settled", {})
    assert (await site.account(account.period_id)).lost == held
    assert (await audited(site.postgres))[1:] == [("lost", "budget"), ("written_off", "worker")]


async def test_whoever_dies_between_the_two_stores_leaves_nothing_held(site: Site, losses: Losses) -> None:
    account = await site.budget()
    worker, _ = await lost_worker(site, account)
    await site.postgres.execute("UPDATE gateway_workers SET settled_at = now() WHERE id = $1", uuid.UUID(worker.id))
    assert await losses.write_off_silent(HOURS) == 0
    assert await site.held(account) == {}


async def test_a_worker_that_held_nothing_is_settled_without_a_word(
    site: Site, losses: Losses, caplog: pytest.LogCaptureFixture
) -> None:
    worker = await site.hire()
    await site.die(worker)
    await site.silence(worker, HOURS + 1)
    with caplog.at_level(logging.WARNING, "gateway.budgets"):
        assert await losses.write_off_silent(HOURS) == 1
    assert caplog.text == ""
    assert await audited(site.postgres) == []


async def test_nothing_is_written_off_while_valkey_is_away(site: Site, stores: object) -> None:
    account = await site.budget()
    worker, _ = await lost_worker(site, account)
    away = Valkey.connect("redis://127.0.0.1:1")
    losses = Losses(site.postgres, type(site.inspection)(away))
    with pytest.raises(GatewayError) as raised:
        await losses.write_off_silent(HOURS)
    assert raised.value.code == "store_unavailable"
    assert (await site.account(account.period_id)).lost == 0
    assert worker.id in await site.books.unsettled()
    await away.close()


async def test_a_journal_that_turns_up_afterwards_counts_in_addition(site: Site, losses: Losses) -> None:
    account = await site.budget()
    worker = await site.hire(copies=False)
    assert await worker.attempt(account)
    await site.die(worker)
    await site.silence(worker, HOURS + 1)
    held = (await site.held(account))[worker.id]
    assert await losses.write_off_silent(HOURS) == 1
    finder = await Ledger.open(worker.home, site.postgres)
    async with asyncio.timeout(10):
        while not finder.adopted_journals:
            await asyncio.sleep(0.01)
    await finder.close()
    after = await site.account(account.period_id)
    assert (after.lost, after.settled, after.rows) == (held, COST, COST)


async def test_the_look_is_repeated_whatever_goes_wrong_with_one(
    site: Site, losses: Losses, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    account = await site.budget()
    _, held = await lost_worker(site, account)
    monkeypatch.setattr("gateway.services.budgets.losses._FIRST_LOOK_S", (0.0, 0.01))
    monkeypatch.setattr("gateway.services.budgets.losses._LOOK_EVERY_S", (0.01, 0.02))
    failures: list[Exception] = [GatewayError("store_unavailable", "Valkey is away."), ZeroDivisionError()]
    look = losses.write_off_silent

    async def fail_first(hours: int) -> int:
        if failures:
            raise failures.pop(0)
        return await look(hours)

    monkeypatch.setattr(losses, "write_off_silent", fail_first)
    with caplog.at_level(logging.INFO, "gateway.budgets"):
        watching = asyncio.ensure_future(losses.watch(HOURS))
        async with asyncio.timeout(10):
            while (await site.account(account.period_id)).lost != held:
                await asyncio.sleep(0.01)
        watching.cancel()
    assert "Valkey is away." in caplog.text
    assert "looking for workers whose journal is gone failed" in caplog.text
