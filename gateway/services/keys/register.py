"""`KeyRegister`: makes, lists, changes, revokes and rotates keys, in the database."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import asyncpg

from gateway.errors import GatewayError
from gateway.services.keys.format import make_token, redact
from gateway.services.keys.secret import SecretError, Secrets
from gateway.store.postgres import Connection, Postgres
from gateway.store.sql import load

_log = logging.getLogger("gateway.keys")

# The fields that `KeyRegister.update` takes.
CHANGEABLE = ("name", "models", "endpoints", "expires_at", "disabled")
LONGEST_OVERLAP_S = 30 * 86_400


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """One key as an administrator sees it. `hint` is the token's first and last characters.

    `previous_secret`: made under a secret that is not the one in force, so it should be rotated.
    """

    id: str
    name: str
    hint: str
    state: Literal["active", "disabled", "expired", "revoked"]
    team: str | None
    user_id: str | None
    models: list[str] | None
    endpoints: list[str] | None
    expires_at: datetime | None
    revoked_at: datetime | None
    rotated_from: str | None
    previous_secret: bool
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class KeyTerms:
    """What a new key is for. None: no team or user, all declared models, the default endpoints, no end."""

    name: str
    team: str | None = None
    user: str | None = None
    models: list[str] | None = None
    endpoints: list[str] | None = None
    expires_at: datetime | None = None


class KeyRegister:
    """The rows of `api_keys`. `on_written(id)` is called after each change, before it is announced here.

    All methods raise `GatewayError`: `store_unavailable`, `not_found` for an unknown id, `conflict`
    for a key that can no longer be changed.
    """

    def __init__(self, postgres: Postgres, secrets: Secrets, on_written: Callable[[str], None]) -> None:
        self._postgres = postgres
        self._secrets = secrets
        self._on_written = on_written
        self._sql = load("gateway.services.keys")

    async def check_secret(self) -> int:
        """Note the secret in force, or raise `SecretError` when the database was set up with another.

        Returns how many usable keys were made under secrets that are not given now: they are refused.
        """

        async def check(connection: Connection) -> None:
            await connection.execute(self._sql["lock_secrets"])
            known = [bytes(row["fingerprint"]) for row in await connection.fetch(self._sql["fingerprints"])]
            if known and not any(secret.fingerprint in known for secret in self._secrets.all):
                raise SecretError(_wrong_secret(self._secrets.current.fingerprint, known))
            await connection.execute(self._sql["add_fingerprint"], self._secrets.current.fingerprint)

        await self._postgres.in_transaction(check)
        given = [secret.fingerprint for secret in self._secrets.all]
        return int(await self._postgres.fetchval(self._sql["keys_under_other_secrets"], given))

    async def create(self, terms: KeyTerms) -> tuple[KeyRecord, str]:
        """A new key, and its token, which is not to be had again. The team is made when there is none.

        `terms.user` is a user's id, e-mail address or name; raises `invalid_field` where it names none.
        """
        token = make_token(self._secrets.current)

        async def insert(connection: Connection) -> uuid.UUID:
            team_id = await self._team_id(connection, terms.team)
            user_id = await self._user_id(connection, terms.user)
            return await self._insert(
                connection, token, (terms.name, team_id, user_id, terms.models, terms.endpoints, terms.expires_at), None
            )

        key_id = await self._postgres.in_transaction(insert)
        return await self._written(key_id), token

    async def page(
        self, *, after: uuid.UUID | None = None, limit: int = 100, team: str | None = None, revoked: bool = False
    ) -> tuple[list[KeyRecord], bool]:
        """A page of keys, newest first, older than the key `after`; and whether there are more.

        `revoked` takes in revoked keys, `team` only that team's.
        """
        rows = await self._postgres.fetch(self._sql["page"], after, team, revoked, limit + 1)
        return [self._record(row) for row in rows[:limit]], len(rows) > limit

    async def get(self, key_id: uuid.UUID) -> KeyRecord:
        """One key."""
        row = await self._postgres.fetchrow(self._sql["record"], key_id)
        if row is None:
            raise _not_found(key_id)
        return self._record(row)

    async def update(self, key_id: uuid.UUID, changes: dict[str, Any]) -> KeyRecord:
        """Set the fields in `changes` (of `CHANGEABLE`); `conflict` when the key is revoked."""
        values = [changes.get(field) for field in CHANGEABLE]
        tag = await self._postgres.execute(self._sql["update"], key_id, list(changes), *values)
        if _none_changed(tag):
            await self.get(key_id)
            raise GatewayError("conflict", f"Key {key_id} has been revoked; it can no longer be changed.")
        return await self._written(key_id)

    async def revoke(self, key_id: uuid.UUID) -> KeyRecord:
        """End a key for good; that it was revoked before is no error. The row stays for the ledger."""
        await self._postgres.execute(self._sql["revoke"], key_id)
        return await self._written(key_id)

    async def rotate(self, key_id: uuid.UUID, overlap_s: int) -> tuple[KeyRecord, str]:
        """A new key on the same terms, and its token; the old one ends after `overlap_s`, or earlier by its own terms.

        Raises `conflict` when the old one is revoked, expired or was rotated before.
        """
        token = make_token(self._secrets.current)

        async def replace(connection: Connection) -> uuid.UUID:
            old = await connection.fetchrow(self._sql["lock"], key_id)
            if old is None:
                raise _not_found(key_id)
            successor = await connection.fetchval(self._sql["successor"], key_id)
            _refuse_rotation(key_id, old, successor)
            terms = tuple(old[name] for name in ("name", "team_id", "user_id", "models", "endpoints", "expires_at"))
            new_id = await self._insert(connection, token, terms, key_id)
            if old["disabled"]:
                await connection.execute(self._sql["update"], new_id, ["disabled"], None, None, None, None, True)
            await connection.execute(self._sql["retire"], key_id, float(overlap_s))
            return new_id

        new_id = await self._postgres.in_transaction(replace)
        self._on_written(str(key_id))
        return await self._written(new_id), token

    async def _written(self, key_id: uuid.UUID) -> KeyRecord:
        # This worker's own next request sees the change, without waiting for the notification.
        self._on_written(str(key_id))
        return await self.get(key_id)

    async def _insert(
        self, connection: Connection, token: str, terms: tuple[Any, ...], rotated_from: uuid.UUID | None
    ) -> uuid.UUID:
        name, team_id, user_id, models, endpoints, expires_at = terms
        secret = self._secrets.current
        row = await connection.fetchrow(
            self._sql["insert"],
            name,
            secret.hash_token(token),
            secret.fingerprint,
            redact(token),
            team_id,
            user_id,
            models,
            endpoints,
            expires_at,
            rotated_from,
        )
        assert row is not None
        key_id: uuid.UUID = row["id"]
        return key_id

    async def _team_id(self, connection: Connection, team: str | None) -> uuid.UUID | None:
        if team is None:
            return None
        await connection.execute(self._sql["insert_team"], team)
        # A statement of its own: only so does it see a team that another transaction made meanwhile.
        found: uuid.UUID = await connection.fetchval(self._sql["team_id"], team)
        return found

    async def _user_id(self, connection: Connection, user: str | None) -> uuid.UUID | None:
        if user is None:
            return None
        if (user_id := parse_id(user)) is not None:
            if not await connection.fetchval(self._sql["user_exists"], user_id):
                raise GatewayError("invalid_field", f"`user`: there is no user with the id {user_id}.", param="user")
            return user_id
        await connection.execute(self._sql["lock_user_name"], user)
        found = [row["id"] for row in await connection.fetch(self._sql["users_named"], user)]
        if len(found) > 1:
            raise GatewayError("invalid_field", "`user`: several users have this name; give the id.", param="user")
        if found:
            known: uuid.UUID = found[0]
            return known
        try:
            made: uuid.UUID = await connection.fetchval(self._sql["insert_user"], user)
        except (asyncpg.UndefinedColumnError, asyncpg.IntegrityConstraintViolationError) as error:
            # The table is KubeChat's own, and a row needs more than we know.
            raise GatewayError("invalid_field", "`user`: there is no user with this name.", param="user") from error
        return made

    def _record(self, row: asyncpg.Record) -> KeyRecord:
        return KeyRecord(
            id=str(row["id"]),
            name=row["name"],
            hint=row["key_hint"],
            state=row["state"],
            team=row["team"],
            user_id=None if row["user_id"] is None else str(row["user_id"]),
            models=row["models"],
            endpoints=row["endpoints"],
            expires_at=row["expires_at"],
            revoked_at=row["revoked_at"],
            rotated_from=None if row["rotated_from"] is None else str(row["rotated_from"]),
            previous_secret=bytes(row["secret_fingerprint"]) != self._secrets.current.fingerprint,
            created_at=row["created_at"],
            updated_at=row["updated_at"],
        )


def parse_id(text: str) -> uuid.UUID | None:
    """The UUID that `text` spells in the usual form, or None."""
    try:
        found = uuid.UUID(text)
    except ValueError:
        return None
    return found if str(found) == text.lower() else None


def _wrong_secret(given: bytes, known: list[bytes]) -> str:
    return (
        "GATEWAY_SECRET_KEY is not the secret that this database was set up with: its fingerprint is "
        f"{given.hex()}, the database knows {', '.join(one.hex() for one in known)}. "
        "To change the secret, give the old one as GATEWAY_SECRET_KEY_PREVIOUS."
    )


def _refuse_rotation(key_id: uuid.UUID, old: asyncpg.Record, successor: uuid.UUID | None) -> None:
    for unfit, reason in (
        (old["revoked_at"], "has been revoked"),
        (successor, f"has been rotated before, to {successor}"),
        (old["expired"], "has expired"),
    ):
        if unfit:
            raise GatewayError("conflict", f"Key {key_id} {reason}; make a new one instead.")


def _not_found(key_id: uuid.UUID) -> GatewayError:
    return GatewayError("not_found", f"There is no key with the id {key_id}.")


def _none_changed(tag: str) -> bool:
    return tag.endswith(" 0")
