"""Sends one request through a pool and records what its receiver was told, and in what order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.errors import GatewayError
from gateway.upstream.connection import Connection, Headers, Limits, Origin, render_head
from gateway.upstream.pool import Pool

LIMITS = Limits(connect_s=5.0, first_byte_s=5.0, idle_s=5.0, total_s=20.0)


async def until(condition: Callable[[], object]) -> None:
    """Wait, up to ten seconds, for something that nobody announces."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


class Recorder:
    """A receiver that holds the client to its contract: head, bodies, then exactly one end or failure."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: Headers = []
        self.pieces: list[bytes] = []
        self.error: GatewayError | None = None
        self.over = False
        self.changed = asyncio.Event()

    def on_head(self, status: int, headers: Headers) -> None:
        assert not self.over
        assert self.status == 0
        self.status, self.headers = status, headers
        self.changed.set()

    def on_body(self, data: bytes) -> None:
        assert not self.over
        assert self.status
        assert type(data) is bytes
        assert data
        self.pieces.append(data)
        self.changed.set()

    def on_end(self) -> None:
        assert not self.over
        assert self.status
        self.over = True
        self.changed.set()

    def on_failure(self, error: GatewayError) -> None:
        assert not self.over
        assert type(error) is GatewayError
        self.over, self.error = True, error
        self.changed.set()

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def code(self) -> str:
        """The failure's code; "ok" for an answer."""
        assert self.over
        return self.error.code if self.error else "ok"

    async def finished(self) -> Recorder:
        """Wait for the end or failure."""
        async with asyncio.timeout(20):
            while not self.over:
                await self.changed.wait()
                self.changed.clear()
        return self

    async def received(self, size: int) -> None:
        """Wait until that many body bytes have come."""
        async with asyncio.timeout(20):
            while sum(map(len, self.pieces)) < size:
                await self.changed.wait()
                self.changed.clear()


def head_for(origin: Origin, length: int, path: bytes = b"/v1/x") -> bytes:
    lines = [(b"host", origin.host_header), (b"accept-encoding", b"identity"), (b"content-length", b"%d" % length)]
    return render_head(b"POST", path, lines)


async def connected(pool: Pool, origin: Origin, limits: Limits = LIMITS) -> Connection:
    deadline = asyncio.get_running_loop().time() + limits.total_s
    return pool.take(origin) or await pool.connect(origin, limits, deadline)


async def begin(
    pool: Pool, origin: Origin, body: bytes = b"{}", *, limits: Limits = LIMITS, path: bytes = b"/v1/x"
) -> tuple[Connection, Recorder]:
    """Send a request; its answer may still be on the way."""
    connection = await connected(pool, origin, limits)
    recorder = Recorder()
    deadline = asyncio.get_running_loop().time() + limits.total_s
    connection.send(head_for(origin, len(body), path), body, recorder, limits, deadline)
    return connection, recorder


async def exchange(
    pool: Pool, origin: Origin, body: bytes = b"{}", *, limits: Limits = LIMITS, path: bytes = b"/v1/x"
) -> Recorder:
    """Send a request and wait for its outcome."""
    _, recorder = await begin(pool, origin, body, limits=limits, path=path)
    return await recorder.finished()
