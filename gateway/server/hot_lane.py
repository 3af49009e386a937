"""The protocol in front of every connection.

It reads each request's head within the limits that neither httptools nor aiohttp has, serves the plain hot
case itself, and hands everything else, with the bytes read so far, to aiohttp. When aiohttp is done with a
request the next one comes here again, so one connection may mix both and every head meets the same limits.

Plain is: POST, HTTP/1.1, one of the pipeline's paths without a query, Content-Length, no Expect, no upgrade.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import httptools

from gateway.errors import GatewayError
from gateway.pipeline.call import Call, Reply
from gateway.pipeline.pipeline import retry_headers
from gateway.server.gate import Gate
from gateway.server.slow_lane import SlowLane
from gateway.server.status import status_line
from gateway.upstream.job import Flow, Headers
from gateway.wire.openai import Endpoint

_log = logging.getLogger("gateway.server")

# What a connection is doing; the sweep compares `_since` with the limit of its state.
_IDLE, _HEAD, _BODY, _BUSY, _BLOCKED, _SLOW, _LEAVING = range(7)
_MAX_WAITING_BYTES = 65_536
_BODY_TOTAL_FACTOR = 10
_LEAVE_S = 2.0
_NOT_PLAIN = (b"transfer-encoding", b"expect", b"upgrade")


class HotLane(asyncio.Protocol):
    """One client's connection."""

    __slots__ = (
        "_body",
        "_client_ip",
        "_endpoint",
        "_flow",
        "_gate",
        "_headers",
        "_keep_alive",
        "_missing",
        "_reading_paused",
        "_request_since",
        "_rest",
        "_since",
        "_slow",
        "_state",
        "_task",
        "_transport",
        "_write_blocked",
    )

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._transport: Any = None
        self._state = _IDLE
        self._since = 0.0
        self._request_since = 0.0
        self._rest = b""
        self._body: list[bytes] = []
        self._missing = 0
        self._headers: dict[bytes, bytes] = {}
        self._endpoint: Endpoint | None = None
        self._keep_alive = True
        self._task: asyncio.Task[None] | None = None
        self._slow: SlowLane | None = None
        self._flow: Flow | None = None
        self._write_blocked = False
        self._reading_paused = False
        self._client_ip = ""

    # --- the connection ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._since = self._gate.loop.time()
        peer = transport.get_extra_info("peername")
        self._client_ip = peer[0] if isinstance(peer, tuple) else ""
        full = self._gate.full
        self._gate.connections.add(self)
        if full:
            self._refuse(GatewayError("overloaded", "The gateway has too many connections.", retry_after_s=1))

    def connection_lost(self, exc: Exception | None) -> None:
        self._gate.connections.discard(self)
        if self._task is not None:
            self._task.cancel()
        slow, self._slow = self._slow, None
        if slow is not None:
            slow.connection_lost(exc)
        self._transport = None

    def close(self) -> None:
        """Close at once; a request under way is cancelled."""
        if self._transport is not None:
            self._transport.abort()

    def close_if_idle(self) -> None:
        """Close if no request is under way."""
        idle = self._state == _IDLE or (self._state == _SLOW and self._slow is not None and self._slow.is_idle)
        if idle and not self._rest and self._transport is not None:
            self._transport.close()

    def pause_writing(self) -> None:
        self._write_blocked = True
        if self._state != _BUSY:
            self._since = self._gate.loop.time()
        self._request_since = self._gate.loop.time()
        if self._flow is not None:
            self._flow.pause_reading()

    def resume_writing(self) -> None:
        self._write_blocked = False
        if self._flow is not None:
            self._flow.resume_reading()
        elif self._state == _BLOCKED:
            self._next()

    def check_time(self, now: float) -> None:
        """Enforce the time limit of what the connection is doing."""
        limits = self._gate.limits
        state = self._state
        passed = now - self._since
        if self._write_blocked and now - self._request_since > limits.write_timeout_s:
            self.close()
        elif state == _IDLE:
            if passed > limits.idle_timeout_s and self._transport is not None:
                self._transport.close()
        elif state == _HEAD:
            if passed > limits.head_timeout_s:
                self._refuse(GatewayError("request_timeout", "The request's headers took too long to arrive."))
        elif state == _BODY:
            total = now - self._request_since
            if passed > limits.body_timeout_s or total > _BODY_TOTAL_FACTOR * limits.body_timeout_s:
                self._refuse(GatewayError("request_timeout", "The request's body took too long to arrive."))
        elif state == _SLOW:
            self._check_slow(now)
        elif state == _LEAVING and passed > _LEAVE_S:
            self.close()

    def _check_slow(self, now: float) -> None:
        slow = self._slow
        if slow is None:
            return
        if not slow.is_idle and not slow.is_write_blocked:
            self._since = now
        elif slow.is_write_blocked and now - self._since > self._gate.limits.write_timeout_s:
            self.close()
        elif slow.is_idle and now - self._since > self._gate.limits.idle_timeout_s:
            self._transport.close()

    # --- reading ----------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        state = self._state
        if state == _IDLE:
            self._take(data)
        elif state == _HEAD:
            self._take(self._rest + data)
        elif state == _BODY:
            self._take_body(data)
        elif state != _LEAVING:
            self._rest += data
            if len(self._rest) > _MAX_WAITING_BYTES and not self._reading_paused:
                self._reading_paused = True
                self._transport.pause_reading()

    def take_back(self, data: bytes) -> None:
        """aiohttp is idle and the next request begins with `data`."""
        self._transport.set_protocol(self)
        self._state = _IDLE
        self._take(data)

    def _take(self, data: bytes) -> None:
        """The beginning of a request, whole or not."""
        self._rest = b""
        gate = self._gate
        limits = gate.limits
        end = data.find(b"\r\n\r\n")
        if end < 0 or end > limits.max_head_bytes:
            self._wait_for_head(data, too_large=end > limits.max_head_bytes)
            return
        line_end = data.find(b"\r\n")
        endpoint = gate.hot.get(data[:line_end])
        if endpoint is None and line_end > limits.max_url_bytes:
            self._refuse(GatewayError("url_too_long", f"The URL is longer than {limits.max_url_bytes} bytes."))
            return
        if data.count(b"\r\n", 0, end) > limits.max_headers:
            self._refuse(GatewayError("headers_too_large", f"The request has more than {limits.max_headers} headers."))
            return
        start = end + 4
        length = self._read_head(data[:start]) if endpoint is not None else -1
        if length < 0:
            self._hand_over(data)
            return
        if length > limits.max_body_bytes:
            self._refuse(GatewayError("body_too_large", f"The body is larger than {limits.max_body_bytes} bytes."))
            return
        self._endpoint = endpoint
        if len(data) - start >= length:
            self._rest = data[start + length :]
            self._serve(data[start : start + length])
        else:
            self._body = [data[start:]]
            self._missing = length - (len(data) - start)
            self._state = _BODY
            self._since = self._request_since = gate.loop.time()

    def _wait_for_head(self, data: bytes, *, too_large: bool) -> None:
        limits = self._gate.limits
        if too_large or len(data) > limits.max_head_bytes:
            message = f"The request's headers are larger than {limits.max_head_bytes} bytes."
            self._refuse(GatewayError("headers_too_large", message))
        elif data[0] in b"\r\n" or 65 <= data[0] <= 90 or 97 <= data[0] <= 122:
            if self._state != _HEAD:
                self._state = _HEAD
                self._since = self._gate.loop.time()
            self._rest = data
        else:
            self._refuse(GatewayError("invalid_http", "This is not an HTTP request."))

    def _read_head(self, head: bytes) -> int:
        """The body's length, or -1 for a request that is not plain; fills `_headers`."""
        self._headers = {}
        headers = self._headers
        parser = httptools.HttpRequestParser(self)
        try:
            parser.feed_data(head)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            return -1
        length = headers.get(b"content-length")
        if length is None:
            return -1
        for name in _NOT_PLAIN:
            if name in headers:
                return -1
        self._keep_alive = parser.should_keep_alive()
        return int(length)

    def on_header(self, name: bytes, value: bytes) -> None:
        """httptools found a header."""
        self._headers[name.lower()] = value

    def _take_body(self, data: bytes) -> None:
        missing = self._missing
        if len(data) < missing:
            self._body.append(data)
            self._missing = missing - len(data)
            self._since = self._gate.loop.time()
            return
        self._body.append(data[:missing])
        self._rest = data[missing:]
        body = b"".join(self._body)
        self._body = []
        self._serve(body)

    def _hand_over(self, data: bytes) -> None:
        """Give the connection to aiohttp until it is idle again."""
        self._state = _SLOW
        self._since = self._gate.loop.time()
        slow = self._slow
        if slow is None:
            assert self._gate.make_slow_lane is not None
            slow = self._slow = self._gate.make_slow_lane(self)
            self._transport.set_protocol(slow)
            slow.connection_made(self._transport)
        else:
            self._transport.set_protocol(slow)
        slow.take(data)

    # --- serving ----------------------------------------------------------------------------------

    def _serve(self, body: bytes) -> None:
        assert self._endpoint is not None
        self._state = _BUSY
        call = Call(self._endpoint, self._headers, body, self._client_ip)
        self._task = self._gate.loop.create_task(self._run(call))

    async def _run(self, call: Call) -> None:
        try:
            reply = await self._gate.answer(call, self)
            if self._transport is None:
                return
            if reply is not None:
                self._write_reply(reply)
        except asyncio.CancelledError:  # the client is gone
            return
        except Exception:
            _log.exception("request %s broke its connection", call.request_id)
            self.close()
            return
        finally:
            self._task = None
            self._flow = None
        self._next()

    def _next(self) -> None:
        """The answer is written: close, or read the next request."""
        transport = self._transport
        if transport is None:
            return
        if not self._keep_alive or self._gate.draining:
            self._leave()
            return
        if self._write_blocked:
            self._state = _BLOCKED
            return
        self._state = _IDLE
        self._since = self._gate.loop.time()
        if self._reading_paused:
            self._reading_paused = False
            transport.resume_reading()
        if self._rest:
            self._take(self._rest)

    def _leave(self) -> None:
        """Say no more, and let the client read what was said before the connection goes."""
        if self._transport is None or self._state == _LEAVING:
            return
        self._state = _LEAVING
        self._since = self._gate.loop.time()
        self._rest = b""
        if self._reading_paused:
            self._reading_paused = False
            self._transport.resume_reading()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()

    def _refuse(self, error: GatewayError) -> None:
        """Answer a request that is not going to be read to its end."""
        self._keep_alive = False
        headers: Headers = [(b"content-type", b"application/json"), *retry_headers(error)]
        self._body = []
        self._gate.recorder.refused(error, self._client_ip)
        self._write_reply(Reply(error.status, error.body(), headers))
        self._leave()

    def _write_reply(self, reply: Reply) -> None:
        body = reply.body
        head = self._render_head(reply.status, reply.headers)
        self._transport.write(b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body))

    def _render_head(self, status: int, headers: Headers) -> bytes:
        lines = b"".join([b"%b: %b\r\n" % header for header in headers])
        closing = b"" if self._keep_alive and not self._gate.draining else b"connection: close\r\n"
        return b"%bdate: %b\r\n%b%b" % (status_line(status), self._gate.date, lines, closing)

    # --- a streamed answer: this connection is the pipeline's Sink ------------------------------------

    def start(self, status: int, headers: Headers) -> None:
        """Write the head of a streamed answer."""
        self._transport.write(self._render_head(status, headers) + b"transfer-encoding: chunked\r\n\r\n")

    def write(self, data: bytes) -> None:
        """Write a chunk at once."""
        transport = self._transport
        if transport is not None and data:
            transport.write(b"%x\r\n%b\r\n" % (len(data), data))

    def end(self) -> None:
        """Write the last chunk."""
        if self._transport is not None:
            self._transport.write(b"0\r\n\r\n")

    def attach(self, flow: Flow | None) -> None:
        """Whom to pause while the client takes nothing."""
        self._flow = flow
        if flow is not None and self._write_blocked:
            flow.pause_reading()
