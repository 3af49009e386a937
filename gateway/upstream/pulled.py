"""An answer that its reader pulls, piece by piece; a reader that does not come slows the upstream."""

from __future__ import annotations

import asyncio
import time
from collections import deque

from gateway.errors import GatewayError
from gateway.upstream.connection import Connection
from gateway.upstream.job import Headers

_HIGH_WATER_BYTES = 262_144


class PulledAnswer:
    """The receiver of one exchange. `status` and `headers` are there once `head()` has returned."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: Headers = []
        self.first_byte_at = 0.0
        self.ended = False  # from then on the connection may be somebody else's
        self._connection: Connection | None = None
        self._pieces: deque[bytes] = deque()
        self._read: list[bytes] = []
        self._waiting_bytes = 0
        self._paused = False
        self._error: GatewayError | None = None
        self._news = asyncio.Event()

    def come_over(self, connection: Connection) -> None:
        """The answer comes over `connection`."""
        self._connection = connection

    # --- the receiver -----------------------------------------------------------------------------

    def on_head(self, status: int, headers: Headers) -> None:
        """The head is here."""
        self.first_byte_at = time.perf_counter()
        self.status = status
        self.headers = headers
        self._news.set()

    def on_body(self, data: bytes) -> None:
        """More of the body; the upstream waits while too much of it does."""
        self._pieces.append(data)
        self._waiting_bytes += len(data)
        if self._waiting_bytes > _HIGH_WATER_BYTES and not self._paused and self._connection is not None:
            self._paused = True
            self._connection.pause_reading()
        self._news.set()

    def on_end(self) -> None:
        """The answer is complete."""
        self._end(None)

    def on_failure(self, error: GatewayError) -> None:
        """It will never be."""
        self._end(error)

    def fail(self, error: GatewayError) -> None:
        """Give the exchange up for a reason of our own, which the reader is told."""
        if not self.ended:
            connection = self._connection
            self._pieces.clear()
            self._end(error)
            if connection is not None:
                connection.abort()

    def _end(self, error: GatewayError | None) -> None:
        self.ended = True
        self._error = error
        self._connection = None
        self._news.set()

    # --- the reader -------------------------------------------------------------------------------

    async def head(self) -> None:
        """Wait for the head. Raises the GatewayError that the exchange ended in."""
        while not self.status:
            if self._error is not None:
                raise self._error
            self._news.clear()
            await self._news.wait()

    async def read(self) -> bytes:
        """All that has come since the last time, b"" at the end. Raises the GatewayError that it ended in instead."""
        while not self._pieces:
            if self._error is not None:
                raise self._error
            if self.ended:
                return b""
            self._news.clear()
            await self._news.wait()
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._waiting_bytes = 0
        if self._paused:
            self._paused = False
            if self._connection is not None:
                self._connection.resume_reading()
        return data

    async def read_all(self, max_bytes: int) -> bytes:
        """The rest of the body, also where the one who asked before was cancelled. Raises upstream_answer_too_large,
        and what `read` raises."""
        pieces = self._read
        size = sum(map(len, pieces))
        while data := await self.read():
            size += len(data)
            if size > max_bytes:
                self.abandon()
                raise GatewayError(
                    "upstream_answer_too_large", f"The provider's answer is larger than {max_bytes} bytes."
                )
            pieces.append(data)
        return b"".join(pieces)

    def abandon(self) -> None:
        """Nobody will read on: the upstream is told by closing its connection."""
        if not self.ended:
            self.ended = True
            if self._connection is not None:
                self._connection.abort()
                self._connection = None

    def header(self, name: bytes) -> bytes:
        """The first value of a header, empty where it is missing."""
        for key, value in self.headers:
            if key == name:
                return value
        return b""
