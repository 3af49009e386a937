"""A cheap upstream for streams: `python -m benchmarks.stream_upstream PORT`.

One asyncio protocol on uvloop and one timer wheel for all streams, so that a thousand streams cost this
process as little as can be: a stream's first chunk leaves when its request has come, and each of the others
in the stream's own slot of the wheel, 50 ms apart. `GET /stats` tells open, finished and cut streams and
how late the wheel ever turned; it sets that lateness back to zero.
"""

from __future__ import annotations

import asyncio
import gc
import socket
import sys
import time
from typing import cast

import orjson
import uvloop

from benchmarks.stream_format import (
    CHUNK_SIZE,
    MARK,
    PERIOD_S,
    PREFIX,
    SUFFIX,
    anthropic_beginning,
    anthropic_chunk,
    anthropic_ending,
    ending,
)
from benchmarks.traffic import TRANSLATED_PATH

_SLOTS = 25
_TICK_S = PERIOD_S / _SLOTS
_LISTENERS = 16

_HEADERS = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
_ANTHROPIC = f"POST {TRANSLATED_PATH} ".encode()
_FRAME = b"%x\r\n" % CHUNK_SIZE


class Wheel:
    """Turns once in 50 ms; each slot holds the streams whose next chunk is due then."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._slots: list[set[Upstream]] = [set() for _ in range(_SLOTS)]
        self._turned = 0
        self._ticking = False
        self.open = 0
        self.finished = 0
        self.cut = 0
        self.late_max_s = 0.0

    def add(self, stream: Upstream) -> int:
        """Put a stream into the slot that comes round 50 ms from now; return the slot's number."""
        if not self._ticking:
            self._ticking = True
            self._turned = int(self._loop.time() / _TICK_S)
            self._loop.call_at((self._turned + 1) * _TICK_S, self._tick)
        slot = int(self._loop.time() / _TICK_S) % _SLOTS
        self._slots[slot].add(stream)
        self.open += 1
        return slot

    def remove(self, stream: Upstream, slot: int) -> None:
        """Take a stream out: it is finished or its connection is gone."""
        self._slots[slot].discard(stream)
        self.open -= 1

    def _tick(self) -> None:
        now = self._loop.time()
        self.late_max_s = max(self.late_max_s, now - (self._turned + 1) * _TICK_S)
        while (self._turned + 1) * _TICK_S <= now:
            self._turned += 1
            for stream in tuple(self._slots[self._turned % _SLOTS]):
                stream.advance()
        if self.open:
            self._loop.call_at((self._turned + 1) * _TICK_S, self._tick)
        else:
            self._ticking = False


class Upstream(asyncio.Protocol):
    """One connection: requests one after another, each answered with a stream."""

    def __init__(self, wheel: Wheel) -> None:
        self._wheel = wheel
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._slot = -1
        self._sent = 0
        self._chunks = 0
        self._with_usage = False
        self._anthropic = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        if self._slot >= 0:
            self._wheel.remove(self, self._slot)
            self._wheel.cut += 1
            self._slot = -1

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        if end < 0 or self._transport is None:
            return
        if self._received.startswith(b"GET /stats"):
            self._received = b""
            self._transport.write(self._stats())
            return
        head = self._received[:end].lower() + b"\r\n"
        at = head.index(b"\r\ncontent-length:") + 17
        size = int(head[at : head.index(b"\r\n", at)])
        if len(self._received) >= end + 4 + size:
            self._anthropic = self._received.startswith(_ANTHROPIC)
            body = orjson.loads(self._received[end + 4 : end + 4 + size])
            self._received = self._received[end + 4 + size :]
            self._begin(body)

    def advance(self) -> None:
        """Send the chunk that is due, or the end."""
        assert self._transport is not None
        if self._sent < self._chunks:
            mark = MARK % (self._sent, time.monotonic_ns())
            if self._anthropic:
                self._write(anthropic_chunk(mark))
            else:
                self._transport.write(b"".join((_FRAME, PREFIX, mark, SUFFIX, b"\r\n")))
            self._sent += 1
            return
        usual = ending(self._chunks, with_usage=self._with_usage)
        last = anthropic_ending(self._chunks) if self._anthropic else usual
        self._transport.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(last), last))
        self._wheel.remove(self, self._slot)
        self._wheel.finished += 1
        self._slot = -1

    def _begin(self, body: dict[str, object]) -> None:
        assert self._transport is not None
        chunks, options = body["max_tokens"], body.get("stream_options")
        assert isinstance(chunks, int)
        self._chunks, self._sent = chunks, 0
        self._with_usage = isinstance(options, dict) and bool(options.get("include_usage"))
        self._slot = self._wheel.add(self)
        self._transport.write(_HEADERS)
        if self._anthropic:
            self._write(anthropic_beginning())
        self.advance()

    def _write(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(b"%x\r\n%b\r\n" % (len(data), data))

    def _stats(self) -> bytes:
        wheel = self._wheel
        stats = {"open": wheel.open, "finished": wheel.finished, "cut": wheel.cut, "late_max_s": wheel.late_max_s}
        wheel.late_max_s = 0.0
        body = orjson.dumps(stats)
        return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


async def _serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    wheel = Wheel(loop)
    listening = socket.create_server(("127.0.0.1", port), backlog=4096)
    # libuv accepts one connection a turn of the loop for each listening handle (since 1.45): with one handle
    # a loop that is busy with streams would let new ones wait, and the gateway would be blamed for it.
    servers = [
        await loop.create_server(lambda: Upstream(wheel), sock=listening.dup(), backlog=4096) for _ in range(_LISTENERS)
    ]
    listening.close()
    # A collection of garbage would stall every stream at once, and there is none to collect.
    gc.collect()
    gc.disable()
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
