"""The rows of `budget_periods`: read, opened by the calendar, ended and begun anew. All in the caller's transaction."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gateway.errors import GatewayError
from gateway.services.budgets.budget import DEFAULT_MAX_END_USERS, Period, calendar_of, period_of
from gateway.store.postgres import Connection
from gateway.store.sql import load

LONGEST_END_USER = 512


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which period: the budget's that is in force at the moment `at`, of one end user or ("") of all."""

    budget_id: uuid.UUID
    at: datetime
    end_user: str = ""


class PeriodRows:
    """What can be done with periods. Whoever changes some calls `lock` first; `open` then waits for its end."""

    def __init__(self) -> None:
        self._sql = load("gateway.services.budgets")

    async def lock(self, connection: Connection) -> datetime:
        """Keep all others from opening and changing periods until the transaction's end; the database's time then."""
        await connection.execute(self._sql["lock_to_change"])
        now: datetime = await connection.fetchval(self._sql["now"])
        return now

    async def in_force(self, connection: Connection, wanted: Sequence[Wanted]) -> list[Period]:
        """Those of `wanted` that are there."""
        return [period_of(row) for row in await connection.fetch(self._sql["in_force"], *_columns(wanted))]

    async def open(self, connection: Connection, wanted: Sequence[Wanted]) -> list[Period]:
        """All of `wanted`; those that are not there are made. The budgets must be there, deleted or not.

        Raises GatewayError invalid_field where a budget would have more end users than it may have.
        """
        await connection.execute(self._sql["lock_to_open"])
        # Read under the lock: a calendar of the snapshot may be one that was changed just now.
        rows = await connection.fetch(self._sql["calendars"], list({one.budget_id for one in wanted}))
        budgets = {row["id"]: row for row in rows}
        for one in wanted:
            if one.end_user:
                await self._refuse_one_too_many(connection, one, budgets[one.budget_id])
        spans = [calendar_of(budgets[one.budget_id], one.at) for one in wanted]
        starts, ends = [start for start, _ in spans], [end for _, end in spans]
        await connection.execute(self._sql["open"], *_columns(wanted), starts, ends)
        return await self.in_force(connection, wanted)

    async def end(self, connection: Connection, budget_id: uuid.UUID, now: datetime) -> None:
        """End what is in force, of all end users, and forget what was prepared: the calendar is another one."""
        await connection.execute(self._sql["close"], budget_id, now, None)
        await connection.execute(self._sql["drop_prepared"], budget_id, now)

    async def begin_again(
        self, connection: Connection, budget_id: uuid.UUID, now: datetime, end_user: str | None
    ) -> None:
        """End what is in force, and begin a period with nothing spent that ends when that would have.

        Of `end_user` alone, or (None) of all there are.
        """
        closed = await connection.fetch(self._sql["close"], budget_id, now, end_user)
        end_users, ends = [row["end_user"] for row in closed], [row["ends_at"] for row in closed]
        await connection.execute(self._sql["begin_again"], budget_id, now, end_users, ends)

    async def _refuse_one_too_many(self, connection: Connection, wanted: Wanted, budget: Any) -> None:
        await connection.execute(self._sql["lock_end_users"], str(wanted.budget_id))
        if await self.in_force(connection, [wanted]):
            return
        most = budget["max_end_users"] or DEFAULT_MAX_END_USERS
        if await connection.fetchval(self._sql["count_end_users"], wanted.budget_id, wanted.at) >= most:
            raise _refusal(
                f"`user`: the budget '{budget['budget_name']}' is for at most {most} users of this key in a period"
            )


def check_end_user(end_user: str) -> None:
    """Raise GatewayError invalid_field for what a row cannot hold."""
    if len(end_user) > LONGEST_END_USER or "\0" in end_user or not _is_text(end_user):
        raise _refusal(f"`user`: at most {LONGEST_END_USER} characters, none of them NUL or half of a pair")


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _columns(wanted: Sequence[Wanted]) -> tuple[list[uuid.UUID], list[str], list[datetime]]:
    return [one.budget_id for one in wanted], [one.end_user for one in wanted], [one.at for one in wanted]


def _refusal(message: str) -> GatewayError:
    return GatewayError("invalid_field", message, param="user", should_retry=False)
