"""Schema changes: numbered SQL files, applied once, in order, by one process at a time.

`migrations/NNNN_name.sql` begins with `-- kind: expand` (safe under the older version that still runs;
applied at every start) or `-- kind: contract` (applied by explicit command, once no older worker is
registered). A released file is never edited: its checksum is kept in `schema_migrations`.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Literal

import asyncpg

import gateway
from gateway.store.postgres import Connection, Postgres, unavailable
from gateway.store.sql import load

_log = logging.getLogger("gateway.store")

Kind = Literal["expand", "contract"]
EXPAND: Kind = "expand"
CONTRACT: Kind = "contract"

_FILE = re.compile(r"(\d{4})_([a-z][a-z0-9_]*)\.sql")
_KIND = re.compile(r"-- kind: (expand|contract) *\n")
_OLDEST_SERVER = 180_000  # uuidv7() came with PostgreSQL 18
_LOCK_TIMEOUT_S = 300.0


class MigrationError(Exception):
    """The database cannot be brought to, or does not fit, this version; the message says why."""


@dataclass(frozen=True)
class Migration:
    """One file."""

    version: int
    name: str
    kind: Kind
    checksum: str
    sql: str

    def __str__(self) -> str:
        return f"{self.version:04}_{self.name}"


def released(folder: Traversable | None = None) -> list[Migration]:
    """Return the migrations of `folder` (default: the package's), in order.

    Raises MigrationError for a file whose name or first line is not as it must be, or a number used twice.
    """
    found: dict[int, Migration] = {}
    folder = folder or files("gateway.store").joinpath("migrations")
    for file in sorted(folder.iterdir(), key=lambda f: f.name):
        if not file.name.endswith(".sql"):
            continue
        text = file.read_text(encoding="utf-8")
        name, kind = _FILE.fullmatch(file.name), _KIND.match(text)
        if name is None or kind is None:
            raise MigrationError(f"{file.name}: not NNNN_name.sql, or the first line is not '-- kind: expand|contract'")
        version = int(name[1])
        if version in found:
            raise MigrationError(f"{file.name}: the number {version:04} is taken by {found[version]}")
        checksum = hashlib.sha256(text.encode()).hexdigest()
        found[version] = Migration(version, name[2], CONTRACT if kind[1] == CONTRACT else EXPAND, checksum, text)
    return list(found.values())


async def pending(postgres: Postgres, migrations: Sequence[Migration] | None = None) -> list[Migration]:
    """Return what is not yet applied, of both kinds. Raises as `apply` does."""
    connection = await _session(postgres)
    try:
        return await _pending(connection, released() if migrations is None else migrations)
    finally:
        await connection.close()


async def apply(
    postgres: Postgres,
    kinds: Collection[Kind] = (EXPAND,),
    migrations: Sequence[Migration] | None = None,
) -> list[Migration]:
    """Apply what is pending of these kinds and return it; each in a transaction, all under one lock.

    Raises MigrationError when a released file was edited, a file failed (those before it stay applied),
    the server is older than PostgreSQL 18, a newer version has contracted the schema, or `kinds` holds
    `contract` while an older worker is registered; GatewayError `store_unavailable` when the server is away.
    """
    queries = load("gateway.store")
    connection = await _session(postgres)
    try:
        # The session's end releases the lock, however it ends.
        await connection.execute(queries["lock_migrations"], timeout=_LOCK_TIMEOUT_S)
        wanted = [
            m for m in await _pending(connection, released() if migrations is None else migrations) if m.kind in kinds
        ]
        if any(m.kind == CONTRACT for m in wanted):
            await _refuse_beside_older_workers(connection)
        if wanted:
            await connection.execute(queries["create_schema_migrations"])
        for migration in wanted:
            await _apply_one(connection, migration)
            _log.info("applied migration %s", migration)
        return wanted
    finally:
        await connection.close()


async def _session(postgres: Postgres) -> Connection:
    try:
        connection = await postgres.connect_session()
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        raise unavailable(error) from error
    version = connection.get_server_version()
    if version.major * 10_000 < _OLDEST_SERVER:
        await connection.close()
        raise MigrationError(f"PostgreSQL 18 or newer is needed; this server is version {version.major}")
    return connection


async def _pending(connection: Connection, migrations: Sequence[Migration]) -> list[Migration]:
    queries = load("gateway.store")
    if not await connection.fetchval(queries["has_schema_migrations"]):
        return list(migrations)
    known = {m.version: m for m in migrations}
    newest = max(known, default=0)
    applied: set[int] = set()
    for row in await connection.fetch(queries["applied_migrations"]):
        applied.add(row["version"])
        label = f"{row['version']:04}_{row['name']}"
        migration = known.get(row["version"])
        if migration is None:
            _judge_unknown(label, row["kind"], newer=row["version"] > newest)
        elif migration.checksum != row["checksum"]:
            raise MigrationError(f"{label} was edited after it had been applied; write a new migration instead")
    return [m for m in migrations if m.version not in applied]


def _judge_unknown(label: str, kind: str, *, newer: bool) -> None:
    # An expand of a newer version is made to be safe under this one: a roll-out applies it first.
    if newer and kind == EXPAND:
        _log.warning("the database has migration %s of a newer gateway", label)
        return
    raise MigrationError(
        f"the database has migration {label}, which gateway {gateway.__version__} does not know: "
        "it belongs to a newer version; run that version"
    )


async def _refuse_beside_older_workers(connection: Connection) -> None:
    queries = load("gateway.store")
    if not await connection.fetchval(queries["has_workers"]):
        return
    own = _ordered(gateway.__version__)
    older = [row for row in await connection.fetch(queries["living_workers"]) if _ordered(row["version"]) < own]
    if older:
        named = ", ".join(f"{row['id']} (version {row['version']})" for row in older)
        raise MigrationError(f"contract migrations wait until no older worker runs; registered now: {named}")


def _ordered(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))


async def _apply_one(connection: Connection, migration: Migration) -> None:
    try:
        async with connection.transaction():
            await connection.execute(migration.sql, timeout=None)
            await connection.execute(
                load("gateway.store")["record_migration"],
                migration.version,
                migration.name,
                migration.kind,
                migration.checksum,
            )
    except asyncpg.PostgresError as error:
        hint = f" ({error.hint})" if getattr(error, "hint", None) else ""
        raise MigrationError(f"migration {migration} failed: {error}{hint}") from error
