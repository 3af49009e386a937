"""Which providers can serve what is passed through, and as which targets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from gateway.errors import GatewayError
from gateway.services.routing.routes import Route, Routes, Routing
from gateway.upstream.target import Account, Target

OPENAI_TYPE = "openai"


class Providers:
    """Over the routes in force; `accounts` gives the configured providers by name."""

    def __init__(self, routing: Routing, accounts: Callable[[], Mapping[str, Account]]) -> None:
        self._routing = routing
        self._accounts = accounts
        self._made: dict[str, Target] = {}
        self._made_for: Routes | None = None

    def __contains__(self, name: str) -> bool:
        return name in self._accounts()

    def of_route(self, route: Route, near: set[str]) -> Sequence[Target]:
        """The route's targets, in the order to try them, as far as they can serve more than the hot paths.

        `near` are the providers at which the objects lie that the request refers to (none: anywhere). Raises
        no_provider.
        """
        able = [target for target in self._routing.order(route) if not target.account.local]
        if not able:
            raise GatewayError(
                "no_provider",
                f"The model '{route.name}' is answered by the built-in demo provider, which serves chat, completions"
                " and embeddings only.",
                param="model",
            )
        there = [target for target in able if not near or target.provider in near]
        if not there:
            raise GatewayError(
                "no_provider",
                f"The objects that the body refers to lie at the provider '{min(near)}', which has no target of the"
                f" model '{route.name}'.",
                param="model",
            )
        return there

    def default(self, configured: str | None) -> Target:
        """The one for requests that say neither a model nor an object. Raises no_provider, naming the setting."""
        if configured is not None:
            return self.named(configured)
        fit = [name for name, account in self._accounts().items() if account.type == OPENAI_TYPE]
        if len(fit) == 1:
            return self.named(fit[0])
        found = f"there are {len(fit)} ({', '.join(sorted(fit))})" if fit else "there is none"
        raise GatewayError(
            "no_provider",
            "This request names no model, so its provider must be configured: set passthrough.provider to the name of"
            f" a provider, or declare exactly one of type 'openai' ({found}).",
        )

    def named(self, name: str) -> Target:
        """The provider itself, without a model. Raises no_provider for one that is not configured, or the demo."""
        routes = self._routing.routes
        if routes is not self._made_for:
            self._made_for = routes
            self._made = {}
        target = self._made.get(name)
        if target is None:
            made = routes.direct(name, "")
            if made is None:
                raise GatewayError("no_provider", f"The provider '{name}' is not configured (any more).")
            if made.account.local:
                message = (
                    f"The provider '{name}' is the built-in demo, which serves chat, completions and embeddings only."
                )
                raise GatewayError("no_provider", message)
            target = self._made[name] = made
        return target
