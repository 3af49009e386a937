"""The aiohttp side: one application for every path, errors in OpenAI's shape, and lanes for the port."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from aiohttp import hdrs, web

from gateway.errors import GatewayError
from gateway.pipeline.call import new_request_id
from gateway.server.anthropic.clients import speaks_anthropic
from gateway.server.gate import Gate
from gateway.server.hot_lane import HotLane
from gateway.server.refusal import id_headers, refusal
from gateway.server.slow_lane import SlowLane, decoded
from gateway.wire.anthropic_inbound import INBOUND as ANTHROPIC
from gateway.wire.endpoints import ENDPOINTS
from gateway.wire.openai_inbound import OPENAI

_log = logging.getLogger("gateway.server")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Observer = Callable[[web.Request, int, GatewayError | None], None]

_NEVER_S = 1e9
_SHUTDOWN_S = 1.0
_SHOWN_CHARACTERS = 200
# After these the rest of the body is not waited for.
_ABANDONED = frozenset({"body_too_large", "request_timeout", "invalid_http"})
_CODES = {413: "body_too_large", 417: "expectation_failed"}


def make_app(routes: Sequence[web.RouteDef], observe: Observer) -> web.Application:
    """An application of `routes` whose every failure is OpenAI-shaped; `observe` hears of each answer."""

    @web.middleware
    async def shape(request: web.Request, handler: Handler) -> web.StreamResponse:
        allow: str | None = None
        try:
            response = await handler(request)
        except GatewayError as error:
            failure = error
        except web.HTTPException as error:
            failure, allow = _from_http(request, error), error.headers.get(hdrs.ALLOW)
        except ConnectionError:  # the client has gone
            raise
        except Exception:
            if request.writer.output_size > 0:
                raise
            _log.exception("the handler of %s %s failed", request.method, _shown(request.path))
            failure = GatewayError("internal_error", "The gateway failed to handle this request.")
        else:
            observe(request, response.status, None)
            return response
        observe(request, failure.status, failure)
        return error_response(request, failure, allow=allow)

    app = web.Application(middlewares=[shape], client_max_size=0)
    app.on_response_prepare.append(_name_request)
    app.add_routes(routes)
    return app


async def _name_request(request: web.Request, response: web.StreamResponse) -> None:
    """Every answer has a request id; none says what serves it."""
    headers = response.headers
    headers.popall(hdrs.SERVER, None)
    if "x-request-id" not in headers:
        own = new_request_id(time.time_ns() // 1_000_000)
        headers.extend(decoded(id_headers(own, _client_id(request))))


def error_response(request: web.Request, error: GatewayError, *, allow: str | None = None) -> web.Response:
    """A failure as an answer to `request`."""
    reply = refusal(
        error,
        _client_id(request),
        allow=None if allow is None else allow.encode("latin-1"),
        speech=ANTHROPIC if speaks_anthropic(request) else OPENAI,
    )
    response = web.Response(status=reply.status, body=reply.body, headers=decoded(reply.headers))
    if error.code in _ABANDONED:
        response.force_close()
    return response


def _client_id(request: web.Request) -> bytes | None:
    value = request.headers.get("x-request-id")
    return None if value is None else value.encode("utf-8", "surrogateescape")


def _from_http(request: web.Request, error: web.HTTPException) -> GatewayError:
    method, path = request.method, _shown(request.path)
    if error.status == 404:
        return GatewayError("unknown_path", f"There is nothing at {method} {path}.")
    if error.status == 405:
        return GatewayError("method_not_allowed", f"{method} is not allowed on {path}.")
    code = _CODES.get(error.status, "invalid_request")
    return GatewayError(code, error.reason or "The request cannot be handled.", status=error.status)


def _shown(path: str) -> str:
    """The path for a message: short, and of characters that JSON can hold."""
    return path[:_SHOWN_CHARACTERS].encode("utf-8", "replace").decode()


async def open_lanes(
    app: web.Application, gate: Gate, *, pipeline: bool = True
) -> tuple[web.AppRunner, Callable[[], HotLane]]:
    """A runner to clean up at the end, and the protocol factory for a port: hot lanes with `app` behind them.

    `pipeline`: are the pipeline's paths among those of `app`, for the hot lane to serve? aiohttp's parser is given
    the gate's limits in force.
    """

    async def close_when_draining(request: web.Request, response: web.StreamResponse) -> None:
        if gate.draining:
            response.force_close()
            response.headers[hdrs.CONNECTION] = "close"

    app.on_response_prepare.append(close_when_draining)
    runner = web.AppRunner(
        app, handler_cancellation=True, access_log=None, handle_signals=False, shutdown_timeout=_SHUTDOWN_S
    )
    await runner.setup()
    server = runner.server
    assert server is not None
    loop = asyncio.get_running_loop()
    served = ENDPOINTS if pipeline else ()
    hot = {b"POST %b HTTP/1.1" % path.encode(): found for found in served for path in found.paths}

    def slow(hot_lane: HotLane) -> SlowLane:
        limits = gate.limits
        # The hot lane keeps the limits of heads and of idle connections; aiohttp's own must not come first.
        options: dict[str, Any] = {
            "keepalive_timeout": _NEVER_S,
            "max_line_size": limits.max_head_bytes,
            "max_field_size": limits.max_head_bytes,
            "max_headers": limits.max_headers + 1,
        }
        return SlowLane(server, hot_lane, loop=loop, access_log=None, auto_decompress=False, **options)

    return runner, lambda: HotLane(gate, hot, slow)
