"""The kept connections of one worker, to all its upstreams.

Taking one is synchronous; opening one may wait for a slot. One timer serves all time limits: a sweep every
50 ms while any exchange goes on, and otherwise only when the next idle connection is due to be closed.
"""

from __future__ import annotations

import asyncio
from collections import deque

from gateway.errors import GatewayError
from gateway.upstream.burst import FEW, Burst
from gateway.upstream.connection import Connection
from gateway.upstream.exchange import Limits, failure
from gateway.upstream.opening import open_connection
from gateway.upstream.origin import Origin
from gateway.upstream.tls import TlsContexts

_SWEEP_S = 0.05
# How long `close` waits for sockets that were aborted; they close within a loop tick or two.
_CLOSE_S = 1.0


def _draining() -> GatewayError:
    return GatewayError("draining", "The gateway is shutting down.")


class _Lane:
    """What the pool knows of one origin. `slots_used` counts open connections and those being opened."""

    __slots__ = ("idle", "origin", "slots_used", "waiters")

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self.idle: list[Connection] = []
        self.slots_used = 0
        # A waiter gets a connection that came free, or None: a slot, already counted as its own.
        self.waiters: deque[asyncio.Future[Connection | None]] = deque()


class Pool:
    """Connections by origin, the last used first. The counters are for metrics: `open` established ones, `idle`
    those on offer, `created` and `reused` since the start, `waiting` calls that wait for a slot now.
    """

    __slots__ = (
        "_burst",
        "_closed",
        "_connections",
        "_contexts",
        "_emptied",
        "_idle_timeout_s",
        "_lanes",
        "_loop",
        "_max_connections",
        "_max_idle",
        "_timer",
        "created",
        "idle",
        "open",
        "reused",
        "sweeping",
        "waiting",
    )
    _loop: asyncio.AbstractEventLoop

    def __init__(
        self, *, max_connections_per_origin: int = 1000, max_idle_per_origin: int = 100, idle_timeout_s: float = 60.0
    ) -> None:
        self._max_connections = max_connections_per_origin
        self._max_idle = max_idle_per_origin
        self._idle_timeout_s = idle_timeout_s
        self._lanes: dict[Origin, _Lane] = {}
        self._connections: set[Connection] = set()
        self._contexts = TlsContexts()
        self._timer: asyncio.TimerHandle | None = None
        self._burst = Burst()
        self._closed = False
        self._emptied: asyncio.Future[None] | None = None
        self.sweeping = False
        self.open = self.idle = self.created = self.reused = self.waiting = 0

    def take(self, origin: Origin) -> Connection | None:
        """A live idle connection, the last one used, or None. The taker must `send` on it or `abort` it."""
        lane = self._lanes.get(origin)
        if lane is None:
            return None
        while lane.idle:
            connection = lane.idle.pop()
            connection.idle = False
            self.idle -= 1
            # An end or surplus bytes may wait in the socket, unseen by a loop that was busy.
            if not connection.readable():
                self.reused += 1
                return connection
            connection.abort()
        return None

    async def connect(self, origin: Origin, limits: Limits, deadline: float) -> Connection:
        """A new connection, or one that another call gave back while this one waited for a slot.

        Takes at most `limits.connect_s`, and not past `deadline` (the loop's clock). Raises GatewayError
        `upstream_connect_failed`, `upstream_connect_timeout`, `upstream_tls_failed`, `upstream_proxy_failed`,
        and `draining` once the pool is closed.
        """
        self._loop = loop = asyncio.get_running_loop()
        expires = min(loop.time() + limits.connect_s, deadline)
        waits = True
        try:
            async with asyncio.timeout_at(expires):
                while True:
                    if self._closed:
                        raise _draining()
                    lane = self._lanes.get(origin)
                    if lane is None:
                        lane = self._lanes[origin] = _Lane(origin)
                    connection = await self._slot(lane)
                    if connection is None:
                        waits = False
                        return await self._open(origin, lane)
                    if not connection.closed:
                        self.reused += 1
                        return connection
        except TimeoutError:
            reason = "no connection came free" if waits else "no connection"
            raise failure(
                "upstream_connect_timeout", origin.name, f"{reason} within the time limit for connecting"
            ) from None

    async def close(self) -> None:
        """Close all connections; exchanges still going on fail as if the upstream had hung up."""
        self._closed = True
        for connection in tuple(self._connections):
            connection.lose()
        for lane in tuple(self._lanes.values()):
            for waiter in lane.waiters:
                if not waiter.done():
                    waiter.set_exception(_draining())
            lane.waiters.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._connections:
            self._emptied = self._loop.create_future()
            await asyncio.wait((self._emptied,), timeout=_CLOSE_S)

    # --- for its connections ----------------------------------------------------------------------

    def release(self, connection: Connection) -> None:
        """A clean exchange has ended: the connection goes to whoever waits longest, else it is kept."""
        lane = self._lanes[connection.origin]
        while lane.waiters:
            waiter = lane.waiters.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return
        if self._closed or len(lane.idle) >= self._max_idle:
            connection.abort()
            return
        connection.idle = True
        lane.idle.append(connection)
        self.idle += 1

    def write_soon(self, connection: Connection) -> None:
        """A request is ready to be written: at once where few are under way, else with the others of this turn."""
        if self.open - self.idle <= FEW:
            connection.write_now()
        else:
            self._burst.add(connection)

    def closed(self, connection: Connection) -> None:
        """A connection is of no more use: its slot is free."""
        if connection not in self._connections:
            return  # still being opened: `_open` gives the slot back
        self.open -= 1
        lane = self._lanes[connection.origin]
        if connection.idle:
            connection.idle = False
            lane.idle.remove(connection)
            self.idle -= 1
        self._free_slot(lane)

    def lost(self, connection: Connection) -> None:
        """A connection's socket is closed."""
        self._connections.discard(connection)
        if self._emptied is not None and not self._connections and not self._emptied.done():
            self._emptied.set_result(None)

    def sweep_soon(self) -> None:
        """An exchange begins and no sweep is due soon."""
        if self._timer is not None:
            self._timer.cancel()
        self.sweeping = True
        self._timer = self._loop.call_later(_SWEEP_S, self._sweep)

    # --- inside -----------------------------------------------------------------------------------

    async def _slot(self, lane: _Lane) -> Connection | None:
        if lane.slots_used < self._max_connections:
            lane.slots_used += 1
            return None
        waiter: asyncio.Future[Connection | None] = self._loop.create_future()
        lane.waiters.append(waiter)
        self.waiting += 1
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._pass_on(lane, waiter.result())
            raise
        finally:
            self.waiting -= 1

    def _pass_on(self, lane: _Lane, given: Connection | None) -> None:
        # The waiter was cancelled just after it had been served.
        if given is None:
            self._free_slot(lane)
        elif not given.closed:
            self.release(given)

    def _free_slot(self, lane: _Lane) -> None:
        while lane.waiters:
            waiter = lane.waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        lane.slots_used -= 1
        if not lane.slots_used:
            del self._lanes[lane.origin]

    async def _open(self, origin: Origin, lane: _Lane) -> Connection:
        connection = Connection(origin, self)
        try:
            await open_connection(connection, self._contexts)
        except BaseException:
            self._free_slot(lane)
            raise
        self._connections.add(connection)
        self.open += 1
        self.created += 1
        if self._closed:
            connection.abort()
            raise _draining()
        return connection

    def _sweep(self) -> None:
        now = self._loop.time()
        active = False
        oldest = now
        for connection in tuple(self._connections):
            if connection.tick(now):
                active = True
            elif connection.idle:
                if now - connection.since >= self._idle_timeout_s:
                    connection.abort()
                elif connection.since < oldest:
                    oldest = connection.since
        self._timer = None
        self.sweeping = active and not self._closed
        if self._closed:
            return
        if active:
            self._timer = self._loop.call_later(_SWEEP_S, self._sweep)
        elif self.idle:
            self._timer = self._loop.call_at(oldest + self._idle_timeout_s, self._sweep)
