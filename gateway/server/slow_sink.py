"""A streamed answer through aiohttp: what dispatch writes without waiting is sent on as the client takes it."""

from __future__ import annotations

import asyncio
from collections import deque

from aiohttp import web

from gateway.errors import GatewayError
from gateway.pipeline.call import Call, Reply
from gateway.server.gate import Gate
from gateway.upstream.job import Flow, Headers

_HIGH_WATER_BYTES = 65_536


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
                response = web.StreamResponse(status=self._head[0], headers=_decoded(self._head[1]))
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


def _decoded(headers: Headers) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]


def to_response(reply: Reply) -> web.Response:
    """A whole answer as aiohttp's."""
    return web.Response(status=reply.status, body=reply.body, headers=_decoded(reply.headers))


async def read_body(request: web.BaseRequest, max_bytes: int, timeout_s: float) -> bytes:
    """The whole body. Raises body_too_large, or request_timeout after `timeout_s` of silence."""
    if (request.content_length or 0) > max_bytes:
        raise GatewayError("body_too_large", f"The body is larger than {max_bytes} bytes.")
    chunks: list[bytes] = []
    size = 0
    while True:
        try:
            async with asyncio.timeout(timeout_s):
                chunk = await request.content.readany()
        except TimeoutError:
            raise GatewayError("request_timeout", "The request's body took too long to arrive.") from None
        if not chunk:
            return b"".join(chunks)
        size += len(chunk)
        if size > max_bytes:
            raise GatewayError("body_too_large", f"The body is larger than {max_bytes} bytes.")
        chunks.append(chunk)


def headers_of(request: web.BaseRequest) -> dict[bytes, bytes]:
    """The request's headers as the hot lane reads them: bytes, names in lower case, the last of several."""
    return {name.lower(): value for name, value in request.raw_headers}


async def answer(gate: Gate, request: web.BaseRequest, call: Call) -> web.StreamResponse:
    """Run `call` for `request`; if the client goes, so does the call."""
    sink = SlowSink(request)
    work = asyncio.get_running_loop().create_task(gate.answer(call, sink))
    try:
        return await sink.send(work)
    finally:
        if not work.done():
            work.cancel()
            await asyncio.wait((work,))
