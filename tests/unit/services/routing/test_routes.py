"""Which targets, and in which order."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

from gateway.services.routing.routes import Route, Routes, Routing
from gateway.upstream.target import Target
from tests.unit.upstream.fakes import FakeLine, target, whole


def _target(name: str, *, weight: float = 1.0, priority: int = 0) -> Target:
    made = target(FakeLine(whole()), name)
    made.weight = weight
    made.priority = priority
    return made


def _routing(*routes: Route, direct: Any = lambda provider, model: None) -> Routing:
    return Routing(Routes({route.name: route for route in routes}, ("p",), direct, ()), random.Random(5))


def test_targets_come_by_priority_and_equal_ones_by_weight() -> None:
    heavy, light, last = _target("heavy", weight=3.0), _target("light"), _target("last", priority=1)
    route = Route("m", (heavy, light, last))
    routing = _routing(route)
    orders = Counter(tuple(made.provider for made in routing.order(route)) for _ in range(4000))
    assert set(orders) == {("heavy", "light", "last"), ("light", "heavy", "last")}
    assert 2850 < orders["heavy", "light", "last"] < 3150


def test_fallbacks_are_the_targets_of_the_models_named_in_their_order() -> None:
    one, two = _target("one"), _target("two")
    routing = _routing(Route("a", (one,)), Route("b", (two,)))
    assert [made.provider for made in routing.fallbacks(["b", "missing", "a"])] == ["two", "one"]


def test_an_undeclared_model_is_made_once_and_only_at_a_known_provider() -> None:
    made: list[str] = []

    def direct(provider: str, model: str) -> Target | None:
        made.append(model)
        return _target(provider) if provider == "p" else None

    routes = _routing(direct=direct).routes
    assert routes.find_direct("p/org/model") is routes.find_direct("p/org/model")
    assert made == ["org/model"]
    for bad in ("q/m", "p/", "p", "p/a\nb"):
        assert routes.find_direct(bad) is None


def test_a_flood_of_invented_models_is_bounded() -> None:
    routes = _routing(direct=lambda provider, model: _target(provider)).routes
    for number in range(1100):
        routes.find_direct(f"p/{number}")
    assert len(routes._made) <= 1024


def test_the_nearest_names_are_those_the_caller_may_use() -> None:
    routing = _routing(*[Route(name, ()) for name in ("gpt-4o", "gpt-4o-mini", "claude")])
    assert routing.nearest("gpt-4o-min", lambda name: name != "gpt-4o") == ["gpt-4o-mini"]
