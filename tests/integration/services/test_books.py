"""Do ledger, periods and counters agree? On a real PostgreSQL and Valkey, beside workers that go on spending."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.services.budgets.books import Account
from gateway.services.budgets.verifying import Verification
from gateway.services.quota.exchange import EPOCH_KEY
from gateway.store.audit import CLI
from gateway.store.postgres import Postgres
from gateway.store.valkey import Valkey
from tests.integration.services.money import LIMIT, Site, Worker, shown

COST = 12_345  # of one attempt


@pytest.fixture
async def site(postgres: Postgres, valkey: Valkey, tmp_path: Path) -> AsyncIterator[Site]:
    made = Site(postgres, valkey, tmp_path)
    yield made
    await made.close()


async def spend(worker: Worker, account: Account, stop: asyncio.Event) -> int:
    """Attempts until told to stop; how many there were."""
    count = 0
    while not stop.is_set():
        assert await worker.attempt(account)
        count += 1
        await asyncio.sleep(0.002)
    return count


async def repair(site: Site) -> list[tuple[str, int, int]]:
    """What differed and was repaired; nothing does after it."""
    verdict = await site.verification.verify()
    await site.verification.repair(verdict.differences, CLI)
    assert await site.figures() == []
    return shown(verdict)


async def set_settled(site: Site, account: Account, by: int) -> None:
    await site.postgres.execute(
        "UPDATE budget_periods SET settled_nano_usd = settled_nano_usd + $2 WHERE id = $1", account.period_id, by
    )


async def test_what_is_only_under_way_is_no_difference(site: Site) -> None:
    account = await site.budget()
    other = await site.budget(hard=False)
    workers = [await site.hire() for _ in range(3)]
    stop = asyncio.Event()
    spending = [asyncio.ensure_future(spend(worker, account, stop)) for worker in workers]
    for _ in range(4):
        verdict = await site.verification.verify()
        assert shown(verdict) == []
        assert verdict.periods == 2
    stop.set()
    attempts = sum(await asyncio.gather(*spending))
    for worker in workers:
        await site.quiet(worker)
    assert (await site.account(account.period_id)).rows == attempts * COST
    assert attempts > 20
    verdict = await site.verification.verify(everything=True)
    assert (shown(verdict), verdict.counters) == ([], 1)
    assert (await site.account(other.period_id)).total == 0


@pytest.mark.parametrize("wrong", [5_000_000, -4_000])
async def test_a_period_that_says_something_else_than_its_rows_is_set_right_while_workers_spend_of_it(
    site: Site, wrong: int
) -> None:
    account = await site.budget()
    workers = [await site.hire() for _ in range(2)]
    for worker in workers:
        assert await worker.attempt(account)
        await site.quiet(worker)
    await set_settled(site, account, wrong)
    stop = asyncio.Event()
    spending = [asyncio.ensure_future(spend(worker, account, stop)) for worker in workers]
    await asyncio.sleep(0.1)
    found = await repair(site)
    stop.set()
    attempts = 2 + sum(await asyncio.gather(*spending))
    assert ("settled", wrong) in [(figure, says - expected) for figure, says, expected in found]
    for worker in workers:
        await site.quiet(worker)
    after = await site.account(account.period_id)
    assert after.settled == after.rows == after.shown == attempts * COST
    assert await site.settled_in_valkey(account) == attempts * COST
    rows = await site.postgres.fetch("SELECT actor, action, object_id, before, after FROM audit_log ORDER BY id")
    repaired = [row for row in rows if row["action"] == "repaired"]
    assert [(row["actor"], row["object_id"]) for row in repaired] == [("cli", account.budget_id)]
    assert repaired[0]["before"]["settled_nano_usd"] - repaired[0]["after"]["settled_nano_usd"] == wrong


@pytest.mark.parametrize("wrong", [7_000_000, -COST])
async def test_a_counter_that_says_something_else_than_the_database_is_set_right(site: Site, wrong: int) -> None:
    account = await site.budget()
    worker = await site.hire()
    for _ in range(3):
        assert await worker.attempt(account)
    await site.quiet(worker)
    await site.valkey.client.hincrby(await site.key(account, worker), "s", wrong)
    assert await repair(site) == [("counter", 3 * COST + wrong, 3 * COST)]
    assert await site.settled_in_valkey(account) == 3 * COST
    assert await worker.attempt(account)
    await site.quiet(worker)
    assert await site.settled_in_valkey(account) == 4 * COST


async def test_a_counter_whose_sum_is_wrong_is_added_up_again(site: Site) -> None:
    account = await site.budget()
    workers = [await site.hire() for _ in range(2)]
    for worker in workers:
        assert await worker.attempt(account)
        await site.quiet(worker)
    await site.valkey.client.hincrby(await site.key(account, workers[0]), "t", 123_456)
    ((figure, found, expected),) = await repair(site)
    assert (figure, found - expected) == ("held", 123_456)


async def test_what_a_settled_worker_holds_is_freed_and_what_a_living_one_holds_is_not(site: Site) -> None:
    account = await site.budget()
    living, dead = await site.hire(), await site.hire()
    for worker in (living, dead):
        assert await worker.attempt(account)
        await site.quiet(worker)
    await site.die(dead)
    assert await site.figures() == []  # its journal may still be copied
    held = (await site.held(account))[dead.id]
    await site.postgres.execute("UPDATE gateway_workers SET settled_at = now() WHERE id = $1", uuid.UUID(dead.id))
    assert await repair(site) == [("gone", held, 0)]
    assert set(await site.held(account)) == {living.id}
    assert not await site.valkey.client.exists(await site.money_key(dead.id))


async def test_what_a_worker_holds_that_nobody_remembers_is_freed(site: Site) -> None:
    account = await site.budget()
    worker = await site.hire(registered=False)
    assert await worker.attempt(account)
    await site.quiet(worker)
    await site.die(worker)
    ((figure, _, expected),) = await repair(site)
    assert (figure, expected) == ("gone", 0)


async def test_current_usage_follows_what_is_settled(site: Site) -> None:
    account = await site.budget()
    worker = await site.hire()
    await site.postgres.execute("UPDATE cost_budgets SET current_usage = 3")
    assert await site.figures() == []  # the last period's, until this one has a row
    assert await worker.attempt(account)
    await site.quiet(worker)
    await site.postgres.execute("UPDATE cost_budgets SET current_usage = 3")
    assert await repair(site) == [("current_usage", 3_000_000_000, COST)]
    assert await site.postgres.fetchval("SELECT current_usage * 1000000000 FROM cost_budgets") == COST


async def test_rows_that_went_with_their_month_are_not_missed(site: Site) -> None:
    account = await site.budget()
    worker = await site.hire()
    assert await worker.attempt(account)
    await site.quiet(worker)
    await site.postgres.execute("UPDATE budget_periods SET starts_at = now() - interval '100 days'")
    await site.postgres.execute("UPDATE cost_budgets SET created_at = now() - interval '100 days'")
    await set_settled(site, account, 1_000_000)
    await site.postgres.execute("UPDATE cost_budgets SET current_usage = 0.001012345")
    counter = Verification(site.books, None)
    assert shown(await counter.verify()) == []  # more may have been spent than rows are left
    await set_settled(site, account, -1_000_001)
    assert ("settled", COST - 1, COST) in shown(await counter.verify())  # but never less


async def test_a_period_that_is_over_is_looked_at_when_asked(site: Site) -> None:
    account = await site.budget()
    await site.postgres.execute("UPDATE budget_periods SET ends_at = now() - interval '1 second'")
    await set_settled(site, account, 1)
    assert await site.figures() == []
    assert await site.figures(everything=True) == [("settled", 1, 0)]


async def test_counters_of_an_epoch_that_is_over_count_for_nothing(site: Site) -> None:
    account = await site.budget()
    worker = await site.hire()
    assert await worker.attempt(account)
    await site.quiet(worker)
    await site.die(worker)
    await site.valkey.client.hincrby(await site.key(account, worker), "s", 1)
    await site.valkey.client.hset(EPOCH_KEY, "run", "another")
    verdict = await site.verification.verify()
    assert (shown(verdict), verdict.counters) == ([], 0)


async def test_a_budget_is_used_to_the_end_and_never_exceeded_while_it_is_repaired(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = await site.budget()
    workers = [await site.hire() for _ in range(2)]
    big = 200_000_000
    monkeypatch.setattr("tests.integration.services.money.complete", lambda one: _costing(one, 20_000_000))

    stop = asyncio.Event()

    async def use_up(worker: Worker) -> None:
        while not stop.is_set():
            await worker.attempt(account, big)
            await asyncio.sleep(0.01)

    spending = [asyncio.ensure_future(use_up(worker)) for worker in workers]
    for _ in range(3):
        await asyncio.sleep(0.1)
        await site.valkey.client.hincrby(await site.key(account, workers[0]), "s", 900_000_000)
        verdict = await site.verification.verify()
        assert [figure for figure, _, _ in shown(verdict)] == ["counter"]
        await site.verification.repair(verdict.differences, CLI)
    await asyncio.sleep(0.5)
    stop.set()
    await asyncio.gather(*spending)
    for worker in workers:
        await site.quiet(worker)
    spent = (await site.account(account.period_id)).total
    assert LIMIT - 2 * big < spent <= LIMIT
    assert await site.settled_in_valkey(account) == spent


def _costing(one: Any, cost: int) -> Any:
    one.cost_nano_usd = cost
    one.status = 200
    one.duration_ms = 1
    return one
