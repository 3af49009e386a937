"""`Verification`: do the ledger's rows, the periods' figures and the counters say the same? If not, have them do so.

What is only under way is no difference. A row and its part of its period's figure are committed together, and read
together. A counter hears of a row soon after it, so it is looked at twice: it is wrong if it still lacks what the
database had a while before, or has more than the database has afterwards. A worker's lease is wrong if its worker was
settled before the first look and still is at the last.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from gateway.services.budgets.books import Account, Books, Counted, Counters
from gateway.services.budgets.budget import counter_name
from gateway.store.audit import Actor

SETTLE_S: Final = 3.0  # by far longer than a counter takes to hear of a row

Figure = Literal["settled", "current_usage", "counter", "held", "gone"]
_UNDER_WAY: Final = ("counter", "gone")


@dataclass(frozen=True, slots=True)
class Difference:
    """`figure` of a period says `found` nano-dollars, and has to say `expected`.

    settled: the period's row, against the ledger's rows; current_usage: the budget's; counter: what the counter has as
    settled; held: what it has as set aside, against the sum over workers; gone: what `worker` holds of it, which is
    settled.
    """

    figure: Figure
    account: Account
    found: int
    expected: int
    worker: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of so many periods, and so many counters (None: the counters are not there to be asked)."""

    periods: int
    counters: int | None
    differences: Sequence[Difference]


@dataclass(frozen=True, slots=True)
class _Look:
    """Read in the order of the fields."""

    accounts: Mapping[int, Account]
    unsettled_before: frozenset[str]
    counters: Mapping[str, Counted]
    totals: Mapping[int, int]
    unsettled_after: frozenset[str]


class Verification:
    """Over the database, and the counters where they can be had. `settle_s` is between two looks."""

    def __init__(self, books: Books, counters: Counters | None, settle_s: float = SETTLE_S) -> None:
        self._books = books
        self._counters = counters
        self._settle_s = settle_s

    async def verify(self, *, everything: bool = False) -> Verdict:
        """Compare, of periods in force or of all there are. Raises GatewayError store_unavailable."""
        look = await self._look(everything=everything)
        found = list(_differences(look, look))
        if any(each.figure in _UNDER_WAY for each in found):
            await asyncio.sleep(self._settle_s)
            again = await self._look(everything=everything)
            found = list(_differences(look, again))
            look = again
        return Verdict(len(look.accounts), None if self._counters is None else len(look.counters), found)

    async def repair(self, differences: Iterable[Difference], actor: Actor) -> None:
        """Put right the periods in which something differs. Raises GatewayError store_unavailable.

        Safe beside workers that go on: a period's row is locked meanwhile, so that its total stays, and its counter is
        changed in one step. Each repair is in the audit log.
        """
        by_period: dict[int, list[Difference]] = {}
        for each in differences:
            by_period.setdefault(each.account.period_id, []).append(each)
        for period_id, found in by_period.items():
            gone = [each.worker for each in found if each.worker is not None]
            name = counter_name(found[0].account.budget_id, period_id)

            async def put_right(total: int, name: str = name, gone: Sequence[str] = gone) -> int:
                return 0 if self._counters is None else await self._counters.put_right(name, total, gone)

            await self._books.correct(period_id, actor, put_right)

    async def _look(self, *, everything: bool) -> _Look:
        accounts = {each.period_id: each for each in await self._books.accounts(everything=everything)}
        before = await self._books.unsettled()
        counted: Mapping[str, Counted] = {}
        if self._counters is not None:
            names = [counter_name(each.budget_id, each.period_id) for each in accounts.values() if each.hard]
            counted = await self._counters.counters(names)
        totals = await self._books.totals(list(accounts))
        return _Look(accounts, before, counted, totals, await self._books.unsettled())


def _differences(first: _Look, last: _Look) -> Iterator[Difference]:
    """What differs in `last`, and was not only under way in `first`."""
    living = first.unsettled_before | last.unsettled_after
    for period_id, account in last.accounts.items():
        if account.settled != account.settled_by_rows:
            yield Difference("settled", account, account.settled, account.settled_by_rows)
        elif account.shown is not None and account.to_show not in (None, account.shown):
            yield Difference("current_usage", account, account.shown, account.to_show or 0)
        counter = last.counters.get(counter_name(account.budget_id, period_id))
        if counter is None:
            continue
        before = first.accounts.get(period_id)
        if before is not None and not before.total <= counter.settled <= last.totals[period_id]:
            yield Difference("counter", account, counter.settled, last.totals[period_id])
        held = sum(counter.holders.values())
        if counter.held != held:
            yield Difference("held", account, counter.held, held)
        for worker, amount in counter.holders.items():
            if worker not in living:
                yield Difference("gone", account, amount, 0, worker)
