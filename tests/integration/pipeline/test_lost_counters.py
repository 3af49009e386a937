"""Valkey is emptied, and a worker dies before its journal is copied: what it had under way is not forgotten."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.assembly.governance import Governance
from gateway.pipeline.purse import Pot
from gateway.services.budgets.losses import Losses
from gateway.services.budgets.register import BudgetRegister
from gateway.services.keys.key import Key
from gateway.services.ledger.service import Ledger, LedgerOptions
from gateway.services.quota.exchange import EPOCH_KEY, counter_key
from gateway.services.quota.inspection import Inspection
from gateway.services.quota.options import QuotaOptions
from gateway.store.audit import CLI
from gateway.store.embedded import StoreAddresses
from gateway.store.follower import nobody_follows
from gateway.store.postgres import Postgres
from gateway.store.valkey import Valkey
from gateway.tasks import Tasks
from tests.integration.services.governed import ACTOR
from tests.unit.services.ledger.entries import entry

LIMIT = 1_000
LEASE_S = 1.0
CLOSED = ("rebuilding", "away")  # Valkey may be late with its word on a busy machine
KEY = Key(id=str(uuid.uuid4()), name="app", team_id=str(uuid.uuid4()))


class Worker:
    """All that a worker has of budgets and the ledger. Its journal lies in `home`."""

    def __init__(self, postgres: Postgres, valkey: Valkey, home: Path) -> None:
        self._postgres, self._valkey, self._home = postgres, valkey, home
        self._tasks = Tasks()
        self.governance = Governance(postgres, self._tasks)
        self.governance._options = QuotaOptions(lease_s=LEASE_S, gone_s=0.6)
        self._number = 0

    async def open(self) -> Worker:
        options = LedgerOptions(copy_interval_ms=20, adopt_interval_s=0.1)
        self.ledger = await Ledger.open(self._home, self._postgres, options, self.governance)
        await self.governance.open(self._valkey, self.ledger.journal_id, 24)
        return self

    @property
    def id(self) -> str:
        return self.ledger.journal_id

    async def pot(self, model: str = "m") -> Pot:
        (pot,) = await self.governance._purse.of_call(KEY, model, "")
        return pot

    async def begin(self, amount: int, model: str = "m") -> str:
        """Begin an attempt that may cost so much; empty, or why it is refused."""
        pot = await self.pot(model)
        assert pot.counter is not None
        refusal = await self.governance.quota.acquire([(pot.counter, amount)])
        if refusal is not None:
            return refusal.reason
        self._number += 1
        one = entry(self._number)
        one.request_id, one.started_us = str(uuid.uuid4()), time.time_ns() // 1000
        one.budgets, one.cost_nano_usd = f"{{{pot.period.id}}}", amount
        self.ledger.start(one)
        return ""

    async def until_begun(self, amount: int, within_s: float) -> float:
        """Begin it as soon as it is let; how many seconds that took."""
        began = time.monotonic()
        while (reason := await self.begin(amount)) != "":
            assert reason in CLOSED
            assert time.monotonic() < began + within_s
            await asyncio.sleep(0.02)
        return time.monotonic() - began

    async def die(self) -> None:
        """As a kill does: nothing is given back, what had begun has no end."""
        quota = self.governance.quota
        assert quota._beat is not None
        quota._closing = True
        await asyncio.wait((quota._beat,))
        await self.governance._watches.drain(0.0)
        await self._tasks.drain(0.0)
        await self.ledger.close()
        await self._valkey.close()

    async def end(self) -> None:
        """As it should."""
        await self.governance.close()
        await self.ledger.close()
        await self._tasks.drain(0.0)


class Site:
    """One PostgreSQL and one Valkey."""

    def __init__(self, postgres: Postgres, valkey: Valkey, address: str, folder: Path) -> None:
        self.postgres, self.valkey = postgres, valkey
        self._address, self._folder = address, folder
        self._living: list[Worker] = []

    async def hire(self, home: str) -> Worker:
        worker = await Worker(self.postgres, Valkey.connect(self._address), self._folder / home).open()
        self._living.append(worker)
        return worker

    async def kill(self, worker: Worker) -> None:
        self._living.remove(worker)
        await worker.die()

    async def end(self, worker: Worker) -> None:
        self._living.remove(worker)
        await worker.end()

    async def budget(self, model: str) -> None:
        fields = {"limit_nano_usd": LIMIT, "hard": True}
        await BudgetRegister(self.postgres, nobody_follows).create(("model", model, None), fields, ACTOR)

    async def silent_for_long(self, worker: Worker) -> None:
        """It has died a while ago."""
        await self.postgres.execute(
            "UPDATE gateway_workers SET last_seen = now() - interval '2 minutes' WHERE id = $1", uuid.UUID(worker.id)
        )

    async def close(self) -> None:
        for worker in self._living:
            await worker.die()


@pytest.fixture
async def site(postgres: Postgres, valkey: Valkey, stores: StoreAddresses, tmp_path: Path) -> AsyncIterator[Site]:
    assert stores.valkey is not None
    made = Site(postgres, valkey, stores.valkey, tmp_path)
    await made.budget("m")
    yield made
    await made.close()


async def stays_closed(worker: Worker, for_s: float = 3 * LEASE_S) -> None:
    deadline = time.monotonic() + for_s
    while time.monotonic() < deadline:
        assert await worker.begin(1) in CLOSED
        await asyncio.sleep(0.02)


async def said_of_budgets(worker: Worker) -> str:
    for _ in range(2):
        await worker.governance.rollcall.look()
    return worker.governance.budgets_state()


async def test_a_budget_waits_for_the_journal_of_a_worker_that_died_when_the_counters_were_lost(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    dead, living = await site.hire("a"), await site.hire("b")
    assert await dead.begin(600) == ""
    await site.kill(dead)
    await site.silent_for_long(dead)
    await site.valkey.client.flushall()
    await stays_closed(living)
    assert await said_of_budgets(living) == f"rebuilding: hard budgets wait for the journals of {dead.id}"
    assert f"what these workers hold is not known: {dead.id}" in caplog.text
    finder = await site.hire("a")
    await living.until_begun(400, 3.0)
    assert await living.begin(1) == "limit"
    assert await finder.begin(1) == "limit"
    assert await said_of_budgets(living) == "ok"


async def test_budgets_of_which_nothing_was_ever_held_do_not_wait(site: Site) -> None:
    dead, living = await site.hire("a"), await site.hire("b")
    assert await dead.begin(600) == ""
    await site.kill(dead)
    await site.silent_for_long(dead)
    await site.valkey.client.flushall()
    await stays_closed(living, 0.5)
    await site.budget("another")
    await living.governance.budgets.load()
    assert await living.begin(LIMIT, "another") == ""


async def test_a_worker_that_told_what_it_holds_before_it_died_is_not_waited_for(site: Site) -> None:
    dead, living = await site.hire("a"), await site.hire("b")
    assert await dead.begin(600) == ""
    await site.valkey.client.flushall()
    while await site.valkey.client.zscore("{kubechat}:workers", dead.id) is None:
        await asyncio.sleep(0.01)
    await site.kill(dead)
    await living.until_begun(400, 3 * LEASE_S)
    assert await living.begin(1) == "limit"


async def test_a_counter_that_is_lost_by_itself_waits_for_the_dead_too(site: Site) -> None:
    dead, living = await site.hire("a"), await site.hire("b")
    assert await dead.begin(600) == ""
    await site.kill(dead)
    counter = (await living.pot()).counter
    assert counter is not None
    epoch = (await site.valkey.client.hget(EPOCH_KEY, "id")).decode()
    await site.valkey.client.delete(counter_key(epoch, counter))
    await stays_closed(living)
    await site.hire("a")
    await living.until_begun(400, 3 * LEASE_S)
    assert await living.begin(1) == "limit"


async def test_workers_that_ended_or_were_given_up_are_not_waited_for(site: Site) -> None:
    ended, dead, living = await site.hire("a"), await site.hire("a"), await site.hire("b")
    assert await ended.begin(100) == ""
    ended.ledger.end(next(iter(ended.ledger._journal._open)))
    assert await ended.ledger.flush(5.0)
    await site.end(ended)
    assert await dead.begin(600) == ""
    await site.kill(dead)
    await site.silent_for_long(dead)
    await site.valkey.client.flushall()
    await stays_closed(living, LEASE_S)
    await Losses(site.postgres, Inspection(site.valkey)).write_off(uuid.UUID(dead.id), CLI)
    assert await living.until_begun(900, 1.0) < 1.0


async def test_one_that_is_alone_and_comes_back_opens_at_once(site: Site) -> None:
    killed = await site.hire("a")
    assert await killed.begin(600) == ""
    await site.kill(killed)
    await site.silent_for_long(killed)
    await site.valkey.client.flushall()
    back = await site.hire("a")
    assert await back.until_begun(400, 2.0) < 1.0
    assert await back.begin(1) == "limit"
