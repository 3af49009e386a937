"""A stream's sink that keeps a copy of what the client is given."""

from __future__ import annotations

from collections.abc import Callable

from gateway.upstream.job import Flow, Headers, Sink


class Tape:
    """Stands between dispatch and the client. What is over `max_bytes` is not kept: `overflowed`.

    After `leave` nobody listens any more, and the copy is all that comes of the stream.
    """

    __slots__ = ("_chunks", "_flow", "_max_bytes", "_sink", "_size", "_stop", "headers", "overflowed", "status")

    def __init__(self, sink: Sink, max_bytes: int) -> None:
        self.status = 0
        self.headers: Headers = []
        self.overflowed = False
        self._sink: Sink | None = sink
        self._max_bytes = max_bytes
        self._chunks: list[bytes] = []
        self._size = 0
        self._flow: Flow | None = None
        self._stop: Callable[[], object] | None = None

    @property
    def body(self) -> bytes:
        """What was written."""
        return b"".join(self._chunks)

    def leave(self, stop: Callable[[], object]) -> None:
        """The client has gone. `stop` is called if the rest of the stream is of no use to anybody."""
        if self._sink is not None:
            self._sink.attach(None)
            self._sink = None
        self._stop = stop
        if self.overflowed:
            stop()
        elif self._flow is not None:
            self._flow.resume_reading()

    def start(self, status: int, headers: Headers) -> None:
        """The head of the answer."""
        self.status, self.headers = status, headers
        if self._sink is not None:
            self._sink.start(status, headers)

    def write(self, data: bytes) -> None:
        """A piece of the body."""
        if not self.overflowed:
            self._size += len(data)
            if self._size > self._max_bytes:
                self.overflowed = True
                self._chunks.clear()
                if self._stop is not None:
                    self._stop()
            else:
                self._chunks.append(data)
        if self._sink is not None:
            self._sink.write(data)

    def end(self) -> None:
        """The body is complete."""
        if self._sink is not None:
            self._sink.end()

    def attach(self, flow: Flow | None) -> None:
        """Whom to slow down for the client's sake."""
        self._flow = flow
        if self._sink is not None:
            self._sink.attach(flow)
