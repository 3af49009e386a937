"""`LimitRegister`: makes, lists, changes and deletes limits, in the database."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

import asyncpg

from gateway.errors import GatewayError
from gateway.services.limits.limit import CHANGEABLE, NUMBERS, OnStoreFailure
from gateway.store.audit import Actor, note
from gateway.store.authority import is_no_laxer, is_no_more, is_owner, require, require_within_team
from gateway.store.postgres import Connection, Postgres
from gateway.store.scopes import Scope
from gateway.store.sql import load
from gateway.store.subjects import find_subject, first_of_line

# Where a team's admin may set limits.
_OF_A_TEAM: Final = frozenset({"key", "user"})

OnWritten = Callable[[uuid.UUID], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class LimitRecord:
    """One limit as an administrator sees it; `team_id` is the team that it belongs to, `set_by_owner` as in
    `gateway.store.authority`. The rest is as in `Limit`."""

    id: str
    scope: Scope
    subject: str
    model: str | None
    requests_per_minute: int | None
    requests_per_hour: int | None
    requests_per_day: int | None
    tokens_per_minute: int | None
    tokens_per_hour: int | None
    tokens_per_day: int | None
    max_concurrency: int | None
    on_store_failure: OnStoreFailure
    team_id: str | None
    set_by_owner: bool
    created_at: datetime
    updated_at: datetime
    managed_by: Literal["admin"] = "admin"


@dataclass(frozen=True, slots=True)
class LimitFilter:
    """Which limits a list has: of a scope, on a subject, for a model; `within`: of that team and its keys alone."""

    scope: str | None = None
    subject: str | None = None
    model: str | None = None
    within: uuid.UUID | None = None


class LimitRegister:
    """The rows of `quota_limits`. `on_written(id)` is awaited after each change, for this worker's own next request.

    `within` is the team to which a team's admin is confined: it has a say over the limits of that team's keys, and of
    users that are in no other team, as far as `gateway.store.authority` says, and reads the team's own. All methods
    raise `GatewayError`: `store_unavailable`, `not_found`, `invalid_field` (also for a subject that is not there),
    `missing_field`, `role_not_allowed`.
    """

    def __init__(self, postgres: Postgres, on_written: OnWritten) -> None:
        self._postgres = postgres
        self._on_written = on_written
        self._sql = load("gateway.services.limits")

    async def put(
        self,
        place: tuple[Scope, str, str | None],
        fields: Mapping[str, Any],
        actor: Actor,
        *,
        within: uuid.UUID | None = None,
    ) -> tuple[LimitRecord, bool]:
        """Set the limit at `place` (scope, subject, model) to `fields` and nothing else; True where there was none."""

        async def write(connection: Connection) -> tuple[LimitRecord, bool]:
            scope, subject, model = place
            found = await find_subject(connection, scope, subject, model)
            if within is not None and (scope not in _OF_A_TEAM or found.team_id != within):
                raise _not_its_own()
            return await put_limit(connection, self._sql, (scope, found.subject, model), fields, actor)

        record, is_new = await self._postgres.in_transaction(write)
        await self._on_written(uuid.UUID(record.id))
        return record, is_new

    async def page(
        self, wanted: LimitFilter, *, after: uuid.UUID | None = None, limit: int = 100
    ) -> tuple[list[LimitRecord], bool]:
        """A page of limits, newest first, older than the limit `after`; and whether there are more."""

        async def read(connection: Connection) -> list[asyncpg.Record]:
            subject = await first_of_line(connection, wanted.subject)
            return await connection.fetch(
                self._sql["page"], after, wanted.scope, subject, wanted.model, limit + 1, wanted.within
            )

        rows = await self._postgres.in_transaction(read)
        return [LimitRecord(**row) for row in rows[:limit]], len(rows) > limit

    async def get(self, limit_id: uuid.UUID) -> LimitRecord:
        """One limit."""
        row = await self._postgres.fetchrow(self._sql["record"], limit_id)
        if row is None:
            raise _not_found(limit_id)
        return LimitRecord(**row)

    async def change(
        self, limit_id: uuid.UUID, changes: Mapping[str, Any], actor: Actor, *, within: uuid.UUID | None = None
    ) -> LimitRecord:
        """Set the fields in `changes` (of `CHANGEABLE`); None takes a number away, but one must be left."""

        async def write(connection: Connection) -> LimitRecord:
            before = await self._locked(connection, limit_id, within)
            return await _update(connection, self._sql, before, changes, actor)

        record = await self._postgres.in_transaction(write)
        await self._on_written(limit_id)
        return record

    async def delete(self, limit_id: uuid.UUID, actor: Actor, *, within: uuid.UUID | None = None) -> LimitRecord:
        """Take it out of force; the row stays. What it was is returned."""

        async def write(connection: Connection) -> LimitRecord:
            before = await self._locked(connection, limit_id, within)
            await delete_limit(connection, self._sql, before, actor)
            return before

        record = await self._postgres.in_transaction(write)
        await self._on_written(limit_id)
        return record

    async def _locked(self, connection: Connection, limit_id: uuid.UUID, within: uuid.UUID | None) -> LimitRecord:
        if await connection.fetchval(self._sql["lock"], limit_id) is None:
            raise _not_found(limit_id)
        record = await _read(connection, self._sql, limit_id)
        if within is not None and record.team_id != str(within):
            raise _not_found(limit_id)
        if within is not None and record.scope not in _OF_A_TEAM:
            raise _not_its_own()
        return record


async def put_limit(
    connection: Connection,
    sql: Mapping[str, str],
    place: tuple[Scope, str, str | None],
    fields: Mapping[str, Any],
    actor: Actor,
) -> tuple[LimitRecord, bool]:
    """What `LimitRegister.put` does, for a subject that was looked up, in the caller's transaction."""
    values = {"on_store_failure": "local", **dict.fromkeys(NUMBERS), **fields}
    _refuse_empty(values)
    while True:
        columns = (values[name] for name in CHANGEABLE)
        made = await connection.fetchval(sql["insert"], *place, *columns, is_owner(actor))
        if made is not None:
            record = await _read(connection, sql, made)
            require(actor, "set", "limit", set_by_owner=False)
            await _keep_within_team(connection, sql, None, record, actor)
            await note(connection, actor, "created", "limit", record.id, None, _facts(record), record.team_id)
            return record, True
        # A statement of its own: it sees what the insertion met. Gone again by now, it is inserted after all.
        there = await connection.fetchval(sql["lock_place"], *place)
        if there is not None:
            return await _update(connection, sql, await _read(connection, sql, there), values, actor), False


