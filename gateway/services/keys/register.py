"""`KeyRegister`: makes, lists, changes, revokes and rotates keys, in the database."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import asyncpg

from gateway.errors import GatewayError
from gateway.services.keys.allowances import ALLOWANCES, Allowances, NoAllowances
from gateway.services.keys.format import make_token, redact
from gateway.services.keys.holders import Holders
from gateway.services.keys.secret import SecretError, Secrets
from gateway.store.audit import Actor, AdminRole, note
from gateway.store.postgres import Connection, Postgres
from gateway.store.sql import load

# The fields that `KeyRegister.update` takes.
CHANGEABLE = ("name", "models", "endpoints", "expires_at", "disabled")
LONGEST_OVERLAP_S = 30 * 86_400
_TERMS = ("team_id", "user_id", "models", "endpoints", "expires_at", "admin_role")
# Of a record, what is no fact of the row, and what is a piece of the token.
_NOT_NOTED = ("hint", "previous_secret", "created_at", "updated_at")


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """One key as an administrator sees it. `hint` is the token's first and last characters.

    `previous_secret`: made under a secret that is not the one in force, so it should be rotated.
    """

    id: str
    name: str
    hint: str
    state: Literal["active", "disabled", "expired", "revoked"]
    team_id: str | None
    team: str | None
    user_id: str | None
    models: list[str] | None
    endpoints: list[str] | None
    admin_role: AdminRole | None
    expires_at: datetime | None
    rpm: int | None
    tpm: int | None
    max_concurrency: int | None
    budget: dict[str, Any] | None
    revoked_at: datetime | None
    rotated_from: str | None
    previous_secret: bool
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class KeyTerms:
    """What a new key is for. None: no team or user, all declared models, the default endpoints, no end, no admin.

    `allowances` are some of `ALLOWANCES`.
    """

    name: str
    team: str | None = None
    user: str | None = None
    models: list[str] | None = None
    endpoints: list[str] | None = None
    expires_at: datetime | None = None
    admin_role: AdminRole | None = None
    allowances: Mapping[str, Any] = field(default_factory=dict)


class KeyRegister:
    """The rows of `api_keys`. `on_written(id)` is called after each change, before it is announced here.

    What `actor` changes is written to the audit log in the same transaction. All methods raise `GatewayError`:
    `store_unavailable`, `not_found` for an unknown id, `conflict` for a key that can no longer be changed.
    """

    def __init__(
        self,
        postgres: Postgres,
        secrets: Secrets,
        on_written: Callable[[str], None],
        allowances: Allowances | None = None,
    ) -> None:
        self._postgres = postgres
        self._secrets = secrets
        self._on_written = on_written
        self._sql = load("gateway.services.keys")
        self._holders = Holders()
        self._allowances: Allowances = allowances or NoAllowances()

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

    async def create(self, terms: KeyTerms, actor: Actor, *, within: uuid.UUID | None = None) -> tuple[KeyRecord, str]:
        """A new key, and its token, which is not to be had again. The team is made when there is none.

        `terms.user` is a user's id, e-mail address or name; raises `invalid_field` where it names none. `within`
        confines the key to one team and its members (`role_not_allowed` for any other).
        """
        token = make_token(self._secrets.current)

        async def insert(connection: Connection) -> KeyRecord:
            team_id = await self._holders.team_id(connection, terms.team, actor, within)
            user_id = await self._holders.user_id(connection, terms.user, actor, within)
            if terms.admin_role == "admin" and team_id is None:
                raise GatewayError("invalid_field", "`admin_role`: the admin of which `team`?", param="admin_role")
            values = {**dataclasses.asdict(terms), "team_id": team_id, "user_id": user_id}
            key_id = await self._insert(connection, token, values, None)
            await self._allowances.put(connection, key_id, terms.allowances, actor)
            return await self._noted(connection, actor, "created", key_id, None)

        record = await self._postgres.in_transaction(insert)
        self._on_written(record.id)
        return record, token

    async def page(
        self,
        *,
        after: uuid.UUID | None = None,
        limit: int = 100,
        team: str | None = None,
        name: str | None = None,
        user: str | None = None,
        revoked: bool = False,
        within: uuid.UUID | None = None,
    ) -> tuple[list[KeyRecord], bool]:
        """A page of keys, newest first, older than the key `after`; and whether there are more.

        `revoked` takes in revoked keys, `team` (by name) and `within` (by id) only that team's, `name` only those that
        are called so, `user` (by id, e-mail address or name) only that user's.
        """
        wanted = (after, team, revoked, within, name, user, limit + 1)

        async def read(connection: Connection) -> tuple[list[KeyRecord], bool]:
            rows = await connection.fetch(self._sql["page"], *wanted)
            return await self._records(connection, rows[:limit]), len(rows) > limit

        return await self._postgres.in_transaction(read)

    async def get(self, key_id: uuid.UUID) -> KeyRecord:
        """One key."""
        return await self._postgres.in_transaction(lambda connection: self._read(connection, key_id))

    async def update(self, key_id: uuid.UUID, changes: dict[str, Any], actor: Actor) -> KeyRecord:
        """Set the fields in `changes` (of `CHANGEABLE` and `ALLOWANCES`); `conflict` when the key is revoked."""
        allowances = {name: value for name, value in changes.items() if name in ALLOWANCES}

        async def change(connection: Connection) -> KeyRecord:
            before = await self._locked(connection, key_id)
            if before.revoked_at is not None:
                raise GatewayError("conflict", f"Key {key_id} has been revoked; it can no longer be changed.")
            values = [changes.get(field) for field in CHANGEABLE]
            await connection.execute(self._sql["update"], key_id, list(changes), *values)
            await self._allowances.put(connection, key_id, allowances, actor)
            return await self._noted(connection, actor, "changed", key_id, before)

        record = await self._postgres.in_transaction(change)
        self._on_written(record.id)
        return record

    async def revoke(self, key_id: uuid.UUID, actor: Actor) -> KeyRecord:
        """End a key for good; that it was revoked before is no error. The row stays for the ledger."""

        async def end(connection: Connection) -> KeyRecord:
            before = await self._locked(connection, key_id)
            if before.revoked_at is not None:
                return before
            await connection.execute(self._sql["revoke"], key_id)
            return await self._noted(connection, actor, "revoked", key_id, before)

        record = await self._postgres.in_transaction(end)
        self._on_written(record.id)
        return record

    async def rotate(self, key_id: uuid.UUID, overlap_s: int, actor: Actor) -> tuple[KeyRecord, str]:
        """A new key on the same terms, and its token; the old one ends after `overlap_s`, or earlier by its own terms.

        Raises `conflict` when the old one is revoked, expired or was rotated before.
        """
        token = make_token(self._secrets.current)

        async def replace(connection: Connection) -> KeyRecord:
            old = await connection.fetchrow(self._sql["lock"], key_id)
            if old is None:
                raise _not_found(key_id)
            before = await self._read(connection, key_id)
            successor = await connection.fetchval(self._sql["successor"], key_id)
            _refuse_rotation(key_id, old, successor)
            new_id = await self._insert(connection, token, dict(old), key_id)
            if old["disabled"]:
                await connection.execute(self._sql["update"], new_id, ["disabled"], None, None, None, None, True)
            await connection.execute(self._sql["retire"], key_id, float(overlap_s))
            await self._noted(connection, actor, "rotated", key_id, before)
            return await self._noted(connection, actor, "created", new_id, None)

        record = await self._postgres.in_transaction(replace)
        self._on_written(str(key_id))
        self._on_written(record.id)
        return record, token

    async def _locked(self, connection: Connection, key_id: uuid.UUID) -> KeyRecord:
        """The key as it stays until the transaction's end."""
        await connection.execute(self._sql["lock"], key_id)
        return await self._read(connection, key_id)

    async def _read(self, connection: Connection, key_id: uuid.UUID) -> KeyRecord:
        rows = await connection.fetch(self._sql["record"], key_id)
        if not rows:
            raise _not_found(key_id)
        return (await self._records(connection, rows))[0]

    async def _records(self, connection: Connection, rows: Sequence[asyncpg.Record]) -> list[KeyRecord]:
        allowed = await self._allowances.of(connection, [row["id"] for row in rows])
        return [self._record(row, allowed.get(str(row["id"]), {})) for row in rows]

    async def _noted(
        self, connection: Connection, actor: Actor, action: str, key_id: uuid.UUID, before: KeyRecord | None
    ) -> KeyRecord:
        """The key as it is now, once the audit log has it."""
        after = await self._read(connection, key_id)
        was = None if before is None else _facts(before)
        await note(connection, actor, action, "key", after.id, was, _facts(after), after.team_id)
        return after

    async def _insert(
        self, connection: Connection, token: str, terms: Mapping[str, Any], rotated_from: uuid.UUID | None
    ) -> uuid.UUID:
        secret = self._secrets.current
        row = await connection.fetchrow(
            self._sql["insert"],
            terms["name"],
            secret.hash_token(token),
            secret.fingerprint,
            redact(token),
            *(terms[name] for name in _TERMS),
            rotated_from,
        )
        assert row is not None
        key_id: uuid.UUID = row["id"]
        return key_id

    def _record(self, row: asyncpg.Record, allowed: Mapping[str, Any]) -> KeyRecord:
        return KeyRecord(
            id=str(row["id"]),
            name=row["name"],
            hint=row["key_hint"],
            state=row["state"],
            team_id=None if row["team_id"] is None else str(row["team_id"]),
            team=row["team"],
            user_id=None if row["user_id"] is None else str(row["user_id"]),
            models=row["models"],
            endpoints=row["endpoints"],
            admin_role=row["admin_role"],
            expires_at=row["expires_at"],
            rpm=allowed.get("rpm"),
            tpm=allowed.get("tpm"),
            max_concurrency=allowed.get("max_concurrency"),
            budget=allowed.get("budget"),
            revoked_at=row["revoked_at"],
            rotated_from=None if row["rotated_from"] is None else str(row["rotated_from"]),
            previous_secret=bytes(row["secret_fingerprint"]) != self._secrets.current.fingerprint,
            created_at=row["created_at"],
            updated_at=row["updated_at"],
        )


def _facts(record: KeyRecord) -> dict[str, Any]:
    return {name: value for name, value in dataclasses.asdict(record).items() if name not in _NOT_NOTED}


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
