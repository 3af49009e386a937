"""What probes, scrapers and tools ask of the gateway itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import orjson
from aiohttp import web

from gateway.errors import GatewayError
from gateway.metrics import Metrics
from gateway.server.gate import Gate


class StatusPages:
    """`/healthz`, `/readyz`, `/metrics` and `/openapi.json`.

    `details` tells how the stores are, for people; a store that is away does not make the gateway unready, for
    warm keys go on being served.
    """

    def __init__(
        self, gate: Gate, metrics: Metrics, details: Callable[[], dict[str, Any]], document: Callable[[], bytes]
    ) -> None:
        self._gate = gate
        self._metrics = metrics
        self._details = details
        self._document = document

    async def health(self, request: web.Request) -> web.Response:
        """The process runs."""
        return web.Response(text="ok\n")

    async def ready(self, request: web.Request) -> web.Response:
        """Send traffic here? 503 from the moment that draining begins."""
        if not self._gate.draining:
            body = orjson.dumps({"status": "ready", **self._details()})
            return web.Response(body=body, content_type="application/json")
        raise GatewayError("draining", "The gateway is finishing its last requests; send new ones elsewhere.")

    async def metrics(self, request: web.Request) -> web.Response:
        """The metrics of all workers."""
        body, content_type = await self._metrics.expose(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"content-type": content_type})

    async def openapi(self, request: web.Request) -> web.Response:
        """The API's description."""
        # The first time it is put together, which would hold up the loop for a while.
        document = await asyncio.to_thread(self._document)
        return web.Response(body=document, content_type="application/json")