async def delete_limit(connection: Connection, sql: Mapping[str, str], record: LimitRecord, actor: Actor) -> None:
    """Take a locked limit out of force, in the caller's transaction. Raises role_not_allowed."""
    require(actor, "remove", "limit", set_by_owner=record.set_by_owner)
    await connection.execute(sql["delete"], uuid.UUID(record.id))
    await note(connection, actor, "deleted", "limit", record.id, _facts(record), None, record.team_id)


async def locked_at(
    connection: Connection, sql: Mapping[str, str], place: tuple[Scope, str, str | None]
) -> LimitRecord | None:
    """The limit at exactly this place, as it stays until the transaction's end."""
    found = await connection.fetchval(sql["lock_place"], *place)
    return None if found is None else await _read(connection, sql, found)


async def _update(
    connection: Connection, sql: Mapping[str, str], before: LimitRecord, changes: Mapping[str, Any], actor: Actor
) -> LimitRecord:
    values = {name: changes.get(name, getattr(before, name)) for name in CHANGEABLE}
    _refuse_empty(values)
    lower = all(is_no_more(values[name], getattr(before, name)) for name in NUMBERS)
    lower = lower and is_no_laxer(values["on_store_failure"], before.on_store_failure)
    require(actor, "lower" if lower else "change", "limit", set_by_owner=before.set_by_owner)
    await connection.execute(sql["update"], uuid.UUID(before.id), *values.values(), is_owner(actor))
    after = await _read(connection, sql, uuid.UUID(before.id))
    await _keep_within_team(connection, sql, before, after, actor)
    await note(connection, actor, "changed", "limit", after.id, _facts(before), _facts(after), after.team_id)
    return after


async def _keep_within_team(
    connection: Connection, sql: Mapping[str, str], before: LimitRecord | None, record: LimitRecord, actor: Actor
) -> None:
    if record.scope in _OF_A_TEAM and record.team_id is not None and not is_owner(actor):
        most = await connection.fetchrow(sql["team_allows"], record.team_id, record.model)
        assert most is not None
        for name in NUMBERS:
            wanted = getattr(record, name)
            if before is None or not is_no_more(wanted, getattr(before, name)):
                require_within_team(actor, name, wanted, most[name])


async def _read(connection: Connection, sql: Mapping[str, str], limit_id: uuid.UUID) -> LimitRecord:
    row = await connection.fetchrow(sql["record"], limit_id)
    assert row is not None
    return LimitRecord(**row)


def _facts(record: LimitRecord) -> dict[str, Any]:
    return {name: value for name, value in dataclasses.asdict(record).items() if value is not None}


def _refuse_empty(values: Mapping[str, Any]) -> None:
    if all(values[name] is None for name in NUMBERS):
        raise GatewayError("missing_field", f"A limit has at least one of {', '.join(NUMBERS)}; or delete it.")


def _not_found(limit_id: uuid.UUID) -> GatewayError:
    return GatewayError("not_found", f"There is no limit with the id {limit_id}.")


def _not_its_own() -> GatewayError:
    return GatewayError(
        "role_not_allowed", "A team's admin sets limits on its own team's keys, and on users of that team alone."
    )
