"""Budgets over the counters: which a request is paid from, and what is set aside for an attempt."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, NamedTuple, Protocol
from weakref import WeakValueDictionary

from gateway.errors import GatewayError
from gateway.services.budgets.budget import Budget, Period, counter_name, period_id_of
from gateway.services.budgets.service import Budgets
from gateway.services.keys.key import Key
from gateway.services.quota.ask import Refusal
from gateway.services.quota.counter import MONEY, Counter, OnStoreFailure
from gateway.services.quota.exchange import Opening
from gateway.services.quota.service import Quota
from gateway.upstream.target import Target
from gateway.wire.dialect import Document
from gateway.wire.reporting import read_user

_MOST_REMEMBERED: Final = 50_000
_OPENED_ELSEWHERE_S: Final = 0.3
# Journals of workers that died with the gateway are mostly copied within so long after its new start.
_PATIENCE_S: Final = 1.0
_LOOK_S: Final = 0.05


class Pot(NamedTuple):
    """One budget in its present period. `counter` is None for a soft one, which is only written down."""

    budget: Budget
    period: Period
    counter: Counter | None

    @property
    def left_nano_usd(self) -> int:
        """What is left, as far as this worker knows."""
        if self.counter is None:
            period = self.period
            spent = period.settled_nano_usd + period.lost_nano_usd
            return max(0, self.budget.limit_nano_usd + period.extra_nano_usd - spent)
        return max(0, self.counter.remaining + self.counter.available)


Pots = tuple[Pot, ...]


class Purse:
    """The budgets that pay for whom, as counters. One per worker; `now_us` is Unix microseconds.

    What is known of a key holds for this very object: one that was moved to another team is read anew. `end_user` says
    what to write of the one whom a request names, and raises invalid_field.
    """

    def __init__(
        self, quota: Quota, budgets: Budgets, now_us: Callable[[], int] = lambda: time.time_ns() // 1000
    ) -> None:
        self.quota = quota
        self._budgets = budgets
        self._now_us = now_us
        self.end_user: Callable[[Document], str] = read_user
        self._generation = -1
        self._idle = False
        self._known: dict[tuple[str | None, str, str], tuple[Key, int, Pots]] = {}
        # By period. The quota service keeps those of which anything is not yet in the ledger.
        self._counters: WeakValueDictionary[int, Counter] = WeakValueDictionary()

    def asks_for_end_user(self, key: Key) -> bool:
        """Has each end user of this key a budget of its own?"""
        return not self._is_idle() and bool(self._budgets.of_end_users(key.line_id))

    async def of_call(self, key: Key, model: str, end_user: str) -> Pots:
        """What a request of this key for this model (its own name, no alias) is paid from.

        Raises GatewayError: store_unavailable, or invalid_field for one end user too many.
        """
        known = self._remembered(key, model, end_user)
        if known is not None:
            return known
        budgets, now_us = self._budgets, self._now_us()
        generation = budgets.generation
        who = (key.organisation_id, key.team_id, key.user_id, key.line_id)
        pots = [
            *await self._pots(budgets.of_caller(*who), now_us, ""),
            *await self._pots(budgets.of_model(key.team_id, key.line_id, model), now_us, ""),
        ]
        if end_user:
            pots += await self._pots(budgets.of_end_users(key.line_id), now_us, end_user)
        made = tuple(pots)
        if generation == budgets.generation:  # else something changed while a period was being opened
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            self._known[key.id, model, end_user] = (key, _until(made), made)
        return made

    async def of_request(self, key: Key, model: str, document: Document) -> Pots:
        """The same, by the request's body. Raises GatewayError also for a `user` that is none."""
        return await self.of_call(key, model, self._who_pays_beside(key, document))

    def known(self, key: Key, model: str, document: Document) -> Pots | None:
        """The same, where it is known and nothing has to be opened; else None."""
        return self._remembered(key, model, self._who_pays_beside(key, document))

    def _who_pays_beside(self, key: Key, document: Document) -> str:
        return self.end_user(document) if self.asks_for_end_user(key) else ""

    def _remembered(self, key: Key, model: str, end_user: str) -> Pots | None:
        if self._is_idle() or key.is_master:
            return ()
        known = self._known.get((key.id, model, end_user))
        return known[2] if known is not None and known[0] is key and self._now_us() < known[1] else None

    def left_nano_usd(self, key: Key, model: str, document: Document) -> int | None:
        """The least that a budget has left which would pay for a request of this key for this model, or, where it is
        empty, for any; as far as this worker knows, and without waiting. None without budgets. Raises invalid_field for
        a `user` that is none."""
        if self._is_idle() or key.is_master:
            return None
        budgets, now_us = self._budgets, self._now_us()
        found = [*budgets.of_caller(key.organisation_id, key.team_id, key.user_id, key.line_id)]
        if model:
            found += budgets.of_model(key.team_id, key.line_id, model)
        left = [self._left_of(budget, now_us, "") for budget in found]
        of_end_users = budgets.of_end_users(key.line_id)
        if of_end_users and (end_user := self.end_user(document)):
            left += [self._left_of(budget, now_us, end_user) for budget in of_end_users]
        return min(left, default=None)

    def _left_of(self, budget: Budget, now_us: int, end_user: str) -> int:
        period = self._budgets.period(budget, now_us, end_user)
        if period is None:  # it has not been opened: nothing is spent of it yet
            return budget.limit_nano_usd
        by_ledger = Pot(budget, period, None).left_nano_usd
        counter = self._counters.get(period.id) if budget.hard else None
        return by_ledger if counter is None else min(by_ledger, Pot(budget, period, counter).left_nano_usd)

    def pays_for(self, target: Target) -> bool:
        """Has this target, or its provider, a budget of its own?"""
        return not self._is_idle() and bool(self._budgets.of_target(target.provider, target.name))

    def _is_idle(self) -> bool:
        """Is there no budget at all? What was known before a change is forgotten."""
        if self._generation != self._budgets.generation:
            self._generation = self._budgets.generation
            self._known.clear()
            self._idle = not self._budgets
        return self._idle

    async def of_target(self, target: Target) -> Pots:
        """What everything that is sent to this target is paid from, beside that."""
        found = self._budgets.of_target(target.provider, target.name)
        return tuple(await self._pots(found, self._now_us(), ""))

    async def _pots(self, budgets: Iterable[Budget], now_us: int, end_user: str) -> list[Pot]:
        pots = []
        for budget in budgets:
            period = self._budgets.period(budget, now_us, end_user)
            if period is None:
                period = await self._budgets.open_period(budget, now_us, end_user)
            pots.append(Pot(budget, period, self._counter(budget, period) if budget.hard else None))
        return pots

    def _counter(self, budget: Budget, period: Period) -> Counter:
        allowance = budget.limit_nano_usd + period.extra_nano_usd
        name = counter_name(budget.id, period.id)
        failure: OnStoreFailure = "deny" if budget.on_store_failure == "deny" else "local"
        counter = self.quota.counter(name, MONEY, allowance, 0, failure)
        self._counters[period.id] = counter
        return counter

    # --- what the ledger says ------------------------------------------------------------------------

    def settle(self, period_id: int, amount: int, total: int) -> None:
        """`amount` that this worker had set aside is in the ledger, whose total of the period is `total` now."""
        counter = self._counters.get(period_id)
        if counter is not None:
            self.quota.settle(counter, amount, total)


