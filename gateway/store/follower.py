"""Keeps what a service has in memory up with its tables, by the notifications on `gateway_changes`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import asyncpg

from gateway.errors import GatewayError
from gateway.tasks import Tasks

_log = logging.getLogger("gateway.store")

_BACK_OFF_S = (0.1, 5.0)
_WAIT_S = 2.0

# Reads the rows with these ids, or, for None, all there are.
Read = Callable[[frozenset[uuid.UUID] | None], Awaitable[None]]


class Follower:
    """Calls `read` with what changed in `table`, one call at a time, until each has succeeded.

    What is heard of while a call is under way is read by the next one, so nothing stays older than its notification.
    """

    def __init__(self, table: str, read: Read, tasks: Tasks) -> None:
        self._table = table
        self._read = read
        self._tasks = tasks
        self._changed: set[uuid.UUID] = set()
        self._all_changed = False
        self._running: asyncio.Task[Any] | None = None

    def on_change(self, payload: str) -> None:
        """Give this to `Postgres.listen("gateway_changes", …)`."""
        table, _, row_id = payload.partition(":")
        if payload == "reload" or (table == self._table and row_id == "reload"):
            self._all_changed = True
        elif table == self._table:
            self._changed.add(uuid.UUID(row_id))
        else:
            return
        self._run()

    async def catch_up(self, *row_ids: uuid.UUID) -> None:
        """Read rows that were changed just now; returns when that is done, or cannot be done soon."""
        self._changed.update(row_ids)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_WAIT_S):
                await asyncio.shield(self._run())

    async def know(self, row_ids: Sequence[uuid.UUID], is_held: Callable[[str], bool]) -> None:
        """Have read those of these rows that are not held in memory yet: what was just made holds from its first use
        on, though its announcement may still be on its way. Raises store_unavailable where that cannot be done soon."""
        missing = [row_id for row_id in row_ids if not is_held(str(row_id))]
        if missing:
            await self.catch_up(*missing)
            if not all(is_held(str(row_id)) for row_id in missing):
                raise GatewayError("store_unavailable", "What is set for this key cannot be read at the moment.")

    def _run(self) -> asyncio.Task[Any]:
        if self._running is None or self._running.done():
            self._running = self._tasks.spawn(self._follow(), name=f"read {self._table}")
        return self._running

    async def _follow(self) -> None:
        pause_s, longest_s = _BACK_OFF_S
        while self._all_changed or self._changed:
            everything, ids = self._all_changed, frozenset(self._changed)
            self._all_changed = False
            self._changed.clear()
            try:
                await self._read(None if everything else ids)
                pause_s = _BACK_OFF_S[0]
            except (GatewayError, asyncpg.PostgresError) as error:
                _log.warning("%s cannot be read (%s)", self._table, type(error.__cause__ or error).__name__)
                self._all_changed = self._all_changed or everything
                self._changed |= ids
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, longest_s)


async def nobody_follows(row_id: uuid.UUID) -> None:
    """In the place of `Follower.catch_up` where nothing is held in memory, as in a command."""
