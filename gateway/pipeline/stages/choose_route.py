"""Where may this request go?"""

from __future__ import annotations

from typing import ClassVar

from gateway.errors import GatewayError
from gateway.pipeline.call import Call
from gateway.pipeline.stage import Stage
from gateway.services.keys.key import Key
from gateway.services.routing.routes import Route, Routing


class ChooseRoute(Stage):
    """Find the targets of the model that was asked for, if the key may use it."""

    name: ClassVar[str] = "choose_route"
    switchable: ClassVar[bool] = False

    def __init__(self, routing: Routing) -> None:
        self._routing = routing

    def on_request(self, call: Call) -> None:
        key = call.key
        assert key is not None
        route = self.find(key, call.asked_model)
        routing = self._routing
        call.model = route.model
        call.targets = routing.order(route)
        if route.context_fallbacks:
            call.context_fallbacks = routing.fallbacks(route.context_fallbacks)
        if route.policy_fallbacks:
            call.policy_fallbacks = routing.fallbacks(route.policy_fallbacks)

    def find(self, key: Key, name: str) -> Route:
        """The route of the model called `name`. Raises model_not_found or model_not_allowed."""
        route = self._routing.routes.find(name)
        if route is not None:
            if not key.allows_model(name):
                raise GatewayError("model_not_allowed", f"This API key may not use the model '{name}'.", param="model")
            return route
        if "/" in name and key.allows_direct(name):
            route = self._routing.routes.find_direct(name)
            if route is not None:
                return route
        near = self._routing.nearest(name, key.allows_model)
        hint = f" Did you mean {', '.join(repr(known) for known in near)}?" if near else ""
        raise GatewayError(
            "model_not_found", f"The model '{name}' does not exist or this API key may not use it.{hint}", param="model"
        )
