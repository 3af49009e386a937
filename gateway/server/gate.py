"""What all connections of a worker share: limits, who is connected, what is in flight, and the sweep of time limits."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from gateway.pipeline.call import Call, Reply
from gateway.pipeline.pipeline import Pipeline
from gateway.server.recorder import Recorder
from gateway.upstream.burst import FEW, Burst, Writer
from gateway.upstream.job import CLIENT_GONE, Sink

if TYPE_CHECKING:
    from gateway.server.hot_lane import HotLane

_log = logging.getLogger("gateway.server")

_SWEEP_S = 0.5
# So many connections over the limit are told why they are refused.
_MAX_REFUSED = 256


@dataclass(frozen=True, slots=True)
class GateLimits:
    """What one client may take up. Sizes in bytes, times in seconds; see `server` in docs/configuration.md."""

    max_connections: int = 10_000
    max_head_bytes: int = 32_768
    max_headers: int = 100
    max_url_bytes: int = 8192
    max_body_bytes: int = 20 * 1_048_576
    head_timeout_s: float = 10.0
    body_timeout_s: float = 60.0
    idle_timeout_s: float = 75.0
    write_timeout_s: float = 60.0


class Gate:
    """One per worker. `pipeline` is replaced as a whole at a reload; calls under way keep theirs."""

    def __init__(self, pipeline: Pipeline, recorder: Recorder, limits: GateLimits) -> None:
        self.pipeline = pipeline
        self.recorder = recorder
        self.limits = limits
        self.loop = asyncio.get_running_loop()
        self.connections: set[HotLane] = set()
        self.burst = Burst()
        self.in_flight = 0
        self.draining = False
        self.date = b""
        self._closed = False
        self._unheard: set[asyncio.Task[Any]] = set()
        self._sweeping: asyncio.TimerHandle | None = None
        self._sweep()

    async def answer(self, call: Call, sink: Sink) -> Reply | None:
        """Run one call to its end, counted and recorded."""
        self.in_flight += 1
        self.recorder.begun(call)
        reply: Reply | None = None
        try:
            reply = await self.pipeline.run(call, sink)
            return reply
        finally:
            self.in_flight -= 1
            self.recorder.finished(call, reply)

    def client_gone(self, task: asyncio.Task[Any]) -> None:
        """Cancel the task of a request whose client has gone; what it has begun may go on to its end unheard, but not
        longer than the gate is open."""
        if self._closed:
            task.cancel()
        elif not task.done():
            self._unheard.add(task)
            task.add_done_callback(self._unheard.discard)
            task.cancel(CLIENT_GONE)

    def write_soon(self, writer: Writer) -> None:
        """Have a connection write: at once where few requests are under way, else with the others of this turn."""
        if self.in_flight <= FEW:
            writer.write_now()
        else:
            self.burst.add(writer)

    @property
    def full(self) -> bool:
        """Are there as many connections as are allowed?"""
        return len(self.connections) >= self.limits.max_connections

    @property
    def overrun(self) -> bool:
        """Are there so many that even those to be refused have to go at once?"""
        return len(self.connections) > self.limits.max_connections + _MAX_REFUSED

    @property
    def busy(self) -> bool:
        """Is a request under way on any connection?"""
        return any(connection.is_busy for connection in self.connections)

    def _sweep(self) -> None:
        """Close what has passed its time limit, and keep the Date header current. One timer for all connections."""
        self._sweeping = self.loop.call_later(_SWEEP_S, self._sweep)
        self.date = formatdate(time.time(), usegmt=True).encode()
        now = self.loop.time()
        for connection in tuple(self.connections):
            try:
                connection.check_time(now)
            except Exception:  # one connection's trouble must not end the time limits of all
                _log.exception("a connection's time limits could not be checked")
                connection.close()

    def close(self) -> None:
        """End the sweep, close every connection at once, and give up what goes on for clients that have gone."""
        self._closed = True
        if self._sweeping is not None:
            self._sweeping.cancel()
        for task in self._unheard:
            task.cancel()
        for connection in tuple(self.connections):
            connection.close()

    def close_idle(self) -> None:
        """Close the connections that carry no request now."""
        for connection in tuple(self.connections):
            connection.close_if_idle()
