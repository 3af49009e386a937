"""`Users`: makes, lists, changes and deletes them, beside a table that may be KubeChat's own."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import asyncpg

from gateway.errors import GatewayError
from gateway.services.tenants.records import UserRecord, user_record
from gateway.services.tenants.rows import Rows
from gateway.store.audit import Actor
from gateway.store.postgres import Connection, Postgres
from gateway.store.sql import load

_NOT_OURS = (
    asyncpg.UndefinedColumnError,
    asyncpg.GeneratedAlwaysError,
    asyncpg.InsufficientPrivilegeError,
    asyncpg.IntegrityConstraintViolationError,
)


class Users:
    """The rows of `users` and `user_standing`.

    All methods raise `GatewayError`: `store_unavailable`, `not_found` for an unknown id, `conflict` for an e-mail
    address that is taken, for what has been deleted, and where KubeChat's own table does not take the row.
    """

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._sql = load("gateway.services.tenants")
        self._rows = Rows(postgres, self._sql, "user", user_record)

    async def page(
        self,
        *,
        after: uuid.UUID | None = None,
        limit: int = 100,
        name: str | None = None,
        email: str | None = None,
        team_id: uuid.UUID | None = None,
        with_deleted: bool = False,
    ) -> tuple[list[UserRecord], bool]:
        """A page by id, after the user `after`; and whether there are more. `team_id`: only that team's members."""
        wanted = (after, name, email, team_id, with_deleted, limit + 1)
        rows = await self._postgres.fetch(self._sql["users"], *wanted)
        return [user_record(row) for row in rows[:limit]], len(rows) > limit

    async def get(self, user_id: uuid.UUID) -> UserRecord:
        """One of them, deleted or not."""
        return await self._rows.get(user_id)

    async def create(self, name: str | None, email: str | None, actor: Actor) -> UserRecord:
        """A new user."""

        async def insert(connection: Connection) -> UserRecord:
            await self._refuse_taken(connection, email, None)
            made = await connection.fetchval(self._sql["insert_user"], name, email)
            return await self._rows.noted(connection, actor, "created", made, None)

        return await self._in_transaction(insert)

    async def update(self, user_id: uuid.UUID, changes: Mapping[str, Any], actor: Actor) -> UserRecord:
        """Set the fields in `changes`: `name`, `email`, `disabled`."""

        async def change(connection: Connection) -> UserRecord:
            before = await self._rows.locked(connection, user_id)
            if "email" in changes:
                await self._refuse_taken(connection, changes["email"], user_id)
                await connection.execute(self._sql["update_user_email"], user_id, changes["email"])
            if "name" in changes:
                await connection.execute(self._sql["update_user_name"], user_id, changes["name"])
            if "disabled" in changes:
                await connection.execute(self._sql["disable_user"], user_id, changes["disabled"])
            return await self._rows.noted(connection, actor, "changed", user_id, before)

        return await self._in_transaction(change)

    async def delete(self, user_id: uuid.UUID, actor: Actor) -> UserRecord:
        """Mark it as deleted, beside KubeChat's row: its keys are refused from now on."""
        return await self._in_transaction(lambda connection: self._rows.delete(connection, user_id, actor))

    # --- inside -----------------------------------------------------------------------------------

    async def _in_transaction(self, work: Any) -> UserRecord:
        try:
            record: UserRecord = await self._postgres.in_transaction(work)
        except _NOT_OURS as error:
            raise GatewayError(
                "conflict", "The table of users is KubeChat's own, and does not take this; change the user there."
            ) from error
        return record

    async def _refuse_taken(self, connection: Connection, email: str | None, user_id: uuid.UUID | None) -> None:
        if email is None:
            return
        await connection.execute(self._sql["lock_email"], email)
        if await connection.fetchval(self._sql["email_taken"], email, user_id):
            raise GatewayError("conflict", f"There is a user with the e-mail address '{email}'.", param="email")
