"""The ledger's rows as CSV or NDJSON, as PostgreSQL writes them: piece by piece, in no order."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Final, Literal

from gateway.errors import GatewayError
from gateway.services.ledger.reports import COLUMNS
from gateway.store.postgres import Postgres
from gateway.store.sql import load

Format = Literal["csv", "ndjson"]

_AT_ONCE: Final = 2
_LONGEST_S: Final = 3600.0
# JSON has no control characters in it: with these nothing in a line is quoted or doubled.
_PLAIN: Final = {"delimiter": "\x02", "quote": "\x01"}


class _Unwritten(Exception):
    """The reader is gone or too slow: `__cause__` says so. (An OSError would be taken for the database's.)"""


class Exports:
    """At most two at a time in a worker, an hour each: every one takes a connection and holds up the vacuum."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._sql = load("gateway.services.ledger", "reports.sql")
        self._running = 0

    async def run(
        self,
        form: Format,
        since: datetime,
        until: datetime,
        filters: Mapping[str, uuid.UUID | str],
        write: Callable[[bytes], Awaitable[None]],
    ) -> None:
        """`write` the rows from `since` on and before `until`; no more is read while it waits.

        `filters` are by the names in `COLUMNS`. Raises GatewayError `overloaded` and `store_unavailable`, and whatever
        `write` does.
        """
        if self._running >= _AT_ONCE:
            raise GatewayError("overloaded", f"{_AT_ONCE} exports are running here; try again when one has ended.")
        statement, arguments = self._statement(form, since, until, filters)
        self._running += 1
        try:
            await self._copy(statement, arguments, form, write)
        except _Unwritten as error:
            raise error.__cause__ or error from None
        finally:
            self._running -= 1

    async def _copy(
        self, statement: str, arguments: list[object], form: Format, write: Callable[[bytes], Awaitable[None]]
    ) -> None:
        async def sink(piece: bytes) -> None:
            try:
                await write(piece)
            except Exception as error:
                raise _Unwritten from error

        options = {"header": True} if form == "csv" else _PLAIN
        async with self._postgres.connection() as connection:
            try:
                await connection.copy_from_query(
                    statement, *arguments, output=sink, timeout=_LONGEST_S, format="csv", **options
                )
            except BaseException:
                connection.terminate()  # the cancellation of what still runs on it may hit whoever is next
                raise

    def _statement(
        self, form: Format, since: datetime, until: datetime, filters: Mapping[str, uuid.UUID | str]
    ) -> tuple[str, list[object]]:
        arguments: list[object] = [since, until]
        conditions = ""
        for name, value in filters.items():
            arguments.append(value)
            place = f"${len(arguments)}"
            conditions += f" AND {place} = ANY (tags)" if name == "tag" else f" AND {COLUMNS[name]} = {place}"
        export = self._sql["export"].format(filters=conditions)
        return self._sql[f"as_{form}"].format(export=export), arguments
