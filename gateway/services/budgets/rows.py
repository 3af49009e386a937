"""The rows of `cost_budgets`: made and changed together with their periods, inside the caller's transaction."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import asyncpg

from gateway.errors import GatewayError
from gateway.services.budgets.budget import DEFAULT_THRESHOLDS, END_USER, MOST_NANO_USD, BudgetScope
from gateway.services.budgets.periods import PeriodRows, Wanted
from gateway.services.budgets.record import (
    CHANGEABLE,
    BudgetFilter,
    BudgetRecord,
    allows_no_more,
    facts,
    record_of,
)
from gateway.store.audit import Actor, note
from gateway.store.authority import is_owner, require, require_within_team
from gateway.store.postgres import Connection
from gateway.store.sql import load

_DEFAULTS: Final[Mapping[str, Any]] = {
    "name": "",
    "period": "month",
    "reset_day": 1,
    "time_zone": "UTC",
    "thresholds": DEFAULT_THRESHOLDS,
    "hard": True,
    "on_too_dear": "clamp",
    "unbounded_nano_usd": None,
    "max_end_users": None,
    "on_store_failure": "local",
}
# Where a team's admin may set budgets.
OF_A_TEAM: Final = frozenset({"key", "user", END_USER})
_CALENDAR: Final = ("period", "reset_day", "time_zone")


class BudgetRows:
    """Each method but `read` and `page` writes the audit log. Those that take a record are called under `lock`.

    Whoever may not do it is refused with role_not_allowed, as `gateway.store.authority` has it.
    """

    def __init__(self) -> None:
        self._sql = load("gateway.services.budgets")
        self._periods = PeriodRows()

    async def lock(self, connection: Connection) -> datetime:
        """Until the transaction's end nobody else changes a budget or opens a period. The time, by the database."""
        return await self._periods.lock(connection)

    async def read(self, connection: Connection, budget_id: uuid.UUID, end_user: str = "") -> BudgetRecord:
        """One budget, with the period in force. Raises not_found."""
        row = await connection.fetchrow(self._sql["record"], budget_id, end_user)
        if row is None:
            raise GatewayError("not_found", f"There is no budget with the id {budget_id}.")
        return record_of(row)

    async def page(
        self, connection: Connection, wanted: BudgetFilter, subject: str | None, after: uuid.UUID | None, limit: int
    ) -> list[asyncpg.Record]:
        """Rows for `record_of`, newest first; `subject` is in the place of the one in `wanted`."""
        return await connection.fetch(
            self._sql["page"], after, wanted.scope, subject, wanted.model, limit, wanted.within
        )

    async def insert(
        self,
        connection: Connection,
        place: tuple[BudgetScope, str, str | None],
        fields: Mapping[str, Any],
        actor: Actor,
    ) -> BudgetRecord:
        """A new budget on a subject that was looked up, with its first period."""
        values = {**_DEFAULTS, **fields}
        values["name"] = values["name"] or " ".join(filter(None, place))[:255]
        columns = (values[name] for name in CHANGEABLE)
        require(actor, "set", "budget", set_by_owner=False)
        budget_id: uuid.UUID = await connection.fetchval(self._sql["insert"], *place, *columns, is_owner(actor))
        await self._open(connection, budget_id, place[0])
        return await self._noted(connection, actor, "created", budget_id, None)

    async def update(
        self, connection: Connection, before: BudgetRecord, changes: Mapping[str, Any], actor: Actor
    ) -> BudgetRecord:
        """Set the fields in `changes`; where the calendar changes, a new period begins now."""
        budget_id = uuid.UUID(before.id)
        values = {name: changes.get(name, getattr(before, name)) for name in CHANGEABLE}
        if values["limit_nano_usd"] + await connection.fetchval(self._sql["most_topped_up"], budget_id) > MOST_NANO_USD:
            raise _too_much("limit_usd")
        lower = allows_no_more(before, values)
        require(actor, "lower" if lower else "change", "budget", set_by_owner=before.set_by_owner)
        is_another_calendar = any(values[name] != getattr(before, name) for name in _CALENDAR)
        if is_another_calendar:
            await self._periods.end(connection, budget_id, await connection.fetchval(self._sql["now"]))
        await connection.execute(self._sql["update"], budget_id, *values.values(), is_owner(actor))
        if is_another_calendar:
            await connection.execute(self._sql["nothing_used"], budget_id)
            await self._open(connection, budget_id, before.scope)
        return await self._noted(connection, actor, "changed", budget_id, before)

    async def delete(self, connection: Connection, before: BudgetRecord, actor: Actor) -> None:
        """Take it out of force."""
        require(actor, "remove", "budget", set_by_owner=before.set_by_owner)
        await connection.execute(self._sql["delete"], uuid.UUID(before.id))
        await note(connection, actor, "deleted", "budget", before.id, facts(before), None, before.team_id)

    async def top_up(
        self, connection: Connection, before: BudgetRecord, amount_nano_usd: int, end_user: str, actor: Actor
    ) -> BudgetRecord:
        """Add to the period in force. Raises invalid_field for more than can be counted."""
        require(actor, "top up", "budget", set_by_owner=before.set_by_owner)
        budget_id = uuid.UUID(before.id)
        now = await connection.fetchval(self._sql["now"])
        (period,) = await self._periods.open(connection, [Wanted(budget_id, now, end_user)])
        if before.limit_nano_usd + period.topped_up_nano_usd + amount_nano_usd > MOST_NANO_USD:
            raise _too_much("amount_usd")
        await connection.execute(self._sql["top_up"], period.id, amount_nano_usd)
        return await self._noted(connection, actor, "topped_up", budget_id, before, end_user)

    async def reset(
        self, connection: Connection, before: BudgetRecord, end_user: str | None, actor: Actor
    ) -> BudgetRecord:
        """Begin a new period now, of `end_user` or of all."""
        require(actor, "reset", "budget", set_by_owner=before.set_by_owner)
        budget_id = uuid.UUID(before.id)
        now = await connection.fetchval(self._sql["now"])
        await self._periods.begin_again(connection, budget_id, now, end_user)
        if end_user is None:
            await connection.execute(self._sql["nothing_used"], budget_id)
            await self._open(connection, budget_id, before.scope)
        return await self._noted(connection, actor, "reset", budget_id, before, end_user or "")

    async def of_key(self, connection: Connection, first_key_id: str) -> list[uuid.UUID]:
        """The budgets of a key for all models, by the id of the first key of its line."""
        return [row["id"] for row in await connection.fetch(self._sql["of_key"], first_key_id)]

    async def _open(self, connection: Connection, budget_id: uuid.UUID, scope: BudgetScope) -> None:
        """Those of end users are opened when they come."""
        if scope != END_USER:
            now = await connection.fetchval(self._sql["now"])
            await self._periods.open(connection, [Wanted(budget_id, now)])

    async def _keep_within_team(self, connection: Connection, record: BudgetRecord, actor: Actor) -> None:
        if record.scope in OF_A_TEAM and record.team_id is not None and not is_owner(actor):
            most = await connection.fetchval(self._sql["team_allows"], record.team_id, record.model, record.period)
            require_within_team(actor, "limit_usd", _allowance(record), most)

    async def _noted(
        self,
        connection: Connection,
        actor: Actor,
        action: str,
        budget_id: uuid.UUID,
        before: BudgetRecord | None,
        end_user: str = "",
    ) -> BudgetRecord:
        after = await self.read(connection, budget_id, end_user)
        if before is None or before.period != after.period or _allowance(after) > _allowance(before):
            await self._keep_within_team(connection, after, actor)
        was = None if before is None else facts(before)
        is_now = {**facts(after), **({"end_user": end_user} if end_user else {})}
        await note(connection, actor, action, "budget", after.id, was, is_now, after.team_id)
        return after


def _allowance(record: BudgetRecord) -> int:
    """What may be spent in the period in force."""
    return record.limit_nano_usd + (0 if record.current is None else record.current.topped_up_nano_usd)


def _too_much(field: str) -> GatewayError:
    most = f"{MOST_NANO_USD / 1e9:.2f}"
    return GatewayError("invalid_field", f"`{field}`: a budget and its top-ups are at most {most} USD", param=field)
