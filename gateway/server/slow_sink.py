"""A streamed answer through aiohttp: what dispatch writes without waiting is sent on as the client takes it."""

from __future__ import annotations

import asyncio
from collections import deque

from aiohttp import web

from gateway.errors import GatewayError
from gateway.pipeline.call import Call, Reply
from gateway.server.gate import Gate
from gateway.server.slow_lane import decoded
from gateway.tasks import rooted
from gateway.upstream.job import Flow, Headers

_HIGH_WATER_BYTES = 65_536
_BODY_TOTAL_FACTOR = 10


class SlowSink:
    """The pipeline's Sink on an aiohttp request."""

    def __init__(self, request: web.BaseRequest) -> None:
        self._request = request
        self._head: tuple[int, Headers] | None = None
        self._chunks: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._flow: Flow | None = None
        self._paused = False
        self._ended = False
        self.wake = asyncio.Event()

    def start(self, status: int, headers: Headers) -> None:
        """The head of the answer."""
        self._head = (status, headers)

    def write(self, data: bytes) -> None:
        """A piece of it; slows the upstream when the client does not keep up."""
        if not data:
            return
        self._chunks.append(data)
        self._waiting_bytes += len(data)
        if self._waiting_bytes > _HIGH_WATER_BYTES and self._flow is not None and not self._paused:
            self._paused = True
            self._flow.pause_reading()
        self.wake.set()

    def end(self) -> None:
        """No more will come."""
        self._ended = True
        self.wake.set()

    def attach(self, flow: Flow | None) -> None:
        """Whom to slow down."""
        self._flow = flow

    async def send(self, work: asyncio.Task[Reply | None]) -> web.StreamResponse:
        """Send what `work` writes, until it is done: the streamed answer, or the whole one it returned."""
        work.add_done_callback(lambda _: self.wake.set())
        response: web.StreamResponse | None = None
        while True:
            await self.wake.wait()
            self.wake.clear()
            if self._head is not None and response is None:
                response = web.StreamResponse(status=self._head[0], headers=decoded(self._head[1]))
                await response.prepare(self._request)
            while self._chunks and response is not None:
                data = self._chunks.popleft()
                self._waiting_bytes -= len(data)
                await response.write(data)
            if self._paused and self._waiting_bytes == 0:
                self._paused = False
                if self._flow is not None:
                    self._flow.resume_reading()
            if work.done() and not self._chunks:
                reply = work.result()
                if reply is not None:
                    return to_response(reply)
                assert response is not None
                await response.write_eof()
                return response


def to_response(reply: Reply) -> web.Response:
    """A whole answer as aiohttp's."""
    return web.Response(status=reply.status, body=reply.body, headers=decoded(reply.headers))


async def read_body(request: web.BaseRequest, max_bytes: int, timeout_s: float) -> bytes:
    """The whole body.

    Raises body_too_large, request_timeout after `timeout_s` of silence or ten times that in all, invalid_http.
    """
    if (request.content_length or 0) > max_bytes:
        raise _too_large(max_bytes)
    body = bytearray()
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _BODY_TOTAL_FACTOR * timeout_s
    while True:
        try:
            async with asyncio.timeout_at(min(deadline, loop.time() + timeout_s)):
                chunk = await request.content.readany()
        except TimeoutError:
            raise GatewayError("request_timeout", "The request's body took too long to arrive.") from None
        except web.RequestPayloadError:
            raise GatewayError("invalid_http", "The request's body is not valid HTTP.") from None
        if not chunk:
            return bytes(body)
        if len(body) + len(chunk) > max_bytes:
            raise _too_large(max_bytes)
        body += chunk


def _too_large(max_bytes: int) -> GatewayError:
    return GatewayError("body_too_large", f"The body is larger than {max_bytes} bytes.")


def headers_of(request: web.BaseRequest) -> dict[bytes, bytes]:
    """The request's headers as the hot lane reads them: bytes, names in lower case, the last of several."""
    return {name.lower(): value for name, value in request.raw_headers}


async def answer(gate: Gate, request: web.BaseRequest, call: Call) -> web.StreamResponse:
    """Run `call` for `request`; if the client goes, so does the call."""
    sink = SlowSink(request)
    work = asyncio.get_running_loop().create_task(rooted(gate.answer(call, sink)))
    try:
        return await sink.send(work)
    finally:
        if not work.done():
            gate.client_gone(work)
            await asyncio.wait((work,))
