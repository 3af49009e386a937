"""One connection to an upstream: writes a request, pushes the answer to its receiver as it is read.

There is no task between the socket and the receiver, and no timer per request: the pool's sweep calls
`tick`. A connection carries one exchange at a time; it goes back to its pool by itself after a clean,
complete one, and closes after any other.
"""

from __future__ import annotations

import asyncio
import select
from typing import cast

from mypy_extensions import mypyc_attr

from gateway.upstream.answer import Answer, AnswerError, Headers
from gateway.upstream.exchange import Limits, Owner, Receiver, failure
from gateway.upstream.origin import Origin
from gateway.upstream.request import absolute_form, render_head

__all__ = ["Connection", "Headers", "Limits", "Origin", "Receiver", "render_head"]

# Smaller bodies are joined to their head: one write, one packet; larger ones are not copied.
_JOIN_BYTES = 65536


@mypyc_attr(allow_interpreted_subclasses=True)
class Connection:
    """See the module. `idle` says that the pool has it on offer, `closed` that it is of no more use, `since` when
    the sweep last saw it do something (the loop's clock).
    """

    __slots__ = (
        "_answer",
        "_deadline",
        "_drained",
        "_early",
        "_first_bytes",
        "_fresh",
        "_head_given",
        "_limits",
        "_owner",
        "_paused",
        "_poll",
        "_queued_bytes",
        "_receiver",
        "_sent",
        "_started",
        "_transport",
        "_unwritten",
        "_wire",
        "_writable",
        "closed",
        "idle",
        "origin",
        "since",
    )
    _limits: Limits
    _transport: asyncio.Transport
    _wire: asyncio.Transport

    def __init__(self, origin: Origin, owner: Owner) -> None:
        self.origin = origin
        self.closed = self.idle = False
        self.since = 0.0
        self._owner = owner
        self._answer = Answer()
        self._poll = select.poll()
        self._receiver: Receiver | None = None
        self._deadline = 0.0
        self._drained: asyncio.Future[None] | None = None
        self._first_bytes = self._queued_bytes = 0
        self._fresh = self._writable = True
        self._unwritten = b""
        self._early = self._head_given = self._paused = self._sent = self._started = False

    # --- for the caller ---------------------------------------------------------------------------

    def send(self, head: bytes, body: bytes, receiver: Receiver, limits: Limits, deadline: float) -> None:
        """Write a whole request at once. `deadline` ends the call, on the loop's clock.

        Nothing is raised and nothing is called back from in here: a connection found dead fails a moment later.
        """
        if len(body) <= _JOIN_BYTES and self.origin.forward is None:
            data = head + body
            if self._begin(len(data), receiver, limits, deadline):
                self._unwritten = data
                self._owner.write_soon(self)
        else:
            self.send_head(head, receiver, limits, deadline)
            self.write(body)
            self._sent = True

    def write_now(self) -> None:
        """Write the request that `send` kept back for the turn's burst."""
        if self._unwritten:
            data, self._unwritten = self._unwritten, b""
            self._transport.write(data)
            self._sent = True

    def send_head(self, head: bytes, receiver: Receiver, limits: Limits, deadline: float) -> None:
        """Write a request's head; its body follows by `write`, `drain` and `finish`, framed as the head says."""
        if self.origin.forward is not None:
            head = absolute_form(head, self.origin.forward, self.origin.forward_authorization)
        if self._begin(len(head), receiver, limits, deadline):
            self._transport.write(head)

    def write(self, data: bytes) -> None:
        """Write a piece of the request's body. Does nothing once the exchange has ended."""
        if self._receiver is not None and not self._sent and not self.closed:
            self._transport.write(data)

    async def drain(self) -> None:
        """Wait until the upstream has taken enough for more to be written, or the exchange has ended."""
        if not self._writable and self._receiver is not None and not self.closed:
            self._drained = asyncio.get_running_loop().create_future()
            await self._drained

    def finish(self) -> None:
        """The request's body is complete: from now on the answer is waited for."""
        self._sent = self._fresh = True

    def pause_reading(self) -> None:
        """Take no more from the upstream until `resume_reading`; its silence is not held against it meanwhile."""
        if self._receiver is not None and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Go on reading."""
        if self._paused:
            self._paused = False
            self._fresh = True
            self._transport.resume_reading()

    def abort(self) -> None:
        """Give the exchange up: the socket is closed at once, the receiver hears nothing more."""
        self._receiver = None
        self._shut()

    # --- for the pool -----------------------------------------------------------------------------

    @property
    def transport(self) -> asyncio.Transport:
        """What is written to: the wire, or TLS upon it."""
        return self._transport

    def attach(self, transport: asyncio.Transport) -> None:
        """Talk over `transport` from now on: TLS upon the wire that `connection_made` brought."""
        self._transport = transport

    def readable(self) -> bool:
        """Has the socket something to read, be it the end? An idle one that has must not be used. (0.5 µs.)"""
        return bool(self._poll.poll(0))

    def tick(self, now: float) -> bool:
        """Enforce the time limits; true while an exchange goes on. A limit fires up to two sweeps late."""
        if self._fresh:
            self._fresh = False
            self.since = now
        if self._receiver is None:
            return False
        if now >= self._deadline:
            self._fail("upstream_total_timeout")
        elif self._paused or self._upload_moves():
            self.since = now
        elif self._head_given or not self._sent:
            if now - self.since > self._limits.idle_s:
                self._fail("upstream_idle_timeout")
        elif now - self.since > self._limits.first_byte_s:
            self._fail("upstream_first_byte_timeout")
        return True

    def lose(self) -> None:
        """End the exchange as if the peer had closed."""
        if self._receiver is None:
            self._shut()
        elif self._head_given:
            self._fail("upstream_truncated")
        elif self._nothing_written():
            self._fail("upstream_reset_before_write")
        else:
            self._fail("upstream_reset_after_write")

    # --- called by the transport ------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The wire is there."""
        self._wire = self._transport = cast("asyncio.Transport", transport)
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        """One socket read: parse it and push what it holds."""
        receiver = self._receiver
        if receiver is None:
            self._shut()  # nobody asked: an answer to nothing must not become the next one's
            return
        if not self._started and not self._may_start():
            return
        answer = self._answer
        try:
            body = answer.feed(data)
            if not self._head_given:
                if not answer.head_done:
                    return  # and the limit for the first byte goes on: a head that drips in does not extend it
                self._head_given = True
                receiver.on_head(answer.status, answer.headers)
                if self._receiver is not receiver:
                    return
            self._fresh = True
            if body:
                receiver.on_body(body)
                if self._receiver is not receiver:
                    return
            if answer.complete:
                self._end(receiver)
        except AnswerError as error:
            self._fail(error.code, str(error))
        except Exception:
            if self._receiver is receiver:
                self._fail("internal_error", "its answer could not be handled")
            raise

    def eof_received(self) -> None:
        """The peer sends no more: the end of an answer without a length, the failure of any other."""
        receiver = self._receiver
        if receiver is not None and self._answer.ends_at_eof():
            self._end(receiver)
        else:
            self.lose()

    def connection_lost(self, error: Exception | None) -> None:
        """The socket is gone. Over TLS also a close without close_notify: never a proper end."""
        self.lose()
        self._answer.close()
        self._owner.lost(self)

    def pause_writing(self) -> None:
        """The peer takes the request more slowly than it is written."""
        self._writable = False

    def resume_writing(self) -> None:
        """It has caught up."""
        self._writable = True
        self._wake_writer()

    # --- inside -----------------------------------------------------------------------------------

    def _begin(self, first_bytes: int, receiver: Receiver, limits: Limits, deadline: float) -> bool:
        """Prepare an exchange that begins with so many bytes; False where the connection is dead already."""
        self._receiver = receiver
        self._limits = limits
        self._deadline = deadline
        self._first_bytes = first_bytes
        self._fresh = True
        self._early = self._head_given = self._sent = self._started = False
        if self.closed:
            asyncio.get_running_loop().call_soon(self._fail_unwritten, receiver)
            return False
        self._answer.begin(limits.max_head_bytes, limits.max_body_bytes)
        if not self._owner.sweeping:
            self._owner.sweep_soon()
        return True

    def _fail_unwritten(self, receiver: Receiver) -> None:
        if self._receiver is receiver:
            self._fail("upstream_reset_before_write")

    def _may_start(self) -> bool:
        # Once per answer. A server may refuse an upload half-way, but the connection is spent then; an answer to
        # a request of which nothing is written yet belongs to somebody else.
        self._started = True
        if not self._sent or self._pending_bytes():
            self._early = True
            if self._nothing_written():
                self._fail("upstream_bad_answer")
                return False
        return True

    def _pending_bytes(self) -> int:
        pending = self._wire.get_write_buffer_size()
        return pending if self._transport is self._wire else pending + self._transport.get_write_buffer_size()

    def _nothing_written(self) -> bool:
        return self.closed or bool(self._unwritten) or self._pending_bytes() >= self._first_bytes

    def _upload_moves(self) -> bool:
        if self._sent and self._head_given:
            return False
        pending = self._pending_bytes()
        moved = pending != self._queued_bytes or (not pending and not self._sent)
        self._queued_bytes = pending
        return moved

    def _end(self, receiver: Receiver) -> None:
        self._receiver = None
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        if self._answer.reusable and not self._early:
            self._fresh = True
            self._owner.release(self)
        else:
            self._shut()
        receiver.on_end()

    def _fail(self, code: str, reason: str | None = None) -> None:
        receiver = self._receiver
        self._receiver = None
        self._shut()
        if receiver is not None:
            receiver.on_failure(failure(code, self.origin.name, reason))

    def _shut(self) -> None:
        self._unwritten = b""
        if not self.closed:
            self.closed = True
            self._owner.closed(self)
            self._transport.abort()
        self._wake_writer()

    def _wake_writer(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
