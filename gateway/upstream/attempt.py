"""Receivers of one attempt's answer: a whole one, and a stream that is written on as it comes.

Everything a chunk of a stream needs happens inside the socket's read: no task wakes up for it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from gateway.errors import GatewayError
from gateway.upstream.connection import Connection
from gateway.upstream.job import Flow, Headers, Outcome, Sink
from gateway.upstream.passage import Tap

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
    def is_over(self) -> bool:
        """Has all come that will?"""
        return self.ended

    def go_unheard(self, loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
        """The client has gone, and the answer is taken to its end all the same: a `waiter` in place of the one that was
        cancelled."""
        self.waiter = loop.create_future()
        if self.is_over:
            self._wake()
        return self.waiter

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


class Nobody:
    """The sink of a stream whose client has gone."""

    def start(self, status: int, headers: Headers) -> None:
        """Nobody hears it."""

    def write(self, data: bytes) -> None:
        """Nor this."""

    def end(self) -> None:
        """Nor that it is over."""

    def attach(self, flow: Flow | None) -> None:
        """Nobody has to be waited for."""


class StreamOwner(Protocol):
    """Who is told of a stream's first event and of its end."""

    def stream_began(self) -> None:
        """The first event is about to go to the client: from now on nothing can be tried again."""

    def stream_ended(self, answer: StreamAnswer, error: GatewayError | None) -> None:
        """A stream that had begun is over. Called once, before its last bytes leave."""


class Streamed(Protocol):
    """What a stream has to do with the job that it answers; a Job is one."""

    request_id: str
    broken: GatewayError | None
    chunk_watcher: Callable[[bytes], None] | None

    def begin_stream(self, outcome: Outcome) -> Headers:
        """The client's first token is about to leave: the head of its answer."""


class StreamAnswer(WholeAnswer):
    """Writes a stream on to the client from its first event on; until then it can still be given up unseen.

    An answer that is no stream (an error, say) is collected as by WholeAnswer.
    """

    __slots__ = (
        "_is_stream",
        "_look",
        "_may_stream",
        "_owner",
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
        job: Streamed,
        sink: Sink,
        outcome: Outcome,
        tap: Tap,
        is_stream: Callable[[bytes], bool],
        connection: Connection,
        owner: StreamOwner,
    ) -> None:
        super().__init__(loop)
        self.job = job
        self.sink = sink
        self.outcome = outcome
        self.tap = tap
        self.connection = connection
        self._owner = owner
        self._look: Callable[[bytes], None] | None = job.chunk_watcher
        self._may_stream = is_stream
        self._is_stream = False
        self.started = False
        self.finished = False

    def on_head(self, status: int, headers: Headers) -> None:
        """Is it a stream? One that was compressed although nobody asked for it is none."""
        super().on_head(status, headers)
        self._is_stream = (
            status == 200
            and self._may_stream(self.header(b"content-type").lower())
            and self.header(b"content-encoding").lower() in (b"", b"identity")
        )

    def on_body(self, data: bytes) -> None:
        """Write on what is complete, at once."""
        if not self._is_stream:
            self.chunks.append(data)
            return
        if self.finished:
            return
        tap = self.tap
        data = tap.feed(data)
        error = tap.error
        if data and (error is None or self.started):
            try:
                self._write_on(data)
            except GatewayError as refusal:  # a stage that looks at what leaves has seen enough
                error = refusal
        if error is not None:
            self.ended = True
            self.connection.abort()
            self._fail(error)
        elif tap.done:
            self._finish()

    def _write_on(self, data: bytes) -> None:
        if not self.started:
            self._start()
        if self._look is not None:
            self._look(data)
        self.sink.write(data)

    def _start(self) -> None:
        """Commit to this upstream."""
        head = self.job.begin_stream(self.outcome)
        if not self.ended:
            self.sink.attach(self.connection)
        self.sink.start(200, head)
        self.started = True
        self._owner.stream_began()

    def _finish(self) -> None:
        """The end has come: close the account, then pass it on."""
        if not self.started:  # a stream without a single event: legal, and empty
            self._start()
        self.finished = True
        ending = self.tap.ending
        self._owner.stream_ended(self, None)
        self.sink.attach(None)
        self.sink.write(ending)
        self.sink.end()
        if not self.ended:
            self.connection.resume_reading()  # what is left is the end of the body, whatever the client takes
        self._wake()

    def on_end(self) -> None:
        """The upstream's answer ended: well, if the stream's own end has come."""
        self.ended = True
        if self._is_stream and not self.finished:
            tap = self.tap
            data = tap.finish()
            error = tap.error
            if error is None and data:
                try:
                    self._write_on(data)
                except GatewayError as refusal:
                    error = refusal
            if error is not None:
                self._fail(error)
            elif tap.done:
                self._finish()
            else:
                self._fail(GatewayError("upstream_truncated", "The provider ended its stream before it was complete."))
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
            self._owner.stream_ended(self, error)
            self.sink.attach(None)
            self.sink.write(self.tap.broken(error, self.job.request_id))
            self.sink.end()
        self._wake()

    def release(self, loop: asyncio.AbstractEventLoop) -> None:
        """After its stream the upstream has a second to end its answer; its connection is then fit for another."""
        if not self.ended:
            loop.call_later(_AFTER_DONE_S, self._abandon)

    @property
    def is_over(self) -> bool:
        """Has the stream come to its end, good or bad, or the answer that is none?"""
        return self.finished or self.ended

    def go_unheard(self, loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
        """The client has gone: nothing more is written or looked at, nobody slows the upstream, and the usage comes."""
        self.sink.attach(None)
        self.sink = Nobody()
        self._look = None
        if not self.ended:
            self.connection.resume_reading()
        return super().go_unheard(loop)

    def give_up(self) -> None:
        """Nobody waits for it: nothing more is written, and the upstream is told at once."""
        self.finished = True
        self.sink.attach(None)
        self._abandon()

    def _abandon(self) -> None:
        if not self.ended:
            self.ended = True
            self.connection.abort()
