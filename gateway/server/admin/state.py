"""`/admin/config` and `/admin/targets`: what is in force, and how the targets are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from gateway.metrics import Metrics
from gateway.metrics.families import labels_of
from gateway.server.admin.request import AdminRequest, Route
from gateway.services.routing.routes import Routing
from gateway.upstream.health import STATE_NAMES
from gateway.upstream.target import Target

_Series = dict[tuple[str, ...], float]


class StatePages:
    """`config` gives the settings in force (secrets as their references) and how the last reload went."""

    def __init__(self, routing: Routing, metrics: Metrics, config: Callable[[], dict[str, Any]]) -> None:
        self._routing = routing
        self._metrics = metrics
        self._config = config

    def routes(self) -> list[Route]:
        """Paths and handlers."""
        return [("GET", "/admin/config", self.show_config), ("GET", "/admin/targets", self.show_targets)]

    async def show_config(self, request: AdminRequest) -> tuple[int, dict[str, Any]]:
        """The configuration in force."""
        return 200, self._config()

    async def show_targets(self, request: AdminRequest) -> tuple[int, dict[str, Any]]:
        """Every declared target, and every other that a worker was asked for, with its breakers in all workers."""
        states = await self._metrics.of_each_worker("breaker_state")
        retries = await self._metrics.of_each_worker("breaker_retry_seconds")
        declared = {target.name: target for target in self._routing.routes.targets}
        others = {target.name: target for target in self._undeclared(states) if target.name not in declared}
        data = [
            {"declared": target.name in declared, **_shown(target, states, retries)}
            for target in (*declared.values(), *others.values())
        ]
        return 200, {"object": "list", "data": data}

    def _undeclared(self, states: list[_Series]) -> Iterator[Target]:
        routes = self._routing.routes
        yield from routes.asked_for()
        for provider, name in dict.fromkeys(labels for worker in states for labels in worker):
            target = routes.direct(provider, name.removeprefix(f"{provider}/"))
            if target is not None and labels_of(target.provider, target.name) == (provider, name):
                yield target


def _shown(target: Target, states: list[_Series], retries: list[_Series]) -> dict[str, Any]:
    """A target as JSON. One whose series is not to be had, for there are too many, has this worker's breaker alone."""
    breaker = target.breaker
    labels = labels_of(target.provider, target.name)
    found = [int(worker[labels]) for worker in states if labels in worker] or [breaker.state]
    waits = [worker[labels] for worker in retries if labels in worker] or [breaker.retry_in_s()]
    return {
        "target": target.name,
        "provider": target.provider,
        "model": target.model,
        "base_url": target.account.base_url,
        "breaker": STATE_NAMES[max(found)],
        "retry_in_s": round(max(waits), 3),
        "workers": {name: found.count(state) for state, name in enumerate(STATE_NAMES)},
    }
