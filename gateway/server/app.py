"""The aiohttp side: one application for every path, errors in OpenAI's shape, and lanes for the port."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from aiohttp import web

from gateway.errors import GatewayError
from gateway.pipeline.call import new_request_id
from gateway.pipeline.pipeline import retry_headers
from gateway.server.gate import Gate
from gateway.server.hot_lane import HotLane
from gateway.server.slow_lane import SlowLane

_log = logging.getLogger("gateway.server")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
RequestId: web.RequestKey[str] = web.RequestKey("request_id", str)

_NEVER_S = 1e9


def make_app(
    routes: Sequence[web.RouteDef], observe: Callable[[web.Request, int, GatewayError | None], None]
) -> web.Application:
    """An application of `routes` whose every failure is OpenAI-shaped; `observe` hears of each answer."""

    @web.middleware
    async def shape(request: web.Request, handler: Handler) -> web.StreamResponse:
        request_id = request[RequestId] = new_request_id(time.time_ns() // 1_000_000)
        try:
            response = await handler(request)
        except GatewayError as error:
            observe(request, error.status, error)
            return error_response(error, request_id)
        except web.HTTPException as error:
            failure = _from_http(request, error)
            observe(request, failure.status, failure)
            return error_response(failure, request_id, allow=error.headers.get("Allow"))
        observe(request, response.status, None)
        return response

    app = web.Application(middlewares=[shape], client_max_size=0)
    app.add_routes(routes)
    return app


def error_response(error: GatewayError, request_id: str, *, allow: str | None = None) -> web.Response:
    """A failure as an answer."""
    response = web.Response(status=error.status, body=error.body(request_id), content_type="application/json")
    response.headers["x-request-id"] = request_id
    for name, value in retry_headers(error):
        response.headers[name.decode()] = value.decode()
    if allow is not None:
        response.headers["Allow"] = allow
    if error.code in ("body_too_large", "request_timeout"):  # the rest of the body is not waited for
        response.force_close()
    return response


def _from_http(request: web.Request, error: web.HTTPException) -> GatewayError:
    if error.status == 404:
        return GatewayError("unknown_path", f"There is nothing at {request.method} {request.path[:200]}.")
    if error.status == 405:
        return GatewayError("method_not_allowed", f"{request.method[:20]} is not allowed on {request.path[:200]}.")
    if error.status == 417:
        return GatewayError("expectation_failed", "The Expect header asks for something unknown.")
    if error.status == 413:
        return GatewayError("body_too_large", "The body is too large.")
    return GatewayError("invalid_request", error.reason or "The request cannot be handled.", status=error.status)


async def open_lanes(
    app: web.Application, gate: Gate, **parser_limits: Any
) -> tuple[web.AppRunner, Callable[[], HotLane]]:
    """A runner to clean up at the end, and the protocol factory for the port: hot lanes with `app` behind them."""
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, handle_signals=False)
    await runner.setup()
    server = runner.server
    assert server is not None
    loop = asyncio.get_running_loop()

    def slow(hot_lane: HotLane) -> SlowLane:
        # The gate's sweep closes idle connections, so aiohttp's own timer must not.
        return SlowLane(
            server,
            hot_lane,
            loop=loop,
            keepalive_timeout=_NEVER_S,
            access_log=None,
            auto_decompress=False,
            **parser_limits,
        )

    gate.make_slow_lane = slow
    return runner, lambda: HotLane(gate)
