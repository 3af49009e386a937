"""/openapi.json describes what is served: all of it, and nothing else."""

from __future__ import annotations

from gateway.server.openapi import build_document
from tests.integration.passthrough.conftest import Site


async def test_every_route_is_described_and_every_description_is_a_route(site: Site) -> None:
    served = {
        (route.method.lower(), route.resource.canonical)
        for runner in site.worker.front._runners
        for route in runner.app.router.routes()
        if route.method != "HEAD" and route.resource is not None  # aiohttp adds HEAD to each GET
    }
    described = {
        (method, path)
        for path, item in build_document()["paths"].items()
        for method in item.keys() - {"parameters", "summary", "description"}
    }
    assert served - described == set()
    assert described - served == set()
