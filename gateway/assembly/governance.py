"""A worker's limits and budgets: what counts, what applies, who is told."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Sequence
from typing import Final

from gateway import __version__
from gateway.errors import GatewayError
from gateway.metrics import Metrics
from gateway.pipeline.governor import Governor, Overruns
from gateway.pipeline.purse import Openings, Purse
from gateway.pipeline.queues import Queues
from gateway.pipeline.rules import RuleBook
from gateway.pipeline.stage import Stage
from gateway.pipeline.stages.admit import Admit
from gateway.pipeline.stages.check_budget import CheckBudget
from gateway.pipeline.stages.limit_rate import LimitRate
from gateway.pipeline.stages.meter import Meter
from gateway.server.admin.budgets import BudgetHandlers
from gateway.server.admin.limits import LimitHandlers
from gateway.server.admin.request import Route
from gateway.server.gauges import show_quota
from gateway.server.openai.allowance import Allowance
from gateway.services.budgets.books import Books
from gateway.services.budgets.budget import period_id_of
from gateway.services.budgets.losses import Losses
from gateway.services.budgets.register import BudgetRegister
from gateway.services.budgets.service import Budgets
from gateway.services.ledger.settlements import Settled
from gateway.services.limits.register import LimitRegister
from gateway.services.limits.service import Limits
from gateway.services.quota.inspection import Inspection
from gateway.services.quota.options import QuotaOptions
from gateway.services.quota.rollcall import Rollcall
from gateway.services.quota.service import Quota
from gateway.services.tokenizers.service import Tokenizers
from gateway.settings import Settings
from gateway.store.postgres import Postgres
from gateway.store.sql import load
from gateway.store.valkey import Valkey
from gateway.store.workers import WorkerRegister
from gateway.tasks import Tasks, rooted

_log = logging.getLogger("gateway")

_SHOWN: Final = 3


class Governance:
    """Made before the ledger, whose `Settlements` it is; `open` it when there is a journal."""

    quota: Quota

    def __init__(self, postgres: Postgres, tasks: Tasks) -> None:
        self._postgres = postgres
        self._hurried = postgres.for_requests()
        self._tasks = tasks
        self._sql = load("gateway.services.budgets")
        self._options = QuotaOptions()
        self._watches = Tasks()
        self._opened = asyncio.Event()
        self._journal_id = ""
        self.limits = Limits(postgres, tasks)
        self.budgets = Budgets(postgres, tasks)
        self._tokenizers = Tokenizers.found()

    async def open(self, valkey: Valkey, journal_id: str, lost_lease_hours: int) -> None:
        """Read what applies and begin to count. Raises GatewayError: store_unavailable, store_unsuitable.

        After `lost_lease_hours` without a word from a worker, or its journal, what it had set aside counts as spent.
        """
        self._journal_id = journal_id
        self._valkey = valkey
        self._workers = WorkerRegister(self._postgres, journal_id, __version__)
        await self._workers.beat()
        self._tasks.spawn(self._workers.beat_forever(), name="register this worker")
        await self.limits.load()
        await self.budgets.load()
        self._tasks.spawn(self.budgets.prepare(), name="prepare budget periods")
        self.rollcall = Rollcall(valkey, self._workers.holders)
        openings = Openings(self, self.rollcall.absent, int(self._options.lease_s * 1000))
        self.quota = await Quota.open(
            valkey,
            journal_id,
            others_alive=self._workers.others_alive,
            open_money=openings.open,
            before_holding=self._workers.hold,
            options=self._options,
        )
        self._book = RuleBook(self.quota, self.limits)
        self._purse = Purse(self.quota, self.budgets)
        self.allowance = Allowance(self.limits, self._purse, self._spent)
        losses = Losses(self._postgres, Inspection(valkey))
        self._watches.spawn(losses.watch(lost_lease_hours), name="write off lost leases")
        self._watches.spawn(self.rollcall.watch(), name="look for workers that are waited for")
        self._opened.set()

    def on_change(self, announced: str) -> None:
        """A row of theirs has changed."""
        self.limits.on_change(announced)
        self.budgets.on_change(announced)

    async def know_keys(self, line_ids: Sequence[str]) -> None:
        """Have read what is set for these keys alone, before they are used. Raises GatewayError."""
        await asyncio.gather(rooted(self.limits.know_keys(line_ids)), rooted(self.budgets.know_keys(line_ids)))

    def stages(self, meter: Meter, settings: Settings) -> dict[str, Stage]:
        """Those that keep limits and budgets, as far as `settings` have them in force.

        Budgets know end users by what the `meter` writes of them.
        """
        self._purse.end_user = lambda document: meter.reporting.end_user(document)
        stages: tuple[Stage, ...] = (Admit(self._book), LimitRate(self._book), CheckBudget(self._purse))
        return {stage.name: stage for stage in stages if settings.stage_enabled(stage.name)}

    def admission(self, meter: Meter, settings: Settings, overruns: Overruns) -> Governor:
        """What dispatch asks, with `settings` in force."""
        limited = settings.stage_enabled(LimitRate.name)
        upstream = settings.upstream
        return Governor(
            meter,
            self.quota,
            self._book if limited else None,
            self.purse(settings),
            Queues(upstream.queue_timeout_s, upstream.queue_max_waiting),
            overruns,
            self._tokenizers,
        )

    def purse(self, settings: Settings) -> Purse | None:
        """What knows of budgets, where `settings` have them kept."""
        return self._purse if settings.stage_enabled(CheckBudget.name) else None

    def show(self, metrics: Metrics) -> None:
        """Have `metrics` show how the counters fare."""
        show_quota(metrics, self.quota, self._book.refusals, self.rollcall)

    def admin_routes(self, meter: Meter) -> list[Route]:
        """`/admin/limits` and `/admin/budgets`."""
        limits, budgets = self.limits, self.budgets

        async def end_user(budget_id: uuid.UUID, user: str) -> str:
            return meter.reporting.asked_for(user)

        return [
            *LimitHandlers(LimitRegister(self._postgres, limits.catch_up), lambda: limits.declared).routes(),
            *BudgetHandlers(BudgetRegister(self._postgres, budgets.catch_up), end_user).routes(),
        ]

    # --- what the ledger tells ----------------------------------------------------------------------

    def copied(self, journal_id: str, settled: Sequence[Settled]) -> None:
        """Rows are in the ledger: what this worker had set aside for its own is spent now."""
        if self._opened.is_set():
            own = journal_id == self._journal_id
            for each in settled:
                self._purse.settle(each.period_id, each.delta_nano_usd if own else 0, each.total_nano_usd)

    async def adopted(self, journal_id: str) -> None:
        """A dead worker's journal is in the ledger: what it held is free. Raises GatewayError where a store is away."""
        await self._opened.wait()
        freed = await self.quota.bury(journal_id, self._totals)
        await self._workers.settled(journal_id)
        if freed:
            _log.info("freed %d nano-dollars that the dead worker %s had set aside", freed, journal_id)

    async def tell(self, period_ids: Sequence[int]) -> None:
        """Have the counters of these periods hear what the ledger has. Raises GatewayError where a store is away."""
        await self._opened.wait()
        await Books(self._postgres).tell(period_ids, Inspection(self._valkey))

    async def _totals(self, names: list[str]) -> list[int]:
        return await self._totals_of([period_id_of(name) for name in names])

    async def _totals_of(self, ids: list[int]) -> list[int]:
        return await self._sums("totals", ids)

    async def _spent(self, ids: list[int]) -> list[int]:
        return await self._sums("spent", ids, self._hurried)

    async def _sums(self, query: str, ids: list[int], postgres: Postgres | None = None) -> list[int]:
        rows = await (postgres or self._postgres).fetch(self._sql[query], ids) if ids else []
        totals = {row["id"]: int(row["total"]) for row in rows}
        return [totals.get(period_id, 0) for period_id in ids]

    async def opened_epoch(self, period_id: int) -> str | None:
        """The epoch in which the period's counter was opened last. Raises GatewayError."""
        epoch: str | None = await self._hurried.fetchval(self._sql["opened_epoch"], period_id)
        return epoch

    async def open_in(self, epoch: str, period_id: int) -> int:
        """Note that it is opened in this one, and what it opens with. Raises GatewayError."""
        row = await self._hurried.fetchrow(self._sql["open_counter"], period_id, epoch)
        if row is None:
            raise GatewayError("store_unavailable", "A budget's period is not in the database.")
        return int(row["total"])

    def counters_are_there(self) -> bool:
        """Does Valkey answer?"""
        return self.quota.away_since is None

    def counters_state(self) -> str:
        """The same in words, for whoever watches."""
        return "ok" if self.counters_are_there() else "away: limits go on as their on_store_failure says"

    def budgets_state(self) -> str:
        """Can hard budgets be spent of? In words, for whoever watches."""
        if not self.counters_are_there():
            return "away: hard budgets go on with what is leased"
        left_s = self.quota.last.closed_until - time.monotonic()
        if left_s > 0:
            return f"rebuilding: hard budgets open in {left_s:.1f} s"
        if awaited := self.rollcall.awaited:
            more = f" and {len(awaited) - _SHOWN} more" if len(awaited) > _SHOWN else ""
            return f"rebuilding: hard budgets wait for the journals of {', '.join(awaited[:_SHOWN])}{more}"
        return "ok"

    async def close(self) -> None:
        """Give back what is leased."""
        if self._tokenizers is not None:
            self._tokenizers.close()
        await self._watches.drain(0.0)  # or they would connect once more
        if self._opened.is_set():
            await self.quota.close()
            await self._valkey.close()

    async def ended(self) -> None:
        """This worker's journal is copied: it holds nothing any more. Raises GatewayError."""
        if self._opened.is_set():
            await self._workers.ended()
