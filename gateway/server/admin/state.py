"""`/admin/config` and `/admin/targets`: what is in force, and how the targets are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.server.admin.request import AdminRequest, Route
from gateway.services.routing.routes import Routing
from gateway.upstream.health import STATE_NAMES


class StatePages:
    """`config` gives the settings in force (secrets as their references) and how the last reload went."""

    def __init__(self, routing: Routing, config: Callable[[], dict[str, Any]]) -> None:
        self._routing = routing
        self._config = config

    def routes(self) -> list[Route]:
        """Paths and handlers."""
        return [("GET", "/admin/config", self.show_config), ("GET", "/admin/targets", self.show_targets)]

    async def show_config(self, request: AdminRequest) -> tuple[int, dict[str, Any]]:
        """The configuration in force."""
        return 200, self._config()

    async def show_targets(self, request: AdminRequest) -> tuple[int, dict[str, Any]]:
        """Every target of a declared model, with this worker's breaker for it."""
        targets = [
            {
                "target": target.name,
                "provider": target.provider,
                "model": target.model,
                "base_url": target.account.base_url,
                "breaker": STATE_NAMES[target.breaker.state],
                "retry_in_s": round(target.breaker.retry_in_s(), 3),
            }
            for target in self._routing.routes.targets
        ]
        return 200, {"object": "list", "data": targets}
