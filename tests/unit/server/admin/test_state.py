"""`/admin/targets`: the breakers of all workers, whichever is asked."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from gateway.metrics import Metrics
from gateway.server.admin.request import AdminRequest
from gateway.server.admin.state import StatePages
from gateway.server.gauges import show_breakers
from gateway.services.routing.routes import Routes, Routing
from gateway.upstream.target import Target
from tests.unit.upstream.fakes import FakeLine, target, whole


class FakeWorker:
    """A worker with one declared target `p/m`, and undeclared models at the provider `p`."""

    def __init__(self, directory: Path, name: str) -> None:
        self.metrics = Metrics.open(directory, name)
        self.declared = target(FakeLine(whole()), "p")
        self.routing = Routing(Routes({}, ("p",), self._direct, (self.declared,)), random.Random(5))
        show_breakers(self.metrics, self.routing)
        self.metrics.refresh()

    def _direct(self, provider: str, model: str) -> Target | None:
        return target(FakeLine(whole()), "p", model) if provider == "p" else None

    async def page(self) -> dict[str, dict[str, Any]]:
        pages = StatePages(self.routing, self.metrics, dict)
        status, body = await pages.show_targets(AdminRequest("GET"))
        assert status == 200
        return {one["target"]: one for one in body["data"]}


def trip(made: Target) -> None:
    while made.breaker.state == 0:
        made.breaker.fail()


async def test_a_breaker_that_is_open_in_another_worker_is_shown_as_open(tmp_path: Path) -> None:
    asked, other = FakeWorker(tmp_path, "a"), FakeWorker(tmp_path, "b")
    name = asked.declared.name
    assert (await asked.page())[name]["workers"] == {"closed": 2, "half_open": 0, "open": 0}
    trip(other.declared)
    other.metrics.refresh()
    for worker in (asked, other):
        shown = (await worker.page())[name]
        assert (shown["breaker"], shown["declared"]) == ("open", True)
        assert shown["workers"] == {"closed": 1, "half_open": 0, "open": 1}
        assert shown["retry_in_s"] > 0
    other.metrics.close()
    assert (await asked.page())[name]["workers"] == {"closed": 1, "half_open": 0, "open": 0}


async def test_undeclared_targets_are_shown_once_any_worker_was_asked_for_them(tmp_path: Path) -> None:
    asked, other = FakeWorker(tmp_path, "a"), FakeWorker(tmp_path, "b")
    route = other.routing.routes.find_direct("p/org/new")
    assert route is not None
    trip(route.targets[0])
    other.metrics.refresh()
    for worker in (asked, other):
        shown = (await worker.page())["p/org/new"]
        assert (shown["declared"], shown["model"], shown["breaker"]) == (False, "org/new", "open")
        assert shown["workers"] == {"closed": 0, "half_open": 0, "open": 1}


async def test_many_undeclared_targets_leave_the_series_of_declared_ones_alone(tmp_path: Path) -> None:
    worker = FakeWorker(tmp_path, "a")
    for number in range(600):
        worker.routing.routes.find_direct(f"p/{number}")
    page = await worker.page()
    assert len(page) == 601
    late = target(FakeLine(whole()), "p", "late")
    trip(late)
    worker.routing.routes = Routes({}, ("p",), worker._direct, (worker.declared, late))
    worker.metrics.refresh()
    assert worker.metrics.total("breaker_state", "p", "p/late") == 2
    assert worker.metrics.total("series_dropped_total", "breaker_state") == 0


async def test_the_breaker_of_a_target_that_is_gone_does_not_stay_open_for_ever(tmp_path: Path) -> None:
    worker = FakeWorker(tmp_path, "a")
    trip(worker.declared)
    worker.metrics.refresh()
    name = worker.declared.name
    assert worker.metrics.total("breaker_state", "p", name) == 2
    worker.routing.routes = Routes({}, ("p",), lambda provider, model: None, ())
    worker.metrics.refresh()
    assert worker.metrics.total("breaker_state", "p", name) == 0
    assert await worker.page() == {}
