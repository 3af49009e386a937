"""Hard budgets and requests whose cost cannot be told, before or after; and the budgets of end users."""

from __future__ import annotations

import asyncio

import pytest

from gateway.services.keys.key import Key
from gateway.wire.anthropic import DIALECT as ANTHROPIC_DIALECT
from gateway.wire.endpoints import MESSAGES
from tests.integration.pipeline.site import INPUT_NANO, OUTPUT_NANO, USD, Site, hanging, used
from tests.unit.upstream.fakes import SSE, FakeLine, Script, event, stream, whole

CENT = USD // 100
TOOLS = [{"type": "web_search"}]


async def paid(site: Site, limit_nano_usd: int = 10 * CENT, **fields: object) -> Key:
    """A key with a hard budget."""
    key = await site.make_key()
    await site.budget("key", key.id, limit_nano_usd, **fields)
    return key


# --- before -----------------------------------------------------------------------------------------


async def test_what_cannot_be_bounded_is_refused_and_the_field_named(site: Site) -> None:
    site.serve(up=FakeLine(whole()))
    answer = await site.ask(await paid(site), tools=TOOLS)
    assert answer.status == 400
    assert (answer.error["code"], answer.error["param"]) == ("budget_unbounded", "tools[0]")
    assert site.lines["up"].sent == []


async def test_a_cap_for_what_cannot_be_bounded_is_what_is_set_aside_for_it(site: Site) -> None:
    site.serve(up=FakeLine(hanging(), whole(usage=used(7, 5))))
    key = await paid(site, unbounded_nano_usd=6 * CENT)
    under_way = asyncio.ensure_future(site.ask(key, tools=TOOLS))
    while not site.lines["up"].sent:
        await asyncio.sleep(0.01)
    assert site.out_nano_usd() == 6 * CENT
    assert (await site.ask(key, tools=TOOLS)).error["code"] == "insufficient_quota"
    under_way.cancel()
    with pytest.raises(asyncio.CancelledError):
        await under_way
    assert site.out_nano_usd() == 6 * CENT


async def test_a_model_without_a_known_price_cannot_be_used_under_a_hard_budget(site: Site) -> None:
    site.serve(prices={}, up=FakeLine(whole()))
    assert (await site.ask(await site.make_key())).status == 200
    answer = await site.ask(await paid(site))
    assert (answer.status, answer.error["code"]) == (400, "budget_unpriced")
    assert len(site.lines["up"].sent) == 1


# --- after ------------------------------------------------------------------------------------------


async def test_an_answer_that_tells_no_usage_costs_all_that_was_set_aside_and_is_marked(site: Site) -> None:
    site.serve(up=FakeLine(whole(usage={})))
    answer = await site.ask(await paid(site), max_tokens=1000)
    assert answer.status == 200
    (entry,) = site.book.ended
    assert entry.usage is not None
    assert entry.usage.estimated
    assert entry.cost_nano_usd == site.out_nano_usd() > 1000 * OUTPUT_NANO


async def test_what_is_reported_beyond_the_worst_case_is_charged_in_full_counted_and_told(site: Site) -> None:
    site.serve(up=FakeLine(whole(usage=used(7, 5000))))
    await site.budget("global", None, USD, hard=False)
    await site.budget("model", "m", USD)
    await site.ask(await paid(site), max_tokens=100)
    cost = 7 * INPUT_NANO + 5000 * OUTPUT_NANO
    assert site.book.ended[0].cost_nano_usd == cost
    assert site.out_nano_usd() == 2 * cost
    assert site.metrics.total("reservation_exceeded_total") == 1
    hard = "SELECT p.id FROM budget_periods p JOIN cost_budgets b ON b.id = p.budget_id WHERE b.hard"
    periods = {row["id"] for row in await site.postgres.fetch(hard)}
    assert len(periods) == 2
    (reserved,) = {reserved for _, reserved, _ in site.overruns}
    assert 100 * OUTPUT_NANO < reserved < cost
    assert sorted(site.overruns) == [(period, reserved, cost) for period in sorted(periods)]


async def test_a_usual_answer_is_not_counted_as_beyond_its_worst_case(site: Site) -> None:
    site.serve(up=FakeLine(whole()))
    await site.ask(await paid(site))
    assert site.metrics.total("reservation_exceeded_total") == 0
    assert site.overruns == []


TEXT = "word " * 40


async def cut(site: Site, key: Key) -> int:
    """Cut a stream after 40 of at most 2,000 tokens have come; what it cost."""
    under_way = asyncio.ensure_future(site.ask(key, stream=True, max_tokens=2000))
    while not site.lines[site.targets[0].model].connections:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    under_way.cancel()
    with pytest.raises(asyncio.CancelledError):
        await under_way
    (entry,) = site.book.ended
    assert entry.outcome == "client_gone"
    assert entry.usage is not None
    assert entry.usage.estimated
    assert entry.cost_nano_usd == site.out_nano_usd()
    return entry.cost_nano_usd


