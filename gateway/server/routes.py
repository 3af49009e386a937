"""Every path that is not a plain hot request, and its handler. Paths and handlers only."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable

import orjson
from aiohttp import web

from gateway.errors import GatewayError
from gateway.pipeline.call import Call
from gateway.pipeline.stages.authenticate import Authenticate
from gateway.server.admin.access import require
from gateway.server.admin.request import AdminHandler, AdminRequest, Download, Route
from gateway.server.anthropic.token_count import PATHS as COUNT_PATHS
from gateway.server.anthropic.token_count import TokenCounts
from gateway.server.gate import Gate
from gateway.server.openai.models import ModelList
from gateway.server.slow_sink import answer, headers_of, read_body
from gateway.server.status_pages import StatusPages
from gateway.services.keys.key import Key
from gateway.store.audit import MASTER_ROLE, Actor
from gateway.wire.endpoint import Endpoint
from gateway.wire.endpoints import ENDPOINTS

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_MAX_ADMIN_BODY_BYTES = 1_048_576
_ADMIN_TIMEOUT_S = 30.0
_PIECE_TIMEOUT_S = 60.0

_log = logging.getLogger("gateway.server")


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
    """The admin API, open to the master key and, as `access` says, to admin keys."""

    def handler(path: str, handle: AdminHandler) -> Handler:
        async def guarded(request: web.Request) -> web.StreamResponse:
            asker = await authenticate.admit_admin(headers_of(request))
            actor = _actor(asker, request.remote)
            require(actor.role, request.method, path)
            body = await read_body(request, _MAX_ADMIN_BODY_BYTES, _ADMIN_TIMEOUT_S)
            team_id = None if asker.team_id is None else uuid.UUID(asker.team_id)
            status, payload = await handle(
                AdminRequest(request.method, dict(request.match_info), dict(request.query), body, actor, team_id)
            )
            if isinstance(payload, Download):
                return await _stream(request, payload)
            return web.Response(status=status, body=orjson.dumps(payload), content_type="application/json")

        return guarded

    return [web.route(method, path, handler(path, handle)) for method, path, handle in routes]


async def _stream(request: web.Request, download: Download) -> web.StreamResponse:
    """Send a download. What fails before its first byte is raised, what fails later breaks the connection off."""
    response = web.StreamResponse(
        headers={
            "content-type": download.content_type,
            "content-disposition": f'attachment; filename="{download.filename}"',
        }
    )

    async def write(piece: bytes) -> None:
        if not response.prepared:
            await response.prepare(request)
        async with asyncio.timeout(_PIECE_TIMEOUT_S):
            await response.write(piece)

    try:
        await download.send(write)
    except (GatewayError, TimeoutError) as error:
        if not response.prepared:
            raise
        _log.warning("a download broke off (%s: %s)", type(error).__name__, error)
        if request.transport is not None:
            request.transport.abort()
        return response
    if not response.prepared:
        await response.prepare(request)
    await response.write_eof()
    return response


def _actor(asker: Key, client_ip: str | None) -> Actor:
    if asker.is_master:
        return Actor(MASTER_ROLE, MASTER_ROLE, client_ip)
    return Actor(asker.id or "", asker.admin_role or "", client_ip)