def _until(pots: Pots) -> int:
    """When the first of the periods ends, in Unix microseconds."""
    return min((pot.period.ends_at_us for pot in pots if pot.period.ends_at_us is not None), default=2**63)


def ids_of(pots: Sequence[Pot]) -> str:
    """The periods' ids, as PostgreSQL writes an array; empty for none."""
    return "{" + ",".join(str(pot.period.id) for pot in pots) + "}" if pots else ""


def exhausted(refusal: Refusal, pots: Sequence[Pot]) -> GatewayError:
    """The error for a request that a budget refused."""
    pot = next(pot for pot in pots if pot.counter is refusal.counter)
    name = pot.budget.name
    if refusal.reason != "limit":
        message = f"What is left of the budget '{name}' is not known at the moment."
        return GatewayError("budget_rebuilding", message, retry_after_s=1.0)
    return GatewayError(
        "budget_exceeded",
        f"The budget '{name}' has not enough left for this request.",
        shown_code="insufficient_quota",
        should_retry=False,
    )


class PeriodTotals(Protocol):
    """What the ledger has of budgets' periods. Both raise GatewayError."""

    async def opened_epoch(self, period_id: int) -> str | None:
        """The epoch of the counters in which the period's was opened last; None: never."""

    async def open_in(self, epoch: str, period_id: int) -> int:
        """Note that it is opened in this one; what counts as spent of the period."""


class Openings:
    """What the counter of a budget's period opens with, as the ledger has it, and whether it may. `pause` waits so many
    seconds; `now` is in seconds."""

    def __init__(
        self,
        rows: PeriodTotals,
        absent: Callable[[str, str], Awaitable[Sequence[str]]],
        wait_ms: int,
        *,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`absent(name, epoch)` gives the workers that may hold something of the counter that it does not know of."""
        self._rows = rows
        self._absent = absent
        self._wait_ms = wait_ms
        self._pause = pause
        self._now = now
        self._epoch = ""
        self._patient_until = 0.0

    async def open(self, name: str, epoch: str) -> Opening:
        """For the counter called `name`. Raises GatewayError: budget_rebuilding where it may not be opened yet, others
        where the ledger cannot say."""
        if epoch != self._epoch:
            self._epoch, self._patient_until = epoch, self._now() + _PATIENCE_S
        period_id = period_id_of(name)
        before = await self._rows.opened_epoch(period_id)
        if before is None:  # nobody has ever held anything of it
            return Opening(await self._rows.open_in(epoch, period_id), 0)
        if before == epoch:  # another worker is opening it at this moment, or it is lost by itself
            await self._pause(_OPENED_ELSEWHERE_S)
        await self._all_are_known(name, epoch)
        # Only now: who was known to have ended has all of its rows in the total. A counter that is lost by itself stays
        # closed for a while, as all of them do since they were lost together.
        settled = await self._rows.open_in(epoch, period_id)
        return Opening(settled, self._wait_ms if before == epoch else 0)

    async def _all_are_known(self, name: str, epoch: str) -> None:
        """Return when no worker is absent, which soon after a loss may take a moment. Raises budget_rebuilding."""
        last = False
        while await self._absent(name, epoch):
            if last:
                raise GatewayError("budget_rebuilding", "Workers may hold money of this budget that is not known of.")
            last = self._now() >= self._patient_until
            await self._pause(_LOOK_S)
