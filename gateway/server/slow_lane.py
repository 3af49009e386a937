"""aiohttp's side of a connection: every path and every oddity that the hot lane does not take."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler

from gateway.errors import GatewayError
from gateway.server.refusal import refusal
from gateway.upstream.job import Headers

if TYPE_CHECKING:
    import asyncio

    from gateway.server.hot_lane import HotLane

_log = logging.getLogger("gateway.server")


class SlowLane(RequestHandler):
    """aiohttp's request handler. Its hot lane owns the connection and feeds it one request at a time."""

    __slots__ = ("_hot_lane",)

    def __init__(
        self, manager: web.Server, hot_lane: HotLane, *, loop: asyncio.AbstractEventLoop, **options: Any
    ) -> None:
        super().__init__(manager, loop=loop, **options)
        self._hot_lane: HotLane | None = hot_lane

    def connection_lost(self, exc: BaseException | None) -> None:
        self._hot_lane = None
        super().connection_lost(exc)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Write the answer; the hot lane goes on from there."""
        response, reset = await super().finish_response(request, resp, start_time)
        if self._hot_lane is not None and not reset:
            self._hot_lane.slow_answered(keep_alive=bool(response.keep_alive))
        return response, reset

    def feed_body(self, data: bytes) -> None:
        """More of the body of the one request that was fed.

        Of a body that it cannot parse aiohttp makes a message behind that request and tells nobody who reads it
        (3.14, seen 2026-11).
        """
        waiting = len(self._messages)
        super().data_received(data)
        if len(self._messages) > waiting:
            self._messages.pop()
            self.fail_body(GatewayError("invalid_http", "The request's body is not valid HTTP."))

    def fail_body(self, error: GatewayError) -> None:
        """The body of the request under way is malformed: whoever reads it gets `error`."""
        payload: Any = self._messages[-1][1] if self._messages else None
        if payload is None and self._current_request is not None:
            payload = self._current_request.content
        if payload is not None:
            payload.set_exception(error)
            payload.feed_eof()  # there is nothing that aiohttp could wait for

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Our error shape instead of aiohttp's plain text; no byte of the request is logged, it may hold a secret."""
        if isinstance(exc, ConnectionError):  # the client has gone
            raise exc
        if isinstance(exc, HttpProcessingError) or status == 400:
            error = GatewayError("invalid_http", f"The request is not valid HTTP ({type(exc).__name__}).")
        else:
            _log.error("the handler of a %s request failed", request.method, exc_info=exc)
            error = GatewayError("internal_error", "The gateway failed to handle this request.")
        if request.writer.output_size > 0:  # something was sent already: all that is left is to hang up
            raise ConnectionError("an answer had begun")
        reply = refusal(error, None)
        response = PlainResponse(status=reply.status, body=reply.body, headers=decoded(reply.headers))
        response.force_close()
        return response


class PlainResponse(web.Response):
    """An answer without aiohttp's `Server` line, also where no application prepares it."""

    async def _prepare_headers(self) -> None:
        await super()._prepare_headers()
        self.headers.popall("Server", None)


def decoded(headers: Headers) -> list[tuple[str, str]]:
    """Header lines as aiohttp wants them."""
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
