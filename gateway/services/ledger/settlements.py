"""Who is told what of budgets' money has become rows, so that nothing counts twice, once held and once spent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol


@dataclass(slots=True)
class Spent:
    """What rows in the database cost in one budget period: all that a batch had (`batch_nano_usd`), and those of them
    that were not there before (`fresh_nano_usd`). `total_nano_usd` is the period's at the commit."""

    batch_nano_usd: int
    fresh_nano_usd: int
    total_nano_usd: int


Receipt = dict[int, Spent]  # by the period's id


def joined(first: Receipt, second: Receipt) -> Receipt:
    """The receipt of both; `second` is the later one."""
    for period_id, spent in second.items():
        if (before := first.get(period_id)) is not None:
            spent.batch_nano_usd += before.batch_nano_usd
            spent.fresh_nano_usd += before.fresh_nano_usd
    return {**first, **second}


class Settled(NamedTuple):
    """Money of one budget period that is in the database now, nano-dollars.

    `delta_nano_usd` is what these rows cost that were not told of before; `total_nano_usd` all that counts as spent of
    the period (settled and lost) as the database had it at the commit. Totals may arrive in another order than they
    were true in.
    """

    period_id: int
    delta_nano_usd: int
    total_nano_usd: int


def whole(receipt: Receipt) -> list[Settled]:
    """What is to be told of a batch of the worker's own journal, once it is in the database as a whole."""
    return [Settled(period, spent.batch_nano_usd, spent.total_nano_usd) for period, spent in receipt.items()]


def fresh(receipt: Receipt) -> list[Settled]:
    """What is to be told of a batch of a dead worker's journal."""
    return [Settled(period, spent.fresh_nano_usd, spent.total_nano_usd) for period, spent in receipt.items()]


class Settlements(Protocol):
    """Hears of it after the commit. `journal_id` names the journal that the rows were in: its worker's, dead or not.

    Of the worker's own journal each row is in exactly one delta, however often its copy had to be tried. Of a dead
    worker's journal a delta has the rows that were not in the database before, and rows whose commit nobody could
    tell of are in none: totals have them, and `adopted` ends whatever was still held.
    """

    def copied(self, journal_id: str, settled: Sequence[Settled]) -> None:
        """Rows that name budgets are in the database. Must not raise."""

    async def adopted(self, journal_id: str) -> None:
        """A dead worker's journal is in the database as a whole: nothing is held by it any more.

        Called again until it returns, by any worker: whoever raises, or dies, has it tried again. Raises what it likes.
        """

    async def ended(self) -> None:
        """This worker's own journal is in the database as a whole, and nothing more comes: it is about to be removed.

        Raises what it likes: then the journal stays, empty as it is, and whoever finds it calls `adopted`.
        """


class NoSettlements:
    """Nobody is told."""

    def copied(self, journal_id: str, settled: Sequence[Settled]) -> None:
        """Nothing."""

    async def adopted(self, journal_id: str) -> None:
        """Nothing."""

    async def ended(self) -> None:
        """Nothing."""
