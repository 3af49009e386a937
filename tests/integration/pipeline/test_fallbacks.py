"""A request that falls back to another model's targets: what it costs there, and whose limits and budgets hold."""

from __future__ import annotations

from typing import Any

from gateway.providers.price import PriceOverride
from tests.integration.pipeline.site import USD, Site, used
from tests.unit.upstream.fakes import FakeLine, Script, fails, whole

CENT = USD // 100
FREE = PriceOverride(0, 0)
DEAR = PriceOverride(100_000_000, 200_000_000)  # 100 and 200 USD for a million tokens
PRICES = {"cheap": FREE, "dear": DEAR}


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


# --- limits and budgets of the model that is fallen back to ------------------------------------------


async def test_limits_of_requests_hold_for_a_fallback_and_name_the_model(site: Site) -> None:
    serve(site, {})
    key = await site.make_key()
    await site.limit("model", "dear", requests_per_hour=2, max_concurrency=1)
    answers = [await site.ask(key) for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert answers[-1].error["code"] == "target_limited"
    assert "2 requests per hour of the model 'dear'" in answers[-1].error["message"]
    assert len(site.lines["dear"].sent) == 2
    assert site.held("max_concurrency") == 0
    assert (await site.ask(key, model="dear")).error["code"] == "rate_limit_exceeded"  # the same count


async def test_where_one_fallbacks_limits_are_used_up_the_next_one_answers(site: Site) -> None:
    key = await site.make_key()
    lines = {"cheap": FakeLine(too_long()), "dear": FakeLine(whole()), "other": FakeLine(whole())}
    site.serve({}, fallbacks=("dear", "other"), **lines)
    await site.limit("key", key.id, model="dear", requests_per_hour=0)
    answer = await site.ask(key)
    assert (answer.status, answer.headers["x-gateway-model"]) == (200, "other")


async def test_tokens_that_a_fallback_uses_count_for_its_own_model_and_the_caller(site: Site) -> None:
    serve(site, {}, whole(usage=used(10, 5000)))
    key = await site.make_key()
    for scope, subject in (("model", "dear"), ("model", "m"), ("key", key.id)):
        await site.limit(scope, subject, tokens_per_day=100_000)
    assert (await site.ask(key, max_tokens=300)).status == 200
    of_model = {name: site.rules.of_model(key, name) for name in ("dear", "m")}
    rules = (of_model["dear"], of_model["m"], site.rules.of_caller(key))
    counters = [counter for each in rules if each is not None for counter in each.tokens]
    assert [counter.out for counter in counters] == [5010, 0, 5010]
    assert site.rules.usual.high("dear") > 5000 > site.rules.usual.high("m")


async def test_a_fallback_is_paid_from_its_own_models_budgets_and_from_none_of_the_model_asked_for(site: Site) -> None:
    serve(site, None, whole(usage=used(7, 20)))
    key = await site.make_key()
    await site.budget("model", "m", 0)
    made = await site.budget("model", "dear", 2 * CENT, on_too_dear="refuse", name="for dear")
    both = await site.budget("key", key.id, USD, model="dear")
    assert (await site.ask(key, max_tokens=20)).status == 200
    rows = await site.postgres.fetch("SELECT id, budget_id::text FROM budget_periods")
    paid = {str(row["id"]) for row in rows if row["budget_id"] in (made.id, both.id)}
    assert set(site.book.ended[-1].budgets.strip("{}").split(",")) == paid
    refused = await site.ask(key, max_tokens=100)
    assert (refused.status, refused.error["code"]) == (429, "insufficient_quota")
    assert "'for dear'" in refused.error["message"]


async def test_an_end_users_budget_pays_for_a_fallback_too(site: Site) -> None:
    serve(site)
    key = await site.make_key()
    await site.budget("end_user", key.id, CENT // 10, on_too_dear="refuse")
    answer = await site.ask(key, user="ann", max_tokens=100)
    assert (answer.status, answer.error["code"]) == (429, "insufficient_quota")
    assert site.lines["dear"].sent == []
