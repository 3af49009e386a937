"""`Teams`: makes, lists, changes and deletes teams, and says who is a member."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import asyncpg

from gateway.errors import GatewayError
from gateway.services.tenants.records import (
    MemberRecord,
    TeamRecord,
    facts,
    member_record,
    name_taken,
    not_found,
    team_record,
)
from gateway.services.tenants.rows import Rows
from gateway.store.audit import Actor, note
from gateway.store.postgres import Connection, Postgres
from gateway.store.sql import load

# The fields that `Teams.update` takes.
CHANGEABLE = ("name", "organisation_id", "weight", "disabled")


class Teams:
    """The rows of `teams` and `team_members`.

    All methods raise `GatewayError`: `store_unavailable`, `not_found` for an unknown id, `conflict` for a name that
    is taken and for what has been deleted, `invalid_field` for an organisation or a user that is not there.
    """

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._sql = load("gateway.services.tenants")
        self._rows = Rows(postgres, self._sql, "team", team_record)

    async def page(
        self,
        *,
        after: uuid.UUID | None = None,
        limit: int = 100,
        name: str | None = None,
        organisation_id: uuid.UUID | None = None,
        with_deleted: bool = False,
        within: uuid.UUID | None = None,
    ) -> tuple[list[TeamRecord], bool]:
        """A page, newest first, older than the team `after`; and whether there are more. `within`: only that team."""
        wanted = (after, name, organisation_id, with_deleted, within, limit + 1)
        rows = await self._postgres.fetch(self._sql["teams"], *wanted)
        return [team_record(row) for row in rows[:limit]], len(rows) > limit

    async def get(self, team_id: uuid.UUID) -> TeamRecord:
        """One of them, deleted or not."""
        return await self._rows.get(team_id)

    async def create(
        self, name: str, actor: Actor, *, organisation_id: uuid.UUID | None = None, weight: float = 1.0
    ) -> TeamRecord:
        """A new team."""

        async def insert(connection: Connection) -> TeamRecord:
            await self._hold_organisation(connection, organisation_id)
            made = await connection.fetchval(self._sql["insert_team"], name, organisation_id, weight)
            return await self._rows.noted(connection, actor, "created", made, None)

        try:
            return await self._postgres.in_transaction(insert)
        except asyncpg.UniqueViolationError:
            raise name_taken("team", name) from None

    async def update(self, team_id: uuid.UUID, changes: Mapping[str, Any], actor: Actor) -> TeamRecord:
        """Set the fields in `changes` (of `CHANGEABLE`)."""

        async def change(connection: Connection) -> TeamRecord:
            before = await self._rows.locked(connection, team_id)
            await self._hold_organisation(connection, changes.get("organisation_id"))
            values = [changes.get(field) for field in CHANGEABLE]
            await connection.execute(self._sql["update_team"], team_id, list(changes), *values)
            return await self._rows.noted(connection, actor, "changed", team_id, before)

        try:
            return await self._postgres.in_transaction(change)
        except asyncpg.UniqueViolationError:
            raise name_taken("team", changes["name"]) from None

    async def delete(self, team_id: uuid.UUID, actor: Actor) -> TeamRecord:
        """Mark it as deleted: its keys are refused from now on."""
        return await self._postgres.in_transaction(lambda connection: self._rows.delete(connection, team_id, actor))

    # --- members ----------------------------------------------------------------------------------

    async def members(
        self, team_id: uuid.UUID, *, after: uuid.UUID | None = None, limit: int = 100
    ) -> tuple[list[MemberRecord], bool]:
        """A page of a team's members, by user id, after the user `after`; and whether there are more."""
        await self.get(team_id)
        rows = await self._postgres.fetch(self._sql["members"], team_id, after, limit + 1)
        return [member_record(row) for row in rows[:limit]], len(rows) > limit

    async def add_member(self, team_id: uuid.UUID, user_id: uuid.UUID, actor: Actor) -> MemberRecord:
        """Make a user a member; that it is one already is no error."""

        async def add(connection: Connection) -> MemberRecord:
            await self._rows.locked(connection, team_id)
            user = await connection.fetchrow(self._sql["user"], user_id)
            if user is None or user["deleted_at"] is not None:
                raise GatewayError("invalid_field", f"`user_id`: there is no user {user_id}.", param="user_id")
            added = await connection.fetchval(self._sql["insert_member"], team_id, user_id)
            row = await connection.fetchrow(self._sql["member"], team_id, user_id)
            assert row is not None
            member = member_record(row)
            if added is not None:
                await note(connection, actor, "added", "member", member.id, None, facts(member), team_id)
            return member

        return await self._postgres.in_transaction(add)

    async def remove_member(self, team_id: uuid.UUID, user_id: uuid.UUID, actor: Actor) -> MemberRecord:
        """Take a user out of a team. Its keys stay: revoke them, or disable the user."""

        async def remove(connection: Connection) -> MemberRecord:
            await self._rows.locked(connection, team_id)
            row = await connection.fetchrow(self._sql["member"], team_id, user_id)
            if row is None:
                raise not_found("member", user_id)
            member = member_record(row)
            await connection.execute(self._sql["delete_member"], team_id, user_id)
            await note(connection, actor, "removed", "member", member.id, facts(member), None, team_id)
            return member

        return await self._postgres.in_transaction(remove)

    # --- inside -----------------------------------------------------------------------------------

    async def _hold_organisation(self, connection: Connection, organisation_id: uuid.UUID | None) -> None:
        if organisation_id is None:
            return
        if await connection.fetchval(self._sql["share_organisation"], organisation_id) is None:
            raise GatewayError(
                "invalid_field",
                f"`organisation_id`: there is no organisation {organisation_id}.",
                param="organisation_id",
            )
