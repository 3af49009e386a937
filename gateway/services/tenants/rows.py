"""What is done alike to organisations, teams and users: reading one, holding it for a change, deleting, noting."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

import asyncpg

from gateway.services.tenants.records import OrganisationRecord, TeamRecord, UserRecord, deleted, facts, not_found
from gateway.store.audit import Actor, note
from gateway.store.postgres import Connection, Postgres

Record = TypeVar("Record", bound=OrganisationRecord | TeamRecord | UserRecord)


class Rows(Generic[Record]):
    """The rows of one kind. `noun` is what they are called, in messages, in the audit log and in the names of the
    statements `sql`: `team`, `lock_team`, `delete_team`; `read` makes a record of a row."""

    def __init__(
        self, postgres: Postgres, sql: Mapping[str, str], noun: str, read: Callable[[asyncpg.Record], Record]
    ) -> None:
        self._postgres = postgres
        self._sql = sql
        self._noun = noun
        self._read = read

    async def get(self, row_id: uuid.UUID) -> Record:
        """One of them, deleted or not. Raises not_found."""
        row = await self._postgres.fetchrow(self._sql[self._noun], row_id)
        if row is None:
            raise not_found(self._noun, row_id)
        return self._read(row)

    async def locked(self, connection: Connection, row_id: uuid.UUID) -> Record:
        """One of them, which nobody else changes until the transaction ends. Raises not_found, and conflict for one
        that is deleted."""
        await connection.execute(self._sql[f"lock_{self._noun}"], row_id)
        row = await connection.fetchrow(self._sql[self._noun], row_id)
        if row is None:
            raise not_found(self._noun, row_id)
        if row["deleted_at"] is not None:
            raise deleted(self._noun, row_id)
        return self._read(row)

    async def delete(self, connection: Connection, row_id: uuid.UUID, actor: Actor) -> Record:
        """Mark it as deleted."""
        before = await self.locked(connection, row_id)
        await connection.execute(self._sql[f"delete_{self._noun}"], row_id)
        return await self.noted(connection, actor, "deleted", row_id, before)

    async def noted(
        self, connection: Connection, actor: Actor, action: str, row_id: uuid.UUID, before: Record | None
    ) -> Record:
        """It as it is now, once the audit log has it; a team is its own team's."""
        row = await connection.fetchrow(self._sql[self._noun], row_id)
        assert row is not None
        after = self._read(row)
        team_id = after.id if isinstance(after, TeamRecord) else None
        await note(connection, actor, action, self._noun, after.id, facts(before), facts(after), team_id)
        return after
