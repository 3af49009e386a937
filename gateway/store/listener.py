"""LISTEN on a session of its own: reconnects by itself, and knows how stale it may be.

PostgreSQL keeps no notification for a session that is away, so after every reconnect each callback gets
the payload `reload`. A heartbeat every second goes through NOTIFY and must come back: a connection that
looks open but delivers nothing (a transaction pooler, a half-open socket) is noticed too.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg

from gateway.store.sql import load
from gateway.tasks import Tasks

_log = logging.getLogger("gateway.store")

RELOAD = "reload"
BEAT_S = 1.0
# A beat later than this is a failure to report; one this much later again ends the session.
LATE_S = 2.5
DEAD_S = 5.0
_BACK_OFF_S = (0.05, 2.0)

Callback = Callable[[str], None]
Connect = Callable[[], Awaitable["asyncpg.Connection[asyncpg.Record]"]]


class Listener:
    """The callbacks of every channel, and the session that feeds them.

    `connect` makes a new session; `on_reconnect` is called after each one but the first.
    """

    def __init__(self, connect: Connect, tasks: Tasks, on_reconnect: Callable[[], None]) -> None:
        self._connect = connect
        self._tasks = tasks
        self._on_reconnect = on_reconnect
        self._callbacks: dict[str, list[Callback]] = {}
        self._beat_channel = f"gateway_beat_{secrets.token_hex(6)}"
        self._beat_sql = load("gateway.store")["beat"]
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None
        self._ready = asyncio.Event()
        self._lost = asyncio.Event()
        self._busy = asyncio.Lock()
        self._joined_channels: set[str] = set()
        self._loop_task: asyncio.Task[Any] | None = None
        self._last_good = time.monotonic()

    async def listen(self, channel: str, callback: Callback, timeout_s: float) -> None:
        """Call `callback(payload)` for every notification on `channel`, `reload` after a gap.

        Raises TimeoutError when no session is there within `timeout_s`; the callback stays registered
        and gets `reload` as soon as there is one.
        """
        self._callbacks.setdefault(channel, []).append(callback)
        if self._loop_task is None:
            self._loop_task = self._tasks.spawn(self._run(), name="postgres listener")
        async with asyncio.timeout(timeout_s):
            while True:
                if await self._joined(channel):
                    return
                await asyncio.sleep(_BACK_OFF_S[0])

    def stale_s(self) -> float:
        """0.0 while notifications are known to arrive, else seconds since they last were."""
        if self._loop_task is None:
            return 0.0
        silence = time.monotonic() - self._last_good
        if self._connection is not None and silence < LATE_S:
            return 0.0
        return silence

    async def close(self) -> None:
        """End the session; no callback is called afterwards."""
        self._callbacks.clear()
        if self._loop_task is not None:
            self._loop_task.cancel()
            await asyncio.gather(self._loop_task, return_exceptions=True)
        if self._connection is not None:
            self._drop(self._connection)

    async def _joined(self, channel: str) -> bool:
        await self._ready.wait()
        async with self._busy:
            if self._connection is None:
                return False  # lost in this very moment
            if channel not in self._joined_channels:
                try:
                    await self._connection.add_listener(channel, self._deliver)
                except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                    return False
                self._joined_channels.add(channel)
        return True

    async def _run(self) -> None:
        pause_s = _BACK_OFF_S[0]
        first = True
        while True:
            try:
                await self._open_session()
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                _log.warning("postgres listener: no session (%s); trying again", type(error).__name__)
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))
                pause_s = min(pause_s * 2, _BACK_OFF_S[1])
                first = False  # what was missed while waiting for the first session was missed all the same
                continue
            pause_s = _BACK_OFF_S[0]
            if not first:
                self._on_reconnect()
                self._reload_all()
            first = False
            await self._beat_until_lost()

    async def _open_session(self) -> None:
        connection = await self._connect()
        self._lost.clear()
        connection.add_termination_listener(lambda _: self._lost.set())
        try:
            joined = {self._beat_channel, *self._callbacks}
            for channel in joined:
                await connection.add_listener(channel, self._deliver)
        except BaseException:
            connection.terminate()
            raise
        self._connection = connection
        self._joined_channels = joined
        self._last_good = time.monotonic()
        self._ready.set()

    async def _beat_until_lost(self) -> None:
        connection = self._connection
        assert connection is not None
        try:
            while not self._lost.is_set() and time.monotonic() - self._last_good < DEAD_S:
                async with self._busy:
                    await connection.execute(self._beat_sql, self._beat_channel, timeout=DEAD_S - BEAT_S)
                try:
                    await asyncio.wait_for(self._lost.wait(), BEAT_S)
                except TimeoutError:
                    pass
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            pass
        finally:
            self._drop(connection)
        _log.warning("postgres listener: the session was lost; connecting again")

    def _drop(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        self._ready.clear()
        self._connection = None
        if not connection.is_closed():
            connection.terminate()

    def _deliver(self, _connection: object, _pid: int, channel: str, payload: object) -> None:
        self._last_good = time.monotonic()
        if channel != self._beat_channel:
            for callback in tuple(self._callbacks.get(channel, ())):
                self._call(callback, str(payload))

    def _reload_all(self) -> None:
        for callbacks in tuple(self._callbacks.values()):
            for callback in tuple(callbacks):
                self._call(callback, RELOAD)

    def _call(self, callback: Callback, payload: str) -> None:
        try:
            callback(payload)
        except Exception:
            _log.exception("postgres listener: a callback failed")
