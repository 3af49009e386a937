"""A request that falls back to another model's targets: what it costs there, and whose limits and budgets hold."""

from __future__ import annotations

from typing import Any

from gateway.services.prices.price import PriceOverride
from tests.integration.pipeline.site import USD, Site, used
from tests.unit.upstream.fakes import FakeLine, Script, fails, whole

CENT = USD // 100
FREE = PriceOverride(0, 0)
DEAR = PriceOverride(100_000_000, 200_000_000)  # 100 and 200 USD for a million tokens
PRICES = {"m": FREE, "alias": FREE, "dear": DEAR}


def too_long() -> Script:
    return fails(400, {"error": {"message": "too long", "code": "context_length_exceeded"}})


def serve(site: Site, prices: Any = None, *answers: Script, **more: Any) -> None:
    """`m` costs nothing and finds every prompt too long; `dear` answers."""
    lines = {"cheap": FakeLine(*[too_long() for _ in range(9)]), "dear": FakeLine(*answers or (whole(),))}
    site.serve(PRICES if prices is None else prices, fallbacks=("dear",), **more, **lines)


async def test_a_hard_budget_is_not_evaded_by_a_fallback_to_a_dearer_model(site: Site) -> None:
    serve(site)
    key = await site.make_key()
    await site.budget("key", key.id, CENT // 10, on_too_dear="refuse")
    for model in ("m", "alias"):
        answer = await site.ask(key, model=model, max_tokens=100)
        assert (answer.status, answer.error["code"]) == (429, "insufficient_quota")
    assert site.lines["dear"].sent == []


async def test_a_fallback_is_reserved_booked_and_counted_as_the_model_that_answered(site: Site) -> None:
    serve(site, None, whole(usage=used(7, 20)))
    key = await site.make_key()
    await site.budget("key", key.id, USD)
    answer = await site.ask(key, model="alias", max_tokens=100)
    assert answer.status == 200
    cost = 7 * 100_000 + 20 * 200_000
    assert answer.headers["x-gateway-cost-usd"] == f"0.{cost:09d}"
    assert site.out_nano_usd() == cost
    assert site.book.started[-1].cost_nano_usd >= 100 * 200_000
    first, second = site.book.ended
    assert [entry.scope.split("\t")[6:8] for entry in (first, second)] == [["alias", "cheap"], ["dear", "dear"]]
    assert (first.cost_nano_usd, second.cost_nano_usd) == (0, cost)
    assert site.metrics.cost_usd.child("dear", "p").value == cost
    assert site.metrics.tokens.child("dear", "p", "completion").value == 20
    assert site.metrics.cost_usd.child("alias", "p").value == 0
