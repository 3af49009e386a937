"""Many streams at once from one cheap process: `python -m benchmarks.stream_client '<options as JSON>'`.

Prints one JSON object: how many streams came complete, the first few things that were wrong, time to first
token (from the start of the connection's opening to the first chunk), and how far behind its sending each
chunk arrived. Every other stream asks for usage; from the others the usage chunk must be withheld.
"""

from __future__ import annotations

import asyncio
import gc
import socket
import struct
import sys
import time
from array import array
from dataclasses import dataclass, field
from typing import Any, cast

import orjson
import uvloop

from benchmarks.figures import summary
from benchmarks.stream_format import CHUNK_SIZE, MARK_SIZE, PERIOD_S, PREFIX, SUFFIX, ending, request_body
from benchmarks.traffic import MODEL, TRANSLATED_MODEL, request_bytes

_MARK_AT = len(PREFIX)
_SUFFIX_AT = _MARK_AT + MARK_SIZE
_CONTENT = b'"content":"'


@dataclass(frozen=True)
class Options:
    """`streams` of `chunks` chunks each, started evenly over `spread_s`; with `cut_after`, cut after so many."""

    port: int
    headers: dict[str, str]
    streams: int
    chunks: int
    spread_s: float
    cut_after: int = 0
    translated: bool = False


@dataclass
class Tally:
    """What all streams saw: nanoseconds to the first token, nanoseconds each chunk was behind, troubles."""

    first_ns: array[int] = field(default_factory=lambda: array("q"))
    behind_ns: array[int] = field(default_factory=lambda: array("q"))
    complete: int = 0
    cut: int = 0
    troubles: list[str] = field(default_factory=list)


class Wrong(Exception):
    """The stream's bytes are not what the upstream sent."""


class Stream:
    """Checks one stream's bytes as they arrive. Sans-io: `feed` returns True once the stream is complete."""

    def __init__(self, chunks: int, *, with_usage: bool, began_ns: int, tally: Tally) -> None:
        self._tally = tally
        self._chunks = chunks
        self._ending = ending(chunks, with_usage=with_usage)
        self._began_ns = began_ns
        self._head_done = False
        self._framed = b""
        self._events = b""
        self.received = 0

    def feed(self, data: bytes) -> bool:
        """Take bytes off the wire; raise `Wrong` at the first one that should not be there."""
        data = self._framed + data if self._framed else data
        if not self._head_done:
            if (end := data.find(b"\r\n\r\n")) < 0:
                self._framed = data
                return False
            self._check_head(data[:end])
            data = data[end + 4 :]
        at = 0
        while (line := data.find(b"\r\n", at)) >= 0:
            size = int(data[at:line], 16)
            end = line + 2 + size
            if len(data) < end + 2:
                break
            if size == 0:
                return self._check_end(data[end + 2 :])
            self._take(data[line + 2 : end])
            at = end + 2
        self._framed = data[at:]
        return False

    def _check_head(self, head: bytes) -> None:
        lower = head.lower()
        if not head.startswith(b"HTTP/1.1 200") or b"\r\ntransfer-encoding: chunked" not in lower:
            raise Wrong(f"not a stream: {head[:400]!r}")
        self._head_done = True

    def _take(self, payload: bytes) -> None:
        """Check whole events and keep what is left of the last one."""
        payload = self._events + payload if self._events else payload
        at = 0
        while self.received < self._chunks and len(payload) - at >= CHUNK_SIZE:
            self._check_chunk(payload[at : at + CHUNK_SIZE])
            at += CHUNK_SIZE
        self._events = payload[at:]

    def _check_chunk(self, event: bytes) -> None:
        if not event.startswith(PREFIX) or not event.endswith(SUFFIX):
            raise Wrong(f"chunk {self.received} is not what was sent: {event[:600]!r}")
        self._check_mark(event[_MARK_AT:_SUFFIX_AT])

    def _check_mark(self, mark: bytes) -> None:
        now = time.monotonic_ns()
        number, _, sent_ns = mark.partition(b" ")
        if int(number) != self.received:
            raise Wrong(f"chunk {int(number)} came where {self.received} was due")
        if self.received == 0:
            self._tally.first_ns.append(now - self._began_ns)
        self._tally.behind_ns.append(now - int(sent_ns))
        self.received += 1

    def _check_end(self, surplus: bytes) -> bool:
        if self.received != self._chunks or self._events != self._ending:
            raise Wrong(f"ended after {self.received} of {self._chunks} chunks with {self._events[:900]!r}")
        if surplus:
            raise Wrong(f"bytes after the end: {surplus[:200]!r}")
        return True


