"""The routes in force, and the order in which a route's targets are tried."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from gateway.services.routing.nearest import NearestNames
from gateway.upstream.target import Target

_MAX_DIRECT = 1024


@dataclass(frozen=True, slots=True)
class Route:
    """One declared model. `targets` are grouped by rising priority; the fallbacks are names of other models. `alias_of`
    is the model's own name where `name` is an alias."""

    name: str
    targets: tuple[Target, ...]
    context_fallbacks: tuple[str, ...] = ()
    policy_fallbacks: tuple[str, ...] = ()
    created: int = 0
    alias_of: str = ""

    @property
    def model(self) -> str:
        """The model's own name."""
        return self.alias_of or self.name


@dataclass(slots=True)
class Routes:
    """A snapshot: declared models and aliases by name, and who makes targets for `provider/model`.

    `direct` gives the target of an undeclared model at a named provider, or None for an unknown provider.
    """

    declared: Mapping[str, Route]
    providers: tuple[str, ...]
    direct: Callable[[str, str], Target | None]
    targets: Sequence[Target]
    _made: dict[str, Route | None] = field(default_factory=dict)
    _nearest: NearestNames | None = None

    def find(self, name: str) -> Route | None:
        """The declared route of `name`."""
        return self.declared.get(name)

    def find_direct(self, name: str) -> Route | None:
        """The route of an undeclared `provider/model`; None where no such provider is configured."""
        route = self._made.get(name)
        if route is None:
            provider, _, model = name.partition("/")
            target = self.direct(provider, model) if model and model.isprintable() else None
            if target is None:
                return None
            route = Route(name, (target,))
            if len(self._made) >= _MAX_DIRECT:
                self._made.clear()
            self._made[name] = route
        return route

    def asked_for(self) -> list[Target]:
        """The targets of undeclared `provider/model`s that were looked for, the first ones first."""
        return [route.targets[0] for route in self._made.values() if route is not None]

    @property
    def nearest(self) -> NearestNames:
        """The declared names, to be searched for what looks like another; indexed when that is first asked."""
        if self._nearest is None:
            self._nearest = NearestNames(self.declared)
        return self._nearest


class Routing:
    """Picks targets from the routes in force; `routes` is replaced as a whole at a reload."""

    def __init__(self, routes: Routes, rng: random.Random) -> None:
        self.routes = routes
        self._rng = rng

    def order(self, route: Route) -> Sequence[Target]:
        """The route's targets as one request should try them: by priority, equal ones shared by weight."""
        targets = route.targets
        if len(targets) == 1:
            return targets
        ordered: list[Target] = []
        start = 0
        while start < len(targets):
            end = start + 1
            while end < len(targets) and targets[end].priority == targets[start].priority:
                end += 1
            ordered.extend(self._shuffle(targets[start:end]))
            start = end
        return ordered

    def _shuffle(self, targets: Sequence[Target]) -> Sequence[Target]:
        """A random order in which each target comes first with a chance in proportion to its weight.

        Sorting by u^(1/weight) is Efraimidis and Spirakis' weighted sampling without replacement (2006).
        """
        if len(targets) == 1:
            return targets
        return sorted(targets, key=lambda target: self._rng.random() ** (1.0 / target.weight), reverse=True)

    def fallbacks(self, names: Sequence[str]) -> Sequence[Target]:
        """The targets of the models named, one model after the other."""
        found: list[Target] = []
        for name in names:
            route = self.routes.find(name)
            if route is not None:
                found.extend(self.order(route))
        return found

    def nearest(self, name: str, allowed: Callable[[str], bool]) -> list[str]:
        """Up to three declared names that look like `name` and that the caller may use."""
        return self.routes.nearest.find(name, allowed)
