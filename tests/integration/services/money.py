"""Budgets whose money is counted in a real Valkey and written into a real ledger, by workers of the tests' own."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from gateway.services.budgets.books import Account, Books
from gateway.services.budgets.budget import counter_name
from gateway.services.budgets.register import BudgetRegister
from gateway.services.budgets.verifying import Verdict, Verification
from gateway.services.ledger.service import Ledger, LedgerOptions
from gateway.services.ledger.settlements import Settled
from gateway.services.quota.counter import MONEY, Counter
from gateway.services.quota.exchange import EPOCH_KEY, Opening, counter_key, money_key
from gateway.services.quota.inspection import Inspection
from gateway.services.quota.options import QuotaOptions
from gateway.services.quota.service import Quota
from gateway.store.follower import nobody_follows
from gateway.store.postgres import Postgres
from gateway.store.valkey import Valkey
from tests.integration.services.governed import ACTOR
from tests.unit.services.ledger.entries import complete, entry

LIMIT = 1_000_000_000
SETTLE_S = 0.5


class Teller:
    """Has a worker's quota hear of its own rows, as the gateway does."""

    def __init__(self) -> None:
        self.worker: Worker | None = None

    def copied(self, journal_id: str, settled: Sequence[Settled]) -> None:
        assert self.worker is not None
        for each in settled:
            counter = self.worker.counters[each.period_id]
            self.worker.quota.settle(counter, each.delta_nano_usd, each.total_nano_usd)

    async def adopted(self, journal_id: str) -> None:
        raise AssertionError("there is no other journal here")

    async def ended(self) -> None:
        """Nobody asks who has ended."""


class Worker:
    """One with a journal, and leases under its id."""

    def __init__(self, ledger: Ledger, quota: Quota, home: Path) -> None:
        self.ledger = ledger
        self.quota = quota
        self.home = home
        self.counters: dict[int, Counter] = {}
        self._number = 0

    @property
    def id(self) -> str:
        return self.ledger.journal_id

    async def attempt(self, account: Account, reserved: int = 50_000) -> bool:
        """Set `reserved` aside, spend what `complete` costs, and write it down; False where the budget refuses."""
        counter = self.counter(account)
        if await self.quota.acquire([(counter, reserved)]) is not None:
            return False
        self._number += 1
        one = entry(self._number)
        one.request_id = str(uuid.uuid4())
        one.started_us = time.time_ns() // 1000
        one.budgets = f"{{{account.period_id}}}"
        self.ledger.start(one)
        await asyncio.sleep(0)
        self.ledger.end(complete(one))
        self.quota.give_back(counter, reserved - one.cost_nano_usd)
        return True

    def counter(self, account: Account) -> Counter:
        name = counter_name(account.budget_id, account.period_id)
        made = self.counters[account.period_id] = self.quota.counter(name, MONEY, LIMIT, 0, "local")
        return made


class Site:
    """A database and a Valkey; `hire` adds workers."""

    def __init__(self, postgres: Postgres, valkey: Valkey, folder: Path) -> None:
        self.postgres = postgres
        self.valkey = valkey
        self.books = Books(postgres)
        self.inspection = Inspection(valkey)
        self.verification = Verification(self.books, self.inspection, SETTLE_S)
        self.workers: list[Worker] = []
        self._folder = folder

    async def hire(self, *, registered: bool = True, copies: bool = True) -> Worker:
        teller = Teller()
        home = self._folder / f"home{len(self.workers)}"
        home.mkdir()
        options = LedgerOptions(copy_interval_ms=20 if copies else 1_000_000)
        ledger = await Ledger.open(home, self.postgres, options, teller)
        if registered:
            await self.postgres.execute(
                "INSERT INTO gateway_workers (id, version) VALUES ($1, '1')", uuid.UUID(ledger.journal_id)
            )

        async def nobody_else() -> bool:
            return False

        async def open_money(name: str, epoch: str) -> Opening:
            period_id = int(name.rpartition(":")[2])
            return Opening((await self.books.totals([period_id]))[period_id], 0)

        quota = await Quota.open(
            self.valkey,
            ledger.journal_id,
            others_alive=nobody_else,
            open_money=open_money,
            options=QuotaOptions(lease_s=2.0, gone_s=1.0, store_timeout_s=1.0),
        )
        worker = teller.worker = Worker(ledger, quota, home)
        self.workers.append(worker)
        return worker

    async def budget(self, *, hard: bool = True) -> Account:
        """A new budget's first period."""
        register = BudgetRegister(self.postgres, nobody_follows)
        fields = {"limit_nano_usd": LIMIT, "hard": hard}
        record = await register.create(("global", "", None), fields, ACTOR)
        assert record.current is not None
        return await self.account(record.current.id)

    async def account(self, period_id: int) -> Account:
        return next(one for one in await self.books.accounts(everything=True) if one.period_id == period_id)

    async def key(self, account: Account, worker: Worker) -> str:
        name = counter_name(account.budget_id, account.period_id)
        return counter_key(await self.epoch(), worker.quota.counter(name, MONEY, LIMIT, 0, "local"))

    async def money_key(self, worker_id: str) -> str:
        return money_key(await self.epoch(), worker_id)

    async def epoch(self) -> str:
        epoch = await self.valkey.client.hget(EPOCH_KEY, "id")
        assert epoch is not None
        return epoch.decode() if isinstance(epoch, bytes) else epoch

    async def figures(self, *, everything: bool = False) -> list[tuple[str, int, int]]:
        """What differs: figure, found, expected."""
        verdict = await self.verification.verify(everything=everything)
        return shown(verdict)

    async def die(self, worker: Worker) -> None:
        """End it as a kill does: nothing is given back, nothing more copied. Its journal is gone with it."""
        assert worker.quota._beat is not None
        worker.quota._beat.cancel()
        await asyncio.wait((worker.quota._beat,))
        await worker.ledger.close()

    async def silence(self, worker: Worker, hours: float) -> None:
        """Neither store has heard of it for so long."""
        await self.postgres.execute(
            "UPDATE gateway_workers SET last_seen = now() - make_interval(secs => $2) WHERE id = $1",
            uuid.UUID(worker.id),
            hours * 3600,
        )
        await self.valkey.client.zadd("{kubechat}:workers", {worker.id: (time.time() - hours * 3600) * 1000})

    async def held(self, account: Account) -> dict[str, int]:
        name = counter_name(account.budget_id, account.period_id)
        return dict((await self.inspection.counters([name]))[name].holders)

    async def settled_in_valkey(self, account: Account) -> int:
        name = counter_name(account.budget_id, account.period_id)
        return (await self.inspection.counters([name]))[name].settled

    async def quiet(self, worker: Worker) -> None:
        """All of its journal is copied, and Valkey has heard of it."""
        assert await worker.ledger.flush(10.0)
        async with asyncio.timeout(10):
            for period_id in worker.counters:
                account = await self.account(period_id)
                while await self.settled_in_valkey(account) < account.total:
                    await asyncio.sleep(0.01)

    async def close(self) -> None:
        for worker in self.workers:
            await worker.quota.close()
            await worker.ledger.close()


def shown(verdict: Verdict) -> list[tuple[str, int, int]]:
    """Its differences: figure, found, expected."""
    return [(one.figure, one.found, one.expected) for one in verdict.differences]
