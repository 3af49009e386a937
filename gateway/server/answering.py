"""The writing side of a client's connection: answers whole and streamed, and who is slowed when they are not taken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.pipeline.call import Reply
from gateway.server.status import status_line
from gateway.upstream.job import Flow, Headers

if TYPE_CHECKING:
    from gateway.server.gate import Gate

_MAX_UNWRITTEN_BYTES = 65_536


class Answering:
    """What the hot lane says to its client; for a streamed answer it is the pipeline's Sink."""

    __slots__ = (
        "_flow",
        "_gate",
        "_keep_alive",
        "_transport",
        "_unsent",
        "_unsent_since",
        "_unwritten",
        "_write_blocked",
    )

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._transport: Any = None
        self._keep_alive = True
        self._flow: Flow | None = None
        self._write_blocked = False
        self._unsent = 0
        self._unwritten = b""
        self._unsent_since = 0.0

    def eof_received(self) -> None:
        """The client sends no more: the connection closes by itself."""

    def close(self) -> None:
        """Close at once; a request under way is cancelled."""
        if self._transport is not None:
            self._transport.abort()

    def is_stuck(self, now: float) -> bool:
        """Has the client taken nothing of what is written for longer than the write limit? Asked at every sweep."""
        unsent = self._transport.get_write_buffer_size()
        if not unsent or not self._unsent or unsent < self._unsent:
            self._unsent_since = now
        self._unsent = unsent
        return unsent > 0 and now - self._unsent_since > self._gate.limits.write_timeout_s

    def reply(self, reply: Reply) -> None:
        """Write a whole answer."""
        pieces = self._head_pieces(reply.status, reply.headers)
        pieces.append(b"content-length: %d\r\n\r\n" % len(reply.body))
        pieces.append(reply.body)
        self._write(b"".join(pieces))

    def _head_pieces(self, status: int, headers: Headers) -> list[bytes]:
        pieces = [status_line(status), b"date: ", self._gate.date]
        for name, value in headers:
            pieces.append(b"\r\n")
            pieces.append(name)
            pieces.append(b": ")
            pieces.append(value)
        closing = not self._keep_alive or self._gate.draining
        pieces.append(b"\r\nconnection: close\r\n" if closing else b"\r\n")
        return pieces

    def start(self, status: int, headers: Headers) -> None:
        """Write the head of a streamed answer."""
        pieces = self._head_pieces(status, headers)
        pieces.append(b"transfer-encoding: chunked\r\n\r\n")
        self._write(b"".join(pieces))

    def write(self, data: bytes) -> None:
        """Write a chunk at once."""
        if data:
            self._write(b"%x\r\n%b\r\n" % (len(data), data))

    def end(self) -> None:
        """Write the last chunk."""
        self._write(b"0\r\n\r\n")

    def _write(self, data: bytes) -> None:
        transport = self._transport
        # When the client is gone, the cancellation of its call is on the way, but bytes may come before it.
        if transport is None or transport.is_closing():
            return
        if not self._unwritten:
            self._unwritten = data
            self._gate.write_soon(self)
        else:
            self._unwritten += data
        if len(self._unwritten) > _MAX_UNWRITTEN_BYTES:
            self.write_now()

    def write_now(self) -> None:
        """Write what was kept back for the turn's burst."""
        data, self._unwritten = self._unwritten, b""
        transport = self._transport
        if data and transport is not None and not transport.is_closing():
            transport.write(data)

    def attach(self, flow: Flow | None) -> None:
        """Whom to pause while the client takes nothing."""
        self._flow = flow
        if flow is not None and self._write_blocked:
            flow.pause_reading()
