"""Receivers of one attempt's answer: a whole one, and a stream that is written on as it comes.

Everything a chunk of a stream needs happens inside the socket's read: no task wakes up for it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from gateway.errors import GatewayError
from gateway.upstream.connection import Connection
from gateway.upstream.job import Headers, Job, Outcome, Sink
from gateway.wire import sse
from gateway.wire.openai_answer import StreamTap, error_event

_AFTER_DONE_S = 1.0


class WholeAnswer:
    """Collects a whole answer; `waiter` is resolved at its end, and `error` says if that was a bad one."""

    __slots__ = ("chunks", "ended", "error", "first_byte_at", "headers", "status", "waiter")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.waiter: asyncio.Future[None] = loop.create_future()
        self.status = 0
        self.headers: Headers = []
        self.chunks: list[bytes] = []
        self.error: GatewayError | None = None
        self.first_byte_at = 0.0
        self.ended = False  # from then on the connection may be somebody else's

    def on_head(self, status: int, headers: Headers) -> None:
        """The head is here."""
        self.first_byte_at = time.perf_counter()
        self.status = status
        self.headers = headers

    def on_body(self, data: bytes) -> None:
        """More of the body."""
        self.chunks.append(data)

    def on_end(self) -> None:
        """The answer is complete."""
        self.ended = True
        self._wake()

    def on_failure(self, error: GatewayError) -> None:
        """It will never be."""
        self.ended = True
        self.error = error
        self._wake()

    def _wake(self) -> None:
        if not self.waiter.done():
            self.waiter.set_result(None)

    @property
    def body(self) -> bytes:
        """What came of the body."""
        return self.chunks[0] if len(self.chunks) == 1 else b"".join(self.chunks)

    def header(self, name: bytes) -> bytes:
        """The first value of a header, empty where it is missing."""
        for key, value in self.headers:
            if key == name:
                return value
        return b""


class StreamAnswer(WholeAnswer):
    """Writes a stream on to the client from its first event on; until then it can still be given up unseen.

    `settle` is called once, with the failure's code or "ok", before the stream's last bytes leave. An answer
    that is no stream (an error, say) is collected as by WholeAnswer.
    """

    __slots__ = (
        "_held",
        "_is_stream",
        "_look",
        "_settle",
        "connection",
        "finished",
        "job",
        "outcome",
        "sink",
        "started",
        "tap",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        job: Job,
        sink: Sink,
        outcome: Outcome,
        tap: StreamTap,
        connection: Connection,
        settle: Callable[[StreamAnswer, GatewayError | None], None],
    ) -> None:
        super().__init__(loop)
        self.job = job
        self.sink = sink
        self.outcome = outcome
        self.tap = tap
        self.connection = connection
        self._settle = settle
        self._look: Callable[[bytes], None] | None = job.chunk_watcher
        self._is_stream = False
        self._held = b""
        self.started = False
        self.finished = False

    def on_head(self, status: int, headers: Headers) -> None:
        """Is it a stream?"""
        super().on_head(status, headers)
        self._is_stream = status == 200 and self.header(b"content-type").lower().startswith(b"text/event-stream")

    def on_body(self, data: bytes) -> None:
        """Write on what is complete, at once."""
        if not self._is_stream:
            self.chunks.append(data)
            return
        if self.finished:
            return
        try:
            data = self.tap.feed(data)
        except GatewayError as error:
            self.ended = True
            self.connection.abort()
            self._fail(error)
            return
        if data:
            if not self.started and not self._start(data):
                return
            self.sink.write(data)
            if self._look is not None:
                self._look(data)
        if self.tap.done:
            self._finish()

    def _start(self, data: bytes) -> bool:
        """Commit to this upstream, unless all it sent yet are comments that keep the connection alive."""
        if data.startswith(b":") and b"data:" not in data:
            self._held += data
            return False
        self.started = True
        self.sink.attach(self.connection)
        self.sink.start(200, self.job.begin_stream(self.outcome))
        if self._held:
            self.sink.write(self._held)
        return True

    def _finish(self) -> None:
        self.finished = True
        if not self.started:  # a stream without a single event: legal, and empty
            self._start(b"")
        self._settle(self, None)
        self.sink.attach(None)
        self.sink.write(sse.DONE)
        self.sink.end()
        self._wake()

    def on_end(self) -> None:
        """The upstream's answer ended: well, if its `[DONE]` has come."""
        self.ended = True
        if self._is_stream and not self.finished:
            self._fail(GatewayError("upstream_truncated", "The provider ended its stream without [DONE]."))
        else:
            self._wake()

    def on_failure(self, error: GatewayError) -> None:
        """The connection broke, or a time limit passed."""
        self.ended = True
        if not self.finished:
            self._fail(error)

    def _fail(self, error: GatewayError) -> None:
        self.finished = True
        self.error = error
        if self.started:
            self.job.broken = error
            self._settle(self, error)
            self.sink.attach(None)
            self.sink.write(error_event(error, self.job.request_id))
            self.sink.end()
        self._wake()

    def release(self, loop: asyncio.AbstractEventLoop) -> None:
        """After `[DONE]` the upstream has a second to end its answer; its connection is then fit for another."""
        if not self.ended:
            loop.call_later(_AFTER_DONE_S, self._abandon)

    def _abandon(self) -> None:
        if not self.ended:
            self.ended = True
            self.connection.abort()
