"""`/v1/models` and `/v1/key`: what the caller's key may use and has used."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import orjson
from aiohttp import web

from gateway.errors import GatewayError
from gateway.pipeline.stages.authenticate import Authenticate
from gateway.server.anthropic.clients import speaks_anthropic
from gateway.server.slow_sink import headers_of
from gateway.services.keys.key import Key
from gateway.services.routing.routes import Route, Routing
from gateway.wire.anthropic_inbound_models import render_model, render_models
from gateway.wire.shown import usd


class Spending(Protocol):
    """Who knows what a key has spent: the ledger."""

    async def spent_nano_usd(self, key_id: str) -> int:
        """The cost of all its attempts so far, nano-dollars. Raises store_unavailable."""


# The limits and budgets that hold for a key, as JSON; raises store_unavailable.
Allowed = Callable[[Key], Awaitable[Mapping[str, Any]]]


class ModelList:
    """Answers from the routes in force and the caller's key."""

    def __init__(
        self, authenticate: Authenticate, routing: Routing, spending: Spending, allowance: Allowed, created: int
    ) -> None:
        self._authenticate = authenticate
        self._routing = routing
        self._spending = spending
        self._allowance = allowance
        self._created = created

    async def list_models(self, request: web.Request) -> web.Response:
        """The declared models that the key may use."""
        key = await self._authenticate.identify(headers_of(request), "models")
        declared = self._routing.routes.declared
        if speaks_anthropic(request):
            names = [name for name in declared if key.allows_model(name)]
            return web.Response(body=render_models(names, **_page(request)), content_type="application/json")
        models = [self._model(name, route) for name, route in declared.items() if key.allows_model(name)]
        return _json({"object": "list", "data": models})

    async def show_model(self, request: web.Request) -> web.Response:
        """One of them, or an undeclared one that the key names. Raises model_not_found."""
        key = await self._authenticate.identify(headers_of(request), "models")
        name = request.match_info["id"]
        routes = self._routing.routes
        route = routes.find(name) if key.allows_model(name) else None
        if route is None and key.allows_direct(name):
            route = routes.find_direct(name)
        if route is None:
            shown = name[:256].encode("utf-8", "replace").decode()
            message = f"The model '{shown}' does not exist or this key may not use it."
            raise GatewayError("model_not_found", message, param="model")
        if speaks_anthropic(request):
            return web.Response(body=render_model(name), content_type="application/json")
        return _json(self._model(name, route))

    def _model(self, name: str, route: Route) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": self._created, "owned_by": route.targets[0].provider}

    async def show_key(self, request: web.Request) -> web.Response:
        """The key's own page: who it is, what it may use, what it has spent and may spend."""
        key = await self._authenticate.identify(headers_of(request), "key")
        return _json({**_described(key), "spend_usd": await self._spent(key), **await self._allowance(key)})

    async def _spent(self, key: Key) -> float | None:
        return None if key.id is None else usd(await self._spending.spent_nano_usd(key.id))


def _page(request: web.Request) -> dict[str, Any]:
    """Anthropic's paging parameters. Raises invalid_field."""
    query = request.query
    page: dict[str, Any] = {name: query[name] for name in ("after_id", "before_id") if query.get(name)}
    limit = query.get("limit")
    if limit is not None:
        if not limit.isascii() or not limit.isdigit() or len(limit) > 9:
            raise GatewayError("invalid_field", "The parameter 'limit' must be a whole number.", param="limit")
        page["limit"] = int(limit)
    return page


def _described(key: Key) -> dict[str, Any]:
    return {
        "object": "key",
        "id": key.id,
        "name": key.name,
        "team": key.team,
        "user_id": key.user_id,
        "models": None if key.models is None else list(key.models.entries),
        "endpoints": None if key.endpoints is None else sorted(key.endpoints),
        "expires_at": None if key.expires_at_us is None else key.expires_at_us / 1e6,
        "is_master": key.is_master,
    }


def _json(payload: dict[str, Any]) -> web.Response:
    return web.Response(body=orjson.dumps(payload), content_type="application/json")
