"""aiohttp's side of a connection: every path and every oddity that the hot lane does not take."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler

from gateway.errors import GatewayError

if TYPE_CHECKING:
    import asyncio

    from gateway.server.hot_lane import HotLane

_log = logging.getLogger("gateway.server")


class SlowLane(RequestHandler):
    """aiohttp's request handler, which gives the connection back to its hot lane when it is idle."""

    __slots__ = ("_hot_lane",)

    def __init__(
        self, manager: web.Server, hot_lane: HotLane, *, loop: asyncio.AbstractEventLoop, **options: Any
    ) -> None:
        super().__init__(manager, loop=loop, **options)
        self._hot_lane: HotLane | None = hot_lane

    def connection_lost(self, exc: BaseException | None) -> None:
        hot_lane, self._hot_lane = self._hot_lane, None
        super().connection_lost(exc)
        if hot_lane is not None:
            hot_lane.connection_lost(exc if isinstance(exc, Exception) else None)

    def data_received(self, data: bytes) -> None:
        if self._hot_lane is not None and self.is_idle:
            self._hot_lane.take_back(data)
        else:
            super().data_received(data)

    def take(self, data: bytes) -> None:
        """Requests from the hot lane."""
        super().data_received(data)

    @property
    def is_idle(self) -> bool:
        """Is it waiting for a request, with none begun?"""
        waiter = self._waiter
        return (
            waiter is not None and not waiter.done() and not self._messages and not (self._close or self._force_close)
        )

    @property
    def is_write_blocked(self) -> bool:
        """Is the client taking nothing of what was written?"""
        return self._paused

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Our error shape instead of aiohttp's plain text; header bytes are not logged."""
        if isinstance(exc, HttpProcessingError) or status == 400:
            error = GatewayError("invalid_http", f"The request is not valid HTTP: {_reason(exc)}.")
        else:
            _log.error("the handler of %s %s failed", request.method, request.path, exc_info=exc)
            error = GatewayError("internal_error", "The gateway failed to handle this request.")
        if request.writer.output_size > 0:  # something was sent already: all that is left is to hang up
            raise ConnectionError("an answer had begun")
        response = web.Response(status=error.status, body=error.body(), content_type="application/json")
        response.force_close()
        return response


def _reason(exc: BaseException | None) -> str:
    """What was wrong, without the bytes that were: they may hold a secret."""
    return type(exc).__name__ if exc is not None else "malformed"
