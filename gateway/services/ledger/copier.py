"""Rows into `usage_costs`: COPY to a staging table, then INSERT … ON CONFLICT DO NOTHING, in one transaction.

That transaction also adds what the new rows cost to the budget periods that they name, and to the roll-ups.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

import asyncpg
import orjson

from gateway.errors import GatewayError
from gateway.services.ledger.settlements import Receipt, Spent, joined
from gateway.store import sql
from gateway.store.postgres import Postgres

_log = logging.getLogger("gateway.ledger")

_STAGING: Final = "usage_costs_staging_0010"
_MOST_REMEMBERED: Final = 1000
_MAX_BIGINT: Final = 2**63 - 1
DEAD_LETTERS: Final = "dead-letters.ndjson"
# What says that a row is bad, and would be bad at the next try too. Everything else is waited out.
_REFUSALS: Final = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
)
# What says that the same rows may be taken later.
RETRYABLE: Final = (GatewayError, OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)


class Copier:
    """Copies batches of rows, sets aside those that PostgreSQL will never take, and counts."""

    def __init__(self, postgres: Postgres, directory: Path, *, timeout_s: float) -> None:
        """`directory` gets the dead letters; `timeout_s` bounds every statement."""
        self._postgres = postgres
        self._dead_letters = directory / DEAD_LETTERS
        self._timeout_s = timeout_s
        self._sql = sql.load(__package__)
        self.copied_rows = 0
        self.duplicate_rows = 0
        self.refused_rows = 0
        self._given_up: dict[bytes, Receipt] = {}

    async def copy(self, rows: Sequence[bytes], columns: Sequence[str]) -> Receipt:
        """Have `rows` (COPY text, without newlines) in the database, or in the dead letters when it refuses them.

        Returns what became of budgets by those in the database, and by those it refuses, which count as lost.
        Raises one of `RETRYABLE` where the database is away or not ready: then all may be tried again, also those that
        are there already.
        """
        if not rows:
            return {}
        try:
            inserted, receipt = await self._copy_all(rows, columns)
        except asyncpg.CheckViolationError:
            # The table has no checks but its partitions' bounds: a month's partition was attached in this moment.
            raise
        except _REFUSALS as error:
            if len(rows) == 1:
                return await self._give_up(rows[0], columns, error)
            middle = len(rows) // 2
            first = await self.copy(rows[:middle], columns)
            return joined(first, await self.copy(rows[middle:], columns))
        self.copied_rows += inserted
        self.duplicate_rows += len(rows) - inserted
        return receipt

    async def _copy_all(self, rows: Sequence[bytes], columns: Sequence[str]) -> tuple[int, Receipt]:
        timeout_s = self._timeout_s
        async with self._postgres.connection(timeout_s=timeout_s) as connection, connection.transaction():
            await connection.execute(self._sql["stage"], timeout=timeout_s)
            await connection.copy_to_table(
                _STAGING, source=_lines(rows), columns=list(columns), format="text", timeout=timeout_s
            )
            found = await connection.fetch(self._sql["insert"], timeout=timeout_s)
        receipt = {
            row["period_id"]: Spent(row["batch"], row["fresh"], row["total"])
            for row in found
            if row["period_id"] is not None
        }
        return found[0]["rows"], receipt

    async def _give_up(self, row: bytes, columns: Sequence[str], error: Exception) -> Receipt:
        """Set a row aside that will never be taken, and have budgets count what it cost as lost. A process that dies
        between that and its next word may have it counted twice, never not at all."""
        known = self._given_up.get(row)
        if known is not None:  # the rest of its batch had to be tried again
            return known
        await asyncio.to_thread(self._bury, row, columns, error)
        receipt: Receipt = {}
        cost, periods = _cost_of(row, columns)
        if periods:
            lost = await self._postgres.fetch(self._sql["lose"], periods, cost)
            receipt = {each["id"]: Spent(cost, cost, each["total"]) for each in lost}
        self.refused_rows += 1
        if len(self._given_up) >= _MOST_REMEMBERED:
            self._given_up.clear()
        self._given_up[row] = receipt
        return receipt

    def _bury(self, row: bytes, columns: Sequence[str], error: Exception) -> None:
        """Append the row to the dead letters, synced, before the journal may forget it. Raises OSError."""
        code = getattr(error, "sqlstate", None)
        letter = {"sqlstate": code, "error": str(error), "columns": columns, "row": row.decode("utf-8", "replace")}
        fd = os.open(self._dead_letters, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, orjson.dumps(letter) + b"\n")
            os.fsync(fd)
        finally:
            os.close(fd)
        who = re.sub(rb"[^0-9A-Za-z\t-]", b"?", row[:40]).split(b"\t")[0].decode()
        _log.error("PostgreSQL refuses the usage row of request %s (%s); it is in %s", who, code, self._dead_letters)


def _cost_of(row: bytes, columns: Sequence[str]) -> tuple[int, list[int]]:
    """What an attempt cost, nano-dollars, and the ids of the periods that pay; none where that cannot be read."""
    try:
        fields = dict(zip(columns, row.split(b"\t"), strict=True))
        cost, named = int(fields["cost_nano_usd"]), fields["budget_period_ids"]
        periods = [] if named == b"\\N" else [int(each) for each in named.strip(b"{}").split(b",")]
    except (KeyError, ValueError):
        return 0, []
    return cost, periods if 0 < cost <= _MAX_BIGINT and all(0 < each <= _MAX_BIGINT for each in periods) else []


async def _lines(rows: Sequence[bytes]) -> AsyncIterator[bytes]:
    # asyncpg reads a file in another thread, an iterator here.
    yield b"\n".join((*rows, b""))