@pytest.mark.parametrize("events", [1, 4, 40])
async def test_a_stream_that_is_cut_where_that_stops_the_bill_costs_no_less_than_what_came(
    site: Site, events: int
) -> None:
    pieces = [TEXT[start : start + 200 // events] for start in range(0, 200, 200 // events)]
    site.serve(up=FakeLine(stream(*[event(piece) for piece in pieces], hang=True)))
    cost = await cut(site, await paid(site))
    assert 7 * INPUT_NANO + 40 * OUTPUT_NANO <= cost < 500 * OUTPUT_NANO


@pytest.mark.parametrize(
    ("account", "model"), [("groq", "up"), ("openrouter", "up"), ("openai", "o3-mini"), ("azure", "my-deployment")]
)
async def test_a_stream_that_is_cut_where_it_may_be_billed_on_costs_all_that_was_set_aside(
    site: Site, account: str, model: str
) -> None:
    site.serve(None, (), account, 1, **{model: FakeLine(stream(event(TEXT), hang=True))})
    assert await cut(site, await paid(site)) >= 2000 * OUTPUT_NANO


async def test_a_whole_answer_that_nobody_waits_for_costs_all_that_was_set_aside(site: Site) -> None:
    site.serve(up=FakeLine(hanging()))
    key = await paid(site)
    under_way = asyncio.ensure_future(site.ask(key, max_tokens=2000))
    while not site.lines["up"].sent:
        await asyncio.sleep(0.01)
    under_way.cancel()
    with pytest.raises(asyncio.CancelledError):
        await under_way
    assert site.out_nano_usd() >= 2000 * OUTPUT_NANO


START = (
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"1","type":"message","role":"assistant",'
    b'"model":"up","content":[],"usage":{"input_tokens":7,"output_tokens":1}}}\n\n'
    b'event: content_block_start\ndata: {"type":"content_block_start","index":0,"content_block":{"type":"text",'
    b'"text":""}}\n\n'
)
DELTA = (
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta",'
    b'"text":"%b"}}\n\n'
)


@pytest.mark.parametrize("hard", [True, False])
async def test_what_a_stream_reports_at_its_beginning_is_not_all_that_it_costs_when_it_is_cut(
    site: Site, hard: bool
) -> None:
    """Anthropic counts a token of the answer before the first has come."""
    site.serve(up=FakeLine(Script(headers=SSE, reads=[START, *[DELTA % b"word "] * 40], hang=True)))
    manner = site.targets[0].account
    manner.type, manner.dialect = "anthropic", ANTHROPIC_DIALECT
    key = await site.make_key()
    await site.budget("key", key.id, 10 * CENT, hard=hard)
    message = {"model": "m", "stream": True, "max_tokens": 2000, "messages": [{"role": "user", "content": "hello"}]}
    under_way = asyncio.ensure_future(site.ask(key, MESSAGES, **message))
    while not site.lines["up"].connections:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    under_way.cancel()
    with pytest.raises(asyncio.CancelledError):
        await under_way
    (entry,) = site.book.ended
    assert entry.usage is not None
    assert entry.usage.estimated
    assert 40 * OUTPUT_NANO <= entry.cost_nano_usd < 3000 * OUTPUT_NANO


# --- end users --------------------------------------------------------------------------------------


async def test_each_end_user_has_a_budget_of_its_own_on_top_of_the_keys(site: Site) -> None:
    site.serve(up=FakeLine(whole(usage=used(7, 900))))
    key = await paid(site, 3 * CENT, on_too_dear="refuse")
    await site.budget("end_user", key.id, CENT, on_too_dear="refuse", name="each user's")
    assert (await site.ask(key, user="ann", max_tokens=900)).status == 200
    second = await site.ask(key, user="ann", max_tokens=900)
    assert second.error["code"] == "insufficient_quota"
    assert "each user's" in second.error["message"]
    assert (await site.ask(key, user="ben", max_tokens=900)).status == 200
    assert (await site.ask(key, max_tokens=900)).status == 200
    assert (await site.ask(key, user="cid", max_tokens=900)).error["code"] == "insufficient_quota"  # the key's


async def test_there_are_no_more_end_users_than_the_budget_says(site: Site) -> None:
    site.serve(up=FakeLine(whole()))
    key = await site.make_key()
    await site.budget("end_user", key.id, CENT, max_end_users=2)
    assert [(await site.ask(key, user=name)).status for name in ("ann", "ben", "ann")] == [200, 200, 200]
    answer = await site.ask(key, user="cid")
    assert (answer.status, answer.error["param"]) == (400, "user")
    assert (await site.ask(key, user="ben")).status == 200


async def test_anthropics_user_id_is_an_end_user_and_a_bad_one_is_refused(site: Site) -> None:
    site.serve(up=FakeLine(whole(usage=used(7, 900))))
    key = await site.make_key()
    await site.budget("end_user", key.id, CENT, on_too_dear="refuse")
    message = {"model": "m", "max_tokens": 900, "messages": [{"role": "user", "content": "hello"}]}
    ann = {"metadata": {"user_id": "ann"}}
    assert [(await site.ask(key, MESSAGES, **message, **ann)).status for _ in range(2)] == [200, 429]
    assert (await site.ask(key, MESSAGES, **message, metadata={"user_id": "x" * 300})).status == 400


async def test_users_of_a_key_without_such_a_budget_are_of_no_account(site: Site) -> None:
    site.serve(up=FakeLine(whole()))
    key = await paid(site, USD)
    assert [(await site.ask(key, user=f"user {number}")).status for number in range(5)] == [200] * 5
    assert len(site.purse._known) == 1
    assert len(site.purse._counters) == 1
