"""`BudgetRegister`: makes, lists, changes, tops up, resets and deletes budgets, in the database."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import asyncpg

from gateway.errors import GatewayError
from gateway.services.budgets.budget import END_USER, BudgetScope
from gateway.services.budgets.record import BudgetFilter, BudgetRecord, record_of
from gateway.services.budgets.rows import OF_A_TEAM, BudgetRows
from gateway.store.audit import Actor
from gateway.store.postgres import Connection, Postgres
from gateway.store.sql import load
from gateway.store.subjects import find_subject, first_of_line

OnWritten = Callable[[uuid.UUID], Awaitable[None]]
Write = Callable[[Connection, BudgetRecord], Awaitable[BudgetRecord]]


class BudgetRegister:
    """The rows of `cost_budgets`. `on_written(id)` is awaited after each change, for this worker's own next request.

    `within` is the team to which a team's admin is confined: it has a say over the budgets of that team's keys, and
    of users that are in no other team, as far as `gateway.store.authority` says, and reads the team's own. All
    methods raise `GatewayError`: `store_unavailable`, `not_found`, `invalid_field` (also for a subject that is not
    there), `role_not_allowed`.
    """

    def __init__(self, postgres: Postgres, on_written: OnWritten) -> None:
        self._postgres = postgres
        self._on_written = on_written
        self._rows = BudgetRows()
        self._sql = load("gateway.services.budgets")

    async def create(
        self,
        place: tuple[BudgetScope, str, str | None],
        fields: Mapping[str, Any],
        actor: Actor,
        *,
        within: uuid.UUID | None = None,
    ) -> BudgetRecord:
        """A new budget at `place` (scope, subject, model), beside those that are there; its first period begins."""

        async def write(connection: Connection) -> BudgetRecord:
            scope, subject, model = place
            found = await find_subject(connection, scope, subject, model)
            if within is not None and (scope not in OF_A_TEAM or found.team_id != within):
                raise _not_its_own()
            return await self._rows.insert(connection, (scope, found.subject, model), fields, actor)

        record = await self._postgres.in_transaction(write)
        await self._on_written(uuid.UUID(record.id))
        return record

    async def page(
        self, wanted: BudgetFilter, *, after: uuid.UUID | None = None, limit: int = 100
    ) -> tuple[list[BudgetRecord], bool]:
        """A page of budgets, newest first, older than the budget `after`; and whether there are more."""

        async def read(connection: Connection) -> list[asyncpg.Record]:
            subject = await first_of_line(connection, wanted.subject)
            return await self._rows.page(connection, wanted, subject, after, limit + 1)

        rows = await self._postgres.in_transaction(read)
        return [record_of(row) for row in rows[:limit]], len(rows) > limit

    async def get(self, budget_id: uuid.UUID, end_user: str = "") -> BudgetRecord:
        """One budget with its period in force; of an end_user budget, with that of `end_user`."""

        async def read(connection: Connection) -> BudgetRecord:
            return await self._rows.read(connection, budget_id, end_user)

        return await self._postgres.in_transaction(read)

    async def end_user_among(self, budget_id: uuid.UUID, names: Sequence[str]) -> str:
        """The one of `names` who had the budget's latest period. Raises invalid_field where none had any."""
        found: str | None = await self._postgres.fetchval(self._sql["end_user_among"], budget_id, list(names))
        if found is None:
            message = "`end_user`: the budget has no period of this user; on the command line it needs one"
            raise GatewayError("invalid_field", message, param="end_user")
        return found

    async def change(
        self, budget_id: uuid.UUID, changes: Mapping[str, Any], actor: Actor, *, within: uuid.UUID | None = None
    ) -> BudgetRecord:
        """Set the fields in `changes` (of `CHANGEABLE`). Another period, reset day or time zone: a new period now."""

        async def write(connection: Connection, before: BudgetRecord) -> BudgetRecord:
            return await self._rows.update(connection, before, changes, actor)

        return await self._write(budget_id, within, write)

    async def delete(self, budget_id: uuid.UUID, actor: Actor, *, within: uuid.UUID | None = None) -> BudgetRecord:
        """Take it out of force; the row stays. What it was is returned."""

        async def write(connection: Connection, before: BudgetRecord) -> BudgetRecord:
            await self._rows.delete(connection, before, actor)
            return before

        return await self._write(budget_id, within, write)

    async def top_up(
        self,
        budget_id: uuid.UUID,
        amount_nano_usd: int,
        actor: Actor,
        *,
        end_user: str = "",
        within: uuid.UUID | None = None,
    ) -> BudgetRecord:
        """Add to what may be spent in the period in force, and in no other."""

        async def write(connection: Connection, before: BudgetRecord) -> BudgetRecord:
            _check_end_user_named(before, end_user)
            return await self._rows.top_up(connection, before, amount_nano_usd, end_user, actor)

        return await self._write(budget_id, within, write, end_user)

    async def reset(
        self,
        budget_id: uuid.UUID,
        actor: Actor,
        *,
        end_user: str | None = None,
        within: uuid.UUID | None = None,
    ) -> BudgetRecord:
        """Begin a new period now, with nothing spent; it ends when the old one would have.

        Of an end_user budget, that of `end_user`, or those of all.
        """

        async def write(connection: Connection, before: BudgetRecord) -> BudgetRecord:
            if end_user is not None:
                _check_end_user_named(before, end_user)
            return await self._rows.reset(connection, before, end_user, actor)

        return await self._write(budget_id, within, write, end_user or "")

    async def _write(
        self, budget_id: uuid.UUID, within: uuid.UUID | None, write: Write, end_user: str = ""
    ) -> BudgetRecord:
        async def run(connection: Connection) -> BudgetRecord:
            await self._rows.lock(connection)
            before = await self._rows.read(connection, budget_id, end_user)
            if within is not None:
                _refuse_others(before, within)
            return await write(connection, before)

        record = await self._postgres.in_transaction(run)
        await self._on_written(budget_id)
        return record


def _check_end_user_named(record: BudgetRecord, end_user: str) -> None:
    if (record.scope == END_USER) != (end_user != ""):
        reason = "this budget has none" if end_user else "say whose, for each has its own"
        raise GatewayError("invalid_field", f"`end_user`: {reason}", param="end_user")


def _refuse_others(record: BudgetRecord, within: uuid.UUID) -> None:
    if record.team_id != str(within):
        raise GatewayError("not_found", f"There is no budget with the id {record.id}.")
    if record.scope not in OF_A_TEAM:
        raise _not_its_own()


def _not_its_own() -> GatewayError:
    return GatewayError(
        "role_not_allowed",
        "A team's admin has a say over the budgets of its team's keys, and of users of that team alone.",
    )
