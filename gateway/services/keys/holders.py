"""Whose key is it? From the team and the user that a request names to their rows."""

from __future__ import annotations

import uuid

import asyncpg

from gateway.errors import GatewayError
from gateway.store.audit import Actor, note
from gateway.store.postgres import Connection
from gateway.store.sql import load


class Holders:
    """Finds teams and users by what they are called, and makes those that are not there, inside a transaction.

    `within` is the team to which a team's admin is confined: it gives keys to that team and its members alone, and
    makes neither teams nor users. Both methods raise `GatewayError`: `invalid_field`, `conflict`, `role_not_allowed`.
    """

    def __init__(self) -> None:
        self._sql = load("gateway.services.keys")

    async def team_id(
        self, connection: Connection, team: str | None, actor: Actor, within: uuid.UUID | None
    ) -> uuid.UUID | None:
        """The id of the team called `team`; of `within` itself where that is given."""
        if within is not None:
            if team is not None and team != await connection.fetchval(self._sql["team_name"], within):
                raise GatewayError("role_not_allowed", "This admin key makes keys for its own team only.", param="team")
            return within
        if team is None:
            return None
        made: uuid.UUID | None = await connection.fetchval(self._sql["insert_team"], team)
        if made is not None:
            await note(connection, actor, "created", "team", str(made), None, {"name": team}, made)
            return made
        # A statement of its own: only so does it see a team that another transaction made meanwhile.
        row = await connection.fetchrow(self._sql["team_named"], team)
        assert row is not None
        if row["deleted"]:
            raise GatewayError("conflict", f"The team '{team}' has been deleted.", param="team")
        found: uuid.UUID = row["id"]
        return found

    async def user_id(
        self, connection: Connection, user: str | None, actor: Actor, within: uuid.UUID | None
    ) -> uuid.UUID | None:
        """The id of the user whose id, e-mail address or name is `user`."""
        if user is None:
            return None
        found = await self._known_user(connection, user)
        if within is not None:
            if found is None or not await connection.fetchval(self._sql["is_member"], within, found):
                raise GatewayError("role_not_allowed", "This user is no member of the admin key's team.", param="user")
            return found
        return found if found is not None else await self._make_user(connection, user, actor)

    async def _known_user(self, connection: Connection, user: str) -> uuid.UUID | None:
        if (user_id := parse_id(user)) is not None:
            if not await connection.fetchval(self._sql["user_exists"], user_id):
                raise GatewayError("invalid_field", f"`user`: there is no user with the id {user_id}.", param="user")
            return user_id
        await connection.execute(self._sql["lock_user_name"], user)
        found: list[uuid.UUID] = [row["id"] for row in await connection.fetch(self._sql["users_named"], user)]
        if len(found) > 1:
            raise GatewayError("invalid_field", "`user`: several users have this name; give the id.", param="user")
        return found[0] if found else None

    async def _make_user(self, connection: Connection, user: str, actor: Actor) -> uuid.UUID:
        try:
            made: uuid.UUID = await connection.fetchval(self._sql["insert_user"], user)
        except (asyncpg.UndefinedColumnError, asyncpg.IntegrityConstraintViolationError) as error:
            # The table is KubeChat's own, and a row needs more than we know.
            raise GatewayError("invalid_field", "`user`: there is no user with this name.", param="user") from error
        await note(connection, actor, "created", "user", str(made), None, {"name": user})
        return made


def parse_id(text: str) -> uuid.UUID | None:
    """The UUID that `text` spells in the usual form, or None."""
    try:
        found = uuid.UUID(text)
    except ValueError:
        return None
    return found if str(found) == text.lower() else None
