"""`Books`: what the database says of the money of budgets' periods, and setting it right."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

import asyncpg

from gateway.services.budgets.budget import counter_name
from gateway.store.audit import Actor, note
from gateway.store.postgres import Connection, Postgres
from gateway.store.sql import load

_TIMEOUT_S: Final = 600.0  # rows of months may have to be read
_MOST_SHOWN: Final = 999_999_999_999_999_999  # of cost_budgets.current_usage


class Counted(Protocol):
    """A period's counter, nano-dollars: settled, held in total, and held by each worker."""

    @property
    def settled(self) -> int:
        """What it takes to be in the ledger."""

    @property
    def held(self) -> int:
        """What workers have set aside, as the counter adds it up."""

    @property
    def holders(self) -> Mapping[str, int]:
        """What each of them has."""


class Counters(Protocol):
    """The counters of money in force, by `counter_name`. All methods raise GatewayError store_unavailable."""

    async def counters(self, names: Sequence[str]) -> Mapping[str, Counted]:
        """Those that are there."""

    async def held_by(self, workers: Sequence[str]) -> Mapping[str, Mapping[str, int]]:
        """What workers hold of which counters; those that hold nothing are left out."""

    async def silent_s(self, worker: str) -> float | None:
        """Seconds since a worker's last word; None: there was none."""

    async def put_right(self, name: str, total: int, gone: Sequence[str]) -> int:
        """Set what is settled, free what the workers `gone` hold, add up the rest; how much was freed."""


@dataclass(frozen=True, slots=True)
class Account:
    """One period, nano-dollars. `rows` is what the ledger's rows that name it add up to; where it is not `complete`,
    rows of it may have been dropped with their month. `released` is what rows below zero have given back of what is
    `settled`. `shown` is what its budget has as `current_usage`; None where
    that shows another period. `hard`: it has a counter."""

    period_id: int
    budget_id: str
    budget: str
    end_user: str
    hard: bool
    starts_at: datetime
    ends_at: datetime | None
    settled: int
    released: int
    lost: int
    rows: int
    complete: bool
    shown: int | None

    @property
    def total(self) -> int:
        """What its counter has as settled: all that was ever charged."""
        return self.settled + self.lost

    @property
    def settled_by_rows(self) -> int:
        """What `settled` has to be: rows prove that money was spent, and missing ones of dropped months nothing."""
        charged = self.rows + self.released
        return charged if self.complete else max(charged, self.settled)

    @property
    def to_show(self) -> int | None:
        """What `shown` has to be; it is written with the period's first row, and is the last one's until then."""
        settled = self.settled_by_rows
        return None if self.shown is None or not settled else min(max(settled - self.released, 0), _MOST_SHOWN)


class Books:
    """The rows. All methods raise GatewayError store_unavailable."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._sql = load("gateway.services.budgets", "books.sql")
        self._totals = load("gateway.services.budgets")["totals"]

    async def accounts(self, *, everything: bool) -> list[Account]:
        """Of all periods in force, or of all there are; each as it was at one moment, the same for all."""
        rows = await self._postgres.fetch(self._sql["accounts"], everything, None, timeout_s=_TIMEOUT_S)
        return [_account(row) for row in rows]

    async def totals(self, period_ids: Sequence[int]) -> dict[int, int]:
        """What counts as spent now, by period."""
        rows = await self._postgres.fetch(self._totals, list(period_ids))
        return {row["id"]: int(row["total"]) for row in rows}

    async def unsettled(self) -> frozenset[str]:
        """The workers that may hold something: they live, or their journal was not copied."""
        return frozenset(row["id"] for row in await self._postgres.fetch(self._sql["unsettled"]))

    async def correct(self, period_id: int, actor: Actor, put_right: Callable[[int], Awaitable[int]]) -> Account:
        """Set what is settled from the rows, and what is shown from that; then `put_right(total)` is awaited, all while
        no copy adds to the period. What has changed goes into the audit log. How it is now is returned.

        Raises what `put_right` raises; then nothing is changed here.
        """

        async def write(connection: Connection) -> Account:
            # Statements of their own: the second one sees what was committed before the lock was had.
            await connection.execute(self._sql["lock"], period_id)
            row = await connection.fetchrow(self._sql["accounts"], True, period_id)
            assert row is not None  # periods stay
            before = _account(row)
            settled, shown = before.settled_by_rows, before.to_show
            if settled != before.settled:
                await connection.execute(self._sql["set_settled"], period_id, settled)
            if shown is not None and shown != before.shown:
                await connection.execute(self._sql["set_shown"], before.budget_id, shown)
            freed = await put_right(settled + before.lost)
            was = {"period_id": period_id, "settled_nano_usd": before.settled, "current_usage_nano_usd": before.shown}
            now = {
                "period_id": period_id,
                "settled_nano_usd": settled,
                "current_usage_nano_usd": before.shown if shown is None else shown,
                "freed_nano_usd": freed,
            }
            await note(connection, actor, "repaired", "budget", before.budget_id, was, now)
            return _account({**row, "settled_nano_usd": settled, "shown": now["current_usage_nano_usd"]})

        return await self._postgres.in_transaction(write, timeout_s=_TIMEOUT_S)

    async def tell(self, period_ids: Sequence[int], counters: Counters) -> None:
        """Have the counters of these periods, as far as they have any, hear what the database has now.

        Raises GatewayError store_unavailable where either store is away: then it is to be done again.
        """
        for row in await self._postgres.fetch(self._sql["counted"], list(period_ids)):

            async def put_right(total: int, name: str = counter_name(row["budget_id"], row["id"])) -> int:
                return await counters.put_right(name, total, ())

            await self.hold_total(row["id"], put_right)

    async def hold_total(self, period_id: int, work: Callable[[int], Awaitable[int]]) -> int:
        """What `work(total)` gives, while no copy adds to the period; 0 where there is no such period."""

        async def run(connection: Connection) -> int:
            await connection.execute(self._sql["lock"], period_id)
            row = await connection.fetchrow(self._totals, [period_id])
            return 0 if row is None else await work(int(row["total"]))

        return await self._postgres.in_transaction(run)


def _account(row: asyncpg.Record | Mapping[str, Any]) -> Account:
    return Account(
        period_id=row["id"],
        budget_id=row["budget_id"],
        budget=row["budget_name"],
        end_user=row["end_user"],
        hard=row["hard"],
        starts_at=row["starts_at"],
        ends_at=row["ends_at"],
        settled=row["settled_nano_usd"],
        released=row["released_nano_usd"],
        lost=row["lost_nano_usd"],
        rows=row["rows_nano_usd"],
        complete=row["complete"],
        shown=row["shown"],
    )
