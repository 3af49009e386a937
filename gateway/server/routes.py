"""Every path that is not a plain hot request, and its handler. Paths and handlers only."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import orjson
from aiohttp import web

from gateway.pipeline.call import Call
from gateway.pipeline.stages.authenticate import Authenticate
from gateway.server.admin.request import AdminRequest, Route
from gateway.server.anthropic.token_count import PATHS as COUNT_PATHS
from gateway.server.anthropic.token_count import TokenCounts
from gateway.server.gate import Gate
from gateway.server.openai.models import ModelList
from gateway.server.slow_sink import answer, headers_of, read_body
from gateway.server.status_pages import StatusPages
from gateway.wire.endpoint import Endpoint
from gateway.wire.endpoints import ENDPOINTS

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_MAX_ADMIN_BODY_BYTES = 1_048_576
_ADMIN_TIMEOUT_S = 30.0


def pipeline_routes(gate: Gate) -> list[web.RouteDef]:
    """The hot paths, for requests that are not plain."""

    def handler(endpoint: Endpoint) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            limits = gate.limits
            body = await read_body(request, limits.max_body_bytes, limits.body_timeout_s)
            return await answer(gate, request, Call(endpoint, headers_of(request), body, request.remote or ""))

        return handle

    return [web.post(path, handler(endpoint)) for endpoint in ENDPOINTS for path in endpoint.paths]


def client_routes(models: ModelList, counts: TokenCounts) -> list[web.RouteDef]:
    """What a key may ask about itself, its models, and the size of its prompts."""
    return [
        *(web.post(path, counts.count) for path in COUNT_PATHS),
        web.get("/anthropic/v1/models", models.list_models),
        web.get("/anthropic/v1/models/{id:.+}", models.show_model),
        web.get("/v1/models", models.list_models),
        web.get("/v1/models/{id:.+}", models.show_model),
        web.get("/v1/key", models.show_key),
    ]


def status_routes(pages: StatusPages) -> list[web.RouteDef]:
    """For probes."""
    return [web.get("/healthz", pages.health), web.get("/readyz", pages.ready), web.get("/openapi.json", pages.openapi)]


def metrics_routes(pages: StatusPages) -> list[web.RouteDef]:
    """For Prometheus."""
    return [web.get("/metrics", pages.metrics)]


def admin_routes(authenticate: Authenticate, routes: list[Route]) -> list[web.RouteDef]:
    """The admin API, open to the master key alone."""

    def handler(handle: Callable[[AdminRequest], Awaitable[tuple[int, dict[str, object]]]]) -> Handler:
        async def guarded(request: web.Request) -> web.StreamResponse:
            await authenticate.admit_admin(headers_of(request))
            body = await read_body(request, _MAX_ADMIN_BODY_BYTES, _ADMIN_TIMEOUT_S)
            status, payload = await handle(
                AdminRequest(request.method, dict(request.match_info), dict(request.query), body)
            )
            return web.Response(status=status, body=orjson.dumps(payload), content_type="application/json")

        return guarded

    return [web.route(method, path, handler(handle)) for method, path, handle in routes]