class TranslatedStream(Stream):
    """The same for a stream that the gateway makes from another dialect: its chunks are read, not compared."""

    def __init__(self, chunks: int, *, with_usage: bool, began_ns: int, tally: Tally) -> None:
        super().__init__(chunks, with_usage=with_usage, began_ns=began_ns, tally=tally)
        self._with_usage = with_usage
        self._others: list[bytes] = []

    def _take(self, payload: bytes) -> None:
        *events, self._events = (self._events + payload).split(b"\n\n")
        for event in events:
            at = event.find(_CONTENT)
            if at >= 0 and event[at + len(_CONTENT) : at + len(_CONTENT) + 1] != b'"':
                self._check_mark(event[at + len(_CONTENT) : at + len(_CONTENT) + MARK_SIZE])
            else:
                self._others.append(event)

    def _check_end(self, surplus: bytes) -> bool:
        others = self._others
        with_usage = any(b'"total_tokens"' in event for event in others)
        finished = any(b'"finish_reason":"stop"' in event for event in others)
        if self.received != self._chunks or self._events or surplus or others[-1:] != [b"data: [DONE]"]:
            raise Wrong(f"ended after {self.received} of {self._chunks} chunks with {others[-2:]!r}")
        if not finished or with_usage != self._with_usage:
            raise Wrong(f"no finish reason, or usage that was not asked for, or none that was: {others!r}")
        return True


class Connection(asyncio.Protocol):
    """Carries one stream and ends `done` with None or with what was wrong."""

    def __init__(self, request: bytes, stream: Stream, cut_after: int, done: asyncio.Future[str | None]) -> None:
        self._request = request
        self._stream = stream
        self._cut_after = cut_after
        self._done = done
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        try:
            complete = self._stream.feed(data)
        except (Wrong, ValueError) as error:
            self._finish(str(error))
            return
        if complete or (self._cut_after and self._stream.received >= self._cut_after):
            self._finish(None)

    def connection_lost(self, error: Exception | None) -> None:
        self._finish(f"the connection was lost after {self._stream.received} chunks: {error}")

    def _finish(self, trouble: str | None) -> None:
        if not self._done.done():
            self._done.set_result(trouble)
            assert self._transport is not None
            self._transport.abort()


async def _one(options: Options, index: int, begin: float, tally: Tally) -> None:
    loop = asyncio.get_running_loop()
    await asyncio.sleep(begin + options.spread_s * index / options.streams - loop.time())
    with_usage = index % 2 == 1
    done: asyncio.Future[str | None] = loop.create_future()
    kind = TranslatedStream if options.translated else Stream
    stream = kind(options.chunks, with_usage=with_usage, began_ns=time.monotonic_ns(), tally=tally)
    limit_s = options.chunks * PERIOD_S + 30
    model = TRANSLATED_MODEL if options.translated else MODEL
    body = request_body(options.chunks, with_usage=with_usage, model=model)
    request = request_bytes(options.port, options.headers, body)
    try:
        transport, _ = await loop.create_connection(
            lambda: Connection(request, stream, options.cut_after, done), "127.0.0.1", options.port
        )
        if options.cut_after and index % 2 == 0:
            # Half of the cuts are resets, the other half plain closes.
            opened: socket.socket = transport.get_extra_info("socket")
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        trouble = await asyncio.wait_for(done, limit_s)
    except TimeoutError:
        trouble = f"not complete after {limit_s:.0f} s: {stream.received} of {options.chunks} chunks had come"
    except OSError as error:
        trouble = f"could not connect: {error}"
    if trouble is not None:
        tally.troubles.append(trouble)
    elif options.cut_after:
        tally.cut += 1
    else:
        tally.complete += 1


async def _watch_loop(late: list[float]) -> None:
    """Record how late this process's own loop ran: a client that lags would blame the gateway for it."""
    while True:
        before = time.monotonic()
        await asyncio.sleep(0.01)
        late[0] = max(late[0], time.monotonic() - before - 0.01)


async def run(options: Options) -> dict[str, Any]:
    """Run all streams and return what they saw, times in milliseconds."""
    tally, late = Tally(), [0.0]
    gc.collect()
    gc.disable()
    watch = asyncio.create_task(_watch_loop(late))
    begin = asyncio.get_running_loop().time() + 0.2
    await asyncio.gather(*(_one(options, index, begin, tally) for index in range(options.streams)))
    watch.cancel()
    return {
        "streams": options.streams,
        "complete": tally.complete,
        "cut": tally.cut,
        "failed": len(tally.troubles),
        "troubles": tally.troubles[:5],
        "chunks": len(tally.behind_ns),
        "first_token_ms": summary([value / 1e6 for value in tally.first_ns]),
        "behind_ms": summary([value / 1e6 for value in tally.behind_ns]),
        "client_late_max_ms": late[0] * 1e3,
        "client_cpu_s": time.process_time(),
    }


if __name__ == "__main__":
    print(orjson.dumps(uvloop.run(run(Options(**orjson.loads(sys.argv[1]))))).decode())
