"""The protocol in front of every connection.

It reads each request's head within the limits that neither httptools nor aiohttp has, serves the plain hot
case itself, and hands everything else to aiohttp, one request at a time and each cut exactly where it ends:
what follows waits here, so one connection may mix both lanes and every head meets the same limits.

Plain is: POST, HTTP/1.1, one of the pipeline's paths without a query, Content-Length, no Expect, no upgrade.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from gateway.errors import GatewayError
from gateway.pipeline.call import Call
from gateway.server.answering import Answering
from gateway.server.framing import Body, CountedBody, LostBody
from gateway.server.gate import Gate
from gateway.server.head import ALLOWED_METHODS, KeptHead, body_too_large, check_unfinished_head, read_slow_head
from gateway.server.refusal import refusal
from gateway.server.slow_lane import SlowLane
from gateway.tasks import rooted
from gateway.wire.endpoint import Endpoint
from gateway.wire.openai_inbound import OPENAI

_log = logging.getLogger("gateway.server")

# What a connection is doing; the sweep compares `_since` with the limit of its state. BLOCKED: the answer is
# given but not taken; SLOW: aiohttp has the request; LEAVING: the last word is said, what comes is dropped.
_IDLE, _HEAD, _BODY, _BUSY, _BLOCKED, _SLOW, _LEAVING = range(7)
# How much of the requests to come may wait for the one under way.
_MAX_WAITING_BYTES = 65_536
_BODY_TOTAL_FACTOR = 10
# Closing with input unread resets the connection, and the client may lose the answer: it gets so long, after
# its last byte and in all, to read it and hang up.
_LEAVE_S = 2.0
_LINGER_S = 30.0
_NO_BODY = CountedBody(0)


class HotLane(Answering):
    """One client's connection."""

    __slots__ = (
        "_answered",
        "_body",
        "_client_ip",
        "_endpoint",
        "_following",
        "_framing",
        "_hot",
        "_kept_head",
        "_make_slow_lane",
        "_missing",
        "_reading_paused",
        "_request_since",
        "_rest",
        "_since",
        "_slow",
        "_state",
        "_task",
        "_waiting",
    )

    def __init__(
        self, gate: Gate, hot: Mapping[bytes, Endpoint], make_slow_lane: Callable[[HotLane], SlowLane]
    ) -> None:
        """`hot`: the request lines that may be served here, and by which endpoint."""
        super().__init__(gate)
        self._hot = hot
        self._make_slow_lane = make_slow_lane
        self._state = _IDLE
        self._since = 0.0
        self._request_since = 0.0
        self._rest = b""
        self._body = bytearray()
        self._missing = 0
        self._kept_head = KeptHead()
        self._endpoint: Endpoint | None = None
        self._task: asyncio.Task[None] | None = None
        self._waiting: asyncio.Future[Call] | None = None  # what the task waits for between two requests
        self._following: Call | None = None
        self._slow: SlowLane | None = None
        self._framing: Body = _NO_BODY
        self._answered = False
        self._reading_paused = False
        self._client_ip = ""

    # --- the connection ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._since = self._gate.loop.time()
        peer = transport.get_extra_info("peername")
        self._client_ip = peer[0] if isinstance(peer, tuple) else ""
        gate = self._gate
        full = gate.full
        gate.connections.add(self)
        if gate.overrun:  # too many even to be told so
            self.close()
        elif full:
            self._refuse(GatewayError("overloaded", "The gateway has too many connections.", retry_after_s=1))

    def connection_lost(self, exc: Exception | None) -> None:
        self._gate.connections.discard(self)
        self._transport = None
        if self._task is not None:
            self._gate.client_gone(self._task)
        slow, self._slow = self._slow, None
        if slow is not None:
            slow.connection_lost(exc)

    def close_if_idle(self) -> None:
        """Close if no request is under way."""
        if self._state == _IDLE and self._transport is not None:
            self.write_now()
            self._transport.close()

    @property
    def is_busy(self) -> bool:
        """Is a request, or the answer to one, under way?"""
        return self._state not in (_IDLE, _LEAVING)

    def pause_writing(self) -> None:
        self._write_blocked = True
        if self._slow is not None:
            self._slow.pause_writing()
        if self._flow is not None:
            self._flow.pause_reading()

    def resume_writing(self) -> None:
        self._write_blocked = False
        if self._slow is not None:
            self._slow.resume_writing()
        if self._flow is not None:
            self._flow.resume_reading()
        elif self._state == _BLOCKED:
            self._next()

    def check_time(self, now: float) -> None:
        """Enforce the time limit of what the connection is doing."""
        transport = self._transport
        if transport is None:
            return
        limits = self._gate.limits
        state = self._state
        passed = now - self._since
        if self.is_stuck(now):
            self.close()
        elif state == _IDLE:
            if passed > limits.idle_timeout_s:
                transport.close()
        elif state == _HEAD:
            if passed > limits.head_timeout_s:
                self._refuse(GatewayError("request_timeout", "The request's headers took too long to arrive."))
        elif state == _BODY:
            total = now - self._request_since
            if passed > limits.body_timeout_s or total > _BODY_TOTAL_FACTOR * limits.body_timeout_s:
                self._refuse(GatewayError("request_timeout", "The request's body took too long to arrive."))
        elif state == _LEAVING:
            self._check_leaving(now)

    def _check_leaving(self, now: float) -> None:
        if self._unsent:  # the client is still reading: `is_stuck` watches it
            self._since = self._request_since = now
        elif now - self._since > _LEAVE_S or now - self._request_since > _LINGER_S:
            self.close()

    # --- reading ----------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        state = self._state
        if state == _IDLE:
            self._take(data)
        elif state == _HEAD:
            self._take(self._rest + data)
        elif state == _BODY:
            self._take_body(data)
        elif state == _LEAVING:
            self._since = self._gate.loop.time()
        elif state == _SLOW and not self._framing.done:
            self._take_slow_body(data)
        else:
            self._keep_waiting(data)

    def _keep_waiting(self, data: bytes) -> None:
        """Requests that wait for the one under way."""
        self._rest += data
        if len(self._rest) > _MAX_WAITING_BYTES:
            self._reading_paused = True
            self._transport.pause_reading()

    def _take(self, data: bytes) -> None:
        """The beginning of a request, whole or not."""
        self._rest = b""
        gate = self._gate
        if data[0] < 32:  # empty lines before a request are passed over (RFC 9112, 2.2)
            data = data.lstrip(b"\r\n")
            if not data:
                return
        kept = self._kept_head
        start = kept.match(data)
        if start < 0:
            end = data.find(b"\r\n\r\n")
            if end < 0 or end > gate.limits.max_head_bytes:
                self._wait_for_head(data)
                return
            start = end + 4
            if not self._read_head(data, start):
                return
        length = kept.length
        if length > gate.limits.max_body_bytes:
            self._refuse(body_too_large(gate.limits), kept.headers.get(b"x-request-id"))
            return
        if len(data) - start >= length:
            self._rest = data[start + length :]
            self._serve(data[start : start + length])
        else:
            self._body = bytearray(data[start:])
            self._missing = length - (len(data) - start)
            self._state = _BODY
            self._since = self._request_since = gate.loop.time()

    def _read_head(self, data: bytes, start: int) -> bool:
        """Is the head of `start` bytes a plain one? Else others have the request now."""
        limits = self._gate.limits
        endpoint = self._hot.get(data[: data.find(b"\r\n")])
        count = data.count(b"\r\n", 0, start - 4)
        if count > limits.max_headers:
            self._refuse(GatewayError("headers_too_large", f"The request has more than {limits.max_headers} headers."))
            return False
        if endpoint is None or not self._kept_head.read(data[:start], count):
            self._kept_head.forget()
            self._hand_over(data, start)
            return False
        self._keep_alive = self._kept_head.keep_alive
        self._endpoint = endpoint
        return True

    def _wait_for_head(self, data: bytes) -> None:
        try:
            check_unfinished_head(data, self._gate.limits)
        except GatewayError as error:
            self._refuse(error)
            return
        if self._state != _HEAD:
            self._state = _HEAD
            self._since = self._gate.loop.time()
        self._rest = data

    def _take_body(self, data: bytes) -> None:
        missing = self._missing
        if len(data) < missing:
            self._body += data
            self._missing = missing - len(data)
            self._since = self._gate.loop.time()
            return
        body = b"".join((self._body, data[:missing]))
        self._body = bytearray()
        self._rest = data[missing:]
        self._serve(body)

    # --- aiohttp's requests -----------------------------------------------------------------------

    def _hand_over(self, data: bytes, start: int) -> None:
        """Give aiohttp the request that begins `data`; its head is `start` bytes long."""
        try:
            head, self._framing = read_slow_head(data[:start], self._gate.limits)
        except GatewayError as error:
            self._refuse(error)
            return
        self.write_now()
        slow = self._slow
        if slow is None:
            slow = self._slow = self._make_slow_lane(self)
            slow.connection_made(self._transport)
        self._state = _SLOW
        self._answered = False
        self._keep_alive = True
        slow.data_received(head)
        if start < len(data):
            if self._framing.done:
                self._keep_waiting(data[start:])
            else:
                self._take_slow_body(data[start:])

    def _take_slow_body(self, data: bytes) -> None:
        slow = self._slow
        if slow is None:
            return
        try:
            taken = self._framing.feed(data)
        except GatewayError as error:
            self._framing = LostBody()
            if self._answered:
                self._leave(linger=True)
            else:
                slow.fail_body(error)
            return
        slow.feed_body(data if taken == len(data) else data[:taken])
        if taken < len(data):
            self._keep_waiting(data[taken:])
        if self._framing.done and self._answered:
            self._next()

    def slow_answered(self, *, keep_alive: bool) -> None:
        """aiohttp has written its answer; where it does not keep the connection it will close it itself."""
        self._answered = True
        if keep_alive and self._framing.done and self._state == _SLOW:
            self._next()

    # --- serving ----------------------------------------------------------------------------------

    def _serve(self, body: bytes) -> None:
        assert self._endpoint is not None
        self._state = _BUSY
        call = Call(self._endpoint, self._kept_head.headers, body, self._client_ip)
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            waiting.set_result(call)
        elif self._task is None:
            self._task = self._gate.loop.create_task(rooted(self._run(call)), name="connection")
        else:
            self._following = call

    async def _run(self, call: Call | None) -> None:
        """Answer one call after the other, in one task for the whole connection: a new one costs more."""
        try:
            while call is not None:
                reply = await self._gate.answer(call, self)
                self._flow = None
                if reply is not None and self._transport is not None:
                    self.reply(reply)
                call = reply = None  # an idle connection holds no bodies
                self._next()
                call, self._following = self._following, None
                if call is None:
                    self._waiting = self._gate.loop.create_future()
                    call = await self._waiting
        except asyncio.CancelledError:  # the client is gone
            return
        except Exception:
            _log.exception("a request broke its connection")
            self.close()
        finally:
            self._flow = None

    def _next(self) -> None:
        """The answer is written: close, or read the next request."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if not self._keep_alive or self._gate.draining:
            self._leave(linger=False)
            return
        if self._write_blocked:
            self._state = _BLOCKED
            return
        self._state = _IDLE
        self._since = self._gate.loop.time()
        if self._rest:
            self._take(self._rest)
        if self._reading_paused and (len(self._rest) < _MAX_WAITING_BYTES // 2 or self._state in (_IDLE, _HEAD)):
            self._resume_reading()

    def _resume_reading(self) -> None:
        if self._reading_paused and self._transport is not None and not self._transport.is_closing():
            self._reading_paused = False
            self._transport.resume_reading()

    def _leave(self, *, linger: bool) -> None:
        """Say no more, and let the client read what was said before the connection goes.

        `linger`: the request was not read to its end. TLS cannot be closed in one direction, so there the sweep
        closes it in the end.
        """
        transport = self._transport
        if transport is None or transport.is_closing() or self._state == _LEAVING:
            return
        self._state = _LEAVING
        self._since = self._request_since = self._gate.loop.time()
        self._rest = b""
        self._resume_reading()
        self.write_now()
        if transport.can_write_eof():
            transport.write_eof()
        elif not linger and not transport.get_write_buffer_size():
            transport.close()

    def _refuse(self, error: GatewayError, client_id: bytes | None = None) -> None:
        """Answer a request that is not going to be read to its end."""
        self._keep_alive = False
        self._body = bytearray()
        self._gate.recorder.refused(error, self._client_ip)
        allow = ALLOWED_METHODS if error.code == "method_not_allowed" else None
        speech = self._endpoint.inbound if self._endpoint is not None else None
        self.reply(refusal(error, client_id, allow=allow, speech=speech or OPENAI))
        self._leave(linger=True)
