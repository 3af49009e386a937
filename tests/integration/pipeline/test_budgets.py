"""Hard and soft budgets as a request meets them, and what reaches the upstream."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import orjson
import pytest

from gateway.pipeline.call import Call
from gateway.pipeline.pipeline import Pipeline
from gateway.pipeline.stage import Stage
from gateway.pipeline.stages.meter import Meter
from gateway.providers.price import PriceOverride
from gateway.services.keys.key import Key
from gateway.services.tokenizers.service import Tokenizers
from gateway.wire.anthropic import DIALECT as ANTHROPIC
from gateway.wire.cohere import DIALECT as COHERE
from gateway.wire.endpoints import MESSAGES, RERANK
from gateway.wire.openai import CHAT, COMPLETIONS, EMBEDDINGS, Variations
from tests.integration.pipeline.site import INPUT_NANO, OUTPUT_NANO, USD, Answer, Site, hanging, used
from tests.integration.services.governed import add_team
from tests.ranks import needs_ranks
from tests.unit.upstream.fakes import DONE, FakeLine, Script, event, fails, stream, usage_event, whole

CENT = USD // 100
MASTER = Key(id=None, name="master", is_master=True)


def refused(answer: Answer) -> str:
    """The code of an answer that a budget refused for good."""
    assert answer.status == 429
    assert answer.headers["x-should-retry"] == "false"
    assert "retry-after" not in answer.headers
    assert answer.error["type"] == "insufficient_quota"
    code: str = answer.error["code"]
    return code


# --- hard budgets -----------------------------------------------------------------------------------


async def test_a_hard_budget_refuses_what_does_not_fit_and_names_itself(site: Site) -> None:
    site.serve(up=FakeLine(whole(usage=used(7, 100))))
    key = await site.make_key()
    await site.budget("key", key.id, 2 * CENT, name="pocket money", on_too_dear="refuse")
    assert (await site.ask(key, max_tokens=1000)).status == 200  # its worst case: a little over one cent
    assert site.out_nano_usd() == 7 * INPUT_NANO + 100 * OUTPUT_NANO
    answer = await site.ask(key, max_tokens=2000)
    assert refused(answer) == "insufficient_quota"
    assert "'pocket money'" in answer.error["message"]
    assert len(site.lines["up"].sent) == 1
    assert "x-gateway-max-tokens-clamped" not in answer.headers


async def test_requests_at_once_never_reserve_more_than_there_is(site: Site) -> None:
    site.serve(up=FakeLine(hanging()))
    key = await site.make_key()
    await site.budget("key", key.id, 10 * CENT, on_too_dear="refuse")
    tasks = [asyncio.ensure_future(site.ask(key, max_tokens=1500)) for _ in range(20)]
    done, under_way = await asyncio.wait(tasks, timeout=1.0)
    assert len(under_way) == 6  # the worst case of each is a little over 1.5 cents
    assert {refused(task.result()) for task in done} == {"insufficient_quota"}
    assert site.out_nano_usd() <= 10 * CENT
    for task in under_way:
        task.cancel()
    await asyncio.wait(under_way)
    assert site.out_nano_usd() <= 10 * CENT  # they were sent, and nobody knows what they used


async def test_every_budget_that_applies_has_to_have_enough(site: Site) -> None:
    site.serve(up=FakeLine(whole()))
    team = await add_team(site.postgres, "team")
    key = await site.make_key(team_id=team)
    await site.budget("key", key.id, USD)
    await site.budget("team", team, CENT, model="m", name="the team's for m", on_too_dear="refuse")
    answer = await site.ask(key, model="alias", max_tokens=1500)
    assert refused(answer) == "insufficient_quota"
    assert "the team's for m" in answer.error["message"]
    assert site.out_nano_usd() == 0
    assert (await site.ask(MASTER, max_tokens=1500)).status == 200


async def test_a_targets_own_budget_leads_to_the_next_target(site: Site) -> None:
    site.serve(dear=FakeLine(whole()), other=FakeLine(whole()))
    key = await site.make_key()
    await site.budget("target", "p/dear", 0)
    answer = await site.ask(key)
    assert answer.status == 200
    assert answer.headers["x-gateway-model"] == "other"
    assert site.lines["dear"].sent == []


async def test_a_key_that_was_rotated_goes_on_with_its_budget(site: Site) -> None:
    site.serve(up=FakeLine(whole(usage=used(7, 1000))))
    key = await site.make_key()
    await site.budget("key", key.id, CENT + CENT // 2)
    assert (await site.ask(key, max_tokens=1000)).status == 200
    again = Key(id="another", name="app", line_id=key.id)
    answer = await site.ask(again, max_tokens=1000)
    assert answer.headers["x-gateway-max-tokens-clamped"]
    assert answer.call.budget_left_nano_usd is not None


async def test_an_attempt_may_not_go_unrecorded_where_one_of_its_budgets_is_hard(site: Site) -> None:
    site.serve(up=FakeLine(whole()))
    key = await site.make_key()
    await site.ask(key)
    await site.budget("key", key.id, USD, hard=False)
    await site.ask(key)
    await site.budget("global", None, USD)
    await site.ask(key)
    assert [entry.indispensable for entry in site.book.started] == [False, False, True]


async def test_a_stage_that_chooses_a_model_can_ask_what_is_left(site: Site) -> None:
    seen: list[int | None] = []

    class Router(Stage):
        name = "router"

        async def on_request(self, call: Call) -> None:
            seen.append(call.budget_left_nano_usd)

    site.serve(up=FakeLine(whole(usage=used(7, 1000))))
    stages = [*site.pipeline.stages]
    place = [stage.name for stage in stages].index("choose_route")
    site.pipeline = Pipeline([*stages[:place], Router(), *stages[place:]], site.pipeline._dispatch, site.purse)
    key = await site.make_key()
    await site.ask(key)
    await site.budget("key", key.id, 5 * CENT)
    await site.budget("model", "m", CENT * 3)
    await site.ask(key, max_tokens=1000)
    await site.ask(key, max_tokens=1000)
    cost = 7 * INPUT_NANO + 1000 * OUTPUT_NANO
    assert seen == [None, 5 * CENT, 5 * CENT - cost]


async def test_a_soft_budget_is_only_written_down(site: Site) -> None:
    site.serve(up=FakeLine(whole()))
    key = await site.make_key()
    made = await site.budget("key", key.id, 0, hard=False)
    answer = await site.ask(key)
    assert answer.status == 200
    assert "max_tokens" not in site.sent("up")
    (entry,) = site.book.ended
    rows = await site.postgres.fetch("SELECT id FROM budget_periods WHERE budget_id::text = $1", made.id)
    assert entry.budgets == f"{{{rows[0]['id']}}}"
    assert site.out_nano_usd() == 0


HIDDEN = b'{"type":"image_url","image_url":{"url":"https://x/dear.png"},"type":"text","text":"hi"}'


@pytest.mark.parametrize(("endpoint", "dialect"), [(CHAT, None), (MESSAGES, ANTHROPIC)])
async def test_under_a_hard_budget_the_provider_reads_what_was_judged(site: Site, endpoint: Any, dialect: Any) -> None:
    site.serve(m=FakeLine(fails(400, {"error": {"message": "no"}})))
    site.targets[0].account.dialect = dialect
    key = await site.make_key()
    body = b'{"model":"m", "max_tokens":9, "messages":[{"role":"user","content":[%b]}]}' % HIDDEN

    async def sent() -> bytes:
        await site.answer(Call(endpoint, {}, body, "127.0.0.1"), key)
        return site.lines["m"].sent[-1][1]

    assert await sent() == body
    await site.budget("global", "", USD, hard=False)
    assert await sent() == body
    await site.budget("key", key.id, USD)
    assert await sent() == orjson.dumps(orjson.loads(body))


# --- caps -------------------------------------------------------------------------------------------


async def test_an_output_that_does_not_fit_is_clamped_and_the_caller_is_told(site: Site) -> None:
    site.serve(up=FakeLine(whole(usage=used(7, 5))))
    key = await site.make_key()
    await site.budget("key", key.id, CENT)
    answer = await site.ask(key, max_tokens=100_000)
    assert answer.status == 200
    cap = int(answer.headers["x-gateway-max-tokens-clamped"])
    assert site.sent("up")["max_tokens"] == cap
    assert cap * OUTPUT_NANO < CENT
    assert answer.call.uncapped is not None
    assert site.metrics.total("budget_clamped_total") == 1


async def test_a_stream_that_was_clamped_says_so_in_its_head(site: Site) -> None:
    site.serve(up=FakeLine(stream(event("a"), usage_event(), DONE)))
    key = await site.make_key()
    await site.budget("key", key.id, CENT)
    answer = await site.ask(key, max_tokens=100_000, stream=True)
    assert site.sent("up")["max_tokens"] == int(answer.headers["x-gateway-max-tokens-clamped"])


MESSAGE = {"model": "m", "max_tokens": 90_000, "messages": [{"role": "user", "content": "hello"}]}
CAPPED: dict[str, tuple[Any, dict[str, Any], str]] = {
    "chat": (CHAT, {}, "max_tokens"),
    "chat of a newer kind": (CHAT, {"max_completion_tokens": 90_000}, "max_completion_tokens"),
    "completions": (COMPLETIONS, {"prompt": "hello"}, "max_tokens"),
    "messages": (MESSAGES, MESSAGE, "max_tokens"),
}


@pytest.mark.parametrize("case", CAPPED)
async def test_a_cap_is_always_sent_upstream_under_a_hard_budget(site: Site, case: str) -> None:
    endpoint, fields, name = CAPPED[case]
    answer = whole() if endpoint is not COMPLETIONS else fails(500)
    site.serve(up=FakeLine(answer))
    key = await site.make_key()
    await site.ask(key, endpoint, **fields)
    before = site.sent("up").get(name)
    await site.budget("key", key.id, CENT)
    await site.ask(key, endpoint, **fields)
    sent = site.sent("up")
    assert 16 <= sent[name] < (before or 4096)
    assert [field for field in ("max_tokens", "max_completion_tokens") if field in sent] == [name]


async def test_under_a_large_hard_budget_the_cap_is_the_models_own(site: Site) -> None:
    site.serve(up=FakeLine(whole()))
    key = await site.make_key()
    await site.budget("key", key.id, 100 * USD)
    answer = await site.ask(key)
    assert site.sent("up")["max_tokens"] == 4096
    assert "x-gateway-max-tokens-clamped" not in answer.headers


async def test_a_cap_that_was_found_for_one_target_is_not_the_next_ones(site: Site) -> None:
    """The first is dear, so that little of its output fits; the second is cheap."""
    prices = {"dear": PriceOverride(1_000_000, 1_000_000_000), "cheap": PriceOverride(1_000_000, 1_000_000)}
    site.serve(prices, dear=FakeLine(fails(500)), cheap=FakeLine(whole()))
    key = await site.make_key()
    await site.budget("key", key.id, 10 * CENT)
    answer = await site.ask(key, max_tokens=2000)
    assert answer.status == 200
    assert site.sent("dear")["max_tokens"] < 100
    assert site.sent("cheap")["max_tokens"] == 2000
    assert "x-gateway-max-tokens-clamped" not in answer.headers


async def test_a_dearer_fallback_reserves_its_own_price(site: Site) -> None:
    prices = {"cheap": PriceOverride(1_000_000, 1_000_000), "dear": PriceOverride(1_000_000, 1_000_000_000)}
    site.serve(prices, cheap=FakeLine(fails(500)), dear=FakeLine(whole()))
    key = await site.make_key()
    await site.budget("key", key.id, 10 * CENT, on_too_dear="refuse")
    assert refused(await site.ask(key, max_tokens=1000)) == "insufficient_quota"
    assert (len(site.lines["cheap"].sent), len(site.lines["dear"].sent)) == (1, 0)
    assert site.out_nano_usd() == 0


async def test_a_retry_reserves_again_and_what_failed_unbilled_does_not_stand_in_its_way(site: Site) -> None:
    site.serve(up=FakeLine(fails(500), whole(usage=used(7, 5))), attempts=2)
    key = await site.make_key()
    await site.budget("key", key.id, CENT, on_too_dear="refuse")
    answer = await site.ask(key, max_tokens=800)
    assert (answer.status, answer.headers["x-gateway-attempts"]) == (200, "2")
    assert [entry.cost_nano_usd >= 800 * OUTPUT_NANO for entry in site.book.started] == [True, True]
    assert site.out_nano_usd() == 7 * INPUT_NANO + 5 * OUTPUT_NANO


async def test_a_retry_of_what_may_have_been_billed_needs_its_worst_case_once_more(site: Site) -> None:
    site.serve(up=FakeLine(hanging(error="upstream_reset_after_write"), whole()), attempts=2)
    site.lines["up"]._scripts[0].hang = False
    key = await site.make_key()
    await site.budget("key", key.id, CENT, on_too_dear="refuse")
    assert refused(await site.ask(key, max_tokens=800)) == "insufficient_quota"
    (entry,) = site.book.ended
    assert entry.final
    assert entry.cost_nano_usd == site.out_nano_usd() > 800 * OUTPUT_NANO


async def test_copies_reserve_each_for_itself_and_say_that_they_were_clamped(site: Site) -> None:
    site.serve(up=FakeLine(whole(usage=used(7, 5))))
    site.targets[0].variations = Variations(unsupported=frozenset({"n"}))
    key = await site.make_key()
    await site.budget("key", key.id, 10 * CENT)
    answer = await site.ask(key, n=3, max_tokens=4000)
    assert answer.status == 200
    assert len(site.book.ended) == 3
    assert sum(entry.cost_nano_usd for entry in site.book.started) <= 10 * CENT
    assert site.out_nano_usd() == 3 * (7 * INPUT_NANO + 5 * OUTPUT_NANO)
    clamped = [site.sent("up", number)["max_tokens"] for number in range(3)]
    assert min(clamped) < 4000
    assert "x-gateway-max-tokens-clamped" in answer.headers


async def test_a_rerank_is_paid_for_by_its_search_units(site: Site) -> None:
    answer = {
        "id": "r",
        "results": [{"index": 0, "relevance_score": 0.5}],
        "meta": {"billed_units": {"search_units": 1}},
    }
    prices = {"up": PriceOverride(0, 0, search_unit=2_000_000_000)}  # a fifth of a cent
    site.serve(prices, up=FakeLine(Script(reads=[orjson.dumps(answer)])))
    site.targets[0].account.dialect = COHERE
    key = await site.make_key()
    await site.budget("key", key.id, CENT)
    assert (await site.ask(key, RERANK, query="q", documents=["d"] * 201)).status == 200
    assert [entry.cost_nano_usd for entry in site.book.started] == [6_000_000]
    assert site.out_nano_usd() == 2_000_000
    assert refused(await site.ask(key, RERANK, query="q", documents=["d"] * 401)) == "insufficient_quota"


async def test_embeddings_are_paid_for_by_their_prompt_alone(site: Site) -> None:
    site.serve(up=FakeLine(whole(usage={"prompt_tokens": 9, "total_tokens": 9})))
    key = await site.make_key()
    await site.budget("key", key.id, CENT)
    assert (await site.ask(key, EMBEDDINGS, input="hello")).status == 200
    assert "max_tokens" not in site.sent("up")
    assert site.out_nano_usd() == 9 * INPUT_NANO
    assert refused(await site.ask(key, EMBEDDINGS, input="hello " * 2000)) == "insufficient_quota"


# --- prompts by their tokens --------------------------------------------------------------------------

PROSE = "Pods restart when their probes fail. " * 400  # 14,800 bytes, some 3,200 tokens
LONG = [{"role": "user", "content": PROSE}]


class Words:
    """An encoding with a token for each word."""

    def encode(self, text: str, *, disallowed_special: tuple[str, ...]) -> list[str]:
        return text.split()


@pytest.fixture(params=["words", pytest.param("real", marks=needs_ranks)])
def tokenizers(request: pytest.FixtureRequest) -> Iterator[Tokenizers]:
    made = Tokenizers.found(patience_s=60) if request.param == "real" else Tokenizers(lambda name: Words())
    assert made is not None
    counted: list[tuple[str, ...]] = []
    count = made.count

    async def note(encodings: Sequence[str], texts: Any) -> int | None:
        counted.append(tuple(encodings))
        return await count(encodings, texts)

    made.count = note  # type: ignore[method-assign]
    made.counted = counted  # type: ignore[attr-defined]
    yield made
    made.close()


def serve_known(site: Site, tokenizers: Tokenizers | None, host: bytes = b"api.openai.com") -> None:
    site.serve(tokenizers=tokenizers, gpt_4o=FakeLine(whole(usage=used(3210, 5))))
    site.targets[0].account.host = host


async def test_what_does_not_fit_by_its_bytes_may_fit_by_its_tokens(site: Site, tokenizers: Any) -> None:
    serve_known(site, tokenizers)
    key = await site.make_key()
    await site.budget("key", key.id, CENT, on_too_dear="refuse")
    answer = await site.ask(key, messages=LONG, max_tokens=100)
    assert answer.status == 200
    assert tokenizers.counted == [("o200k_base",)]
    (entry,) = site.book.started
    assert 3210 * INPUT_NANO < entry.cost_nano_usd < CENT
    assert site.out_nano_usd() == 3210 * INPUT_NANO + 5 * OUTPUT_NANO
    assert "x-gateway-max-tokens-clamped" not in answer.headers


@pytest.mark.parametrize("why", ["no tokenizer", "another host", "another model"])
async def test_a_prompt_that_cannot_be_counted_is_refused_by_its_bytes(site: Site, tokenizers: Any, why: str) -> None:
    serve_known(
        site, None if why == "no tokenizer" else tokenizers, b"up" if why == "another host" else b"api.openai.com"
    )
    if why == "another model":
        site.targets[0].model = "gpt-40"
    key = await site.make_key()
    await site.budget("key", key.id, CENT, on_too_dear="refuse")
    assert refused(await site.ask(key, messages=LONG, max_tokens=100)) == "insufficient_quota"
    assert tokenizers.counted == []


async def test_nothing_is_counted_where_the_bytes_fit_or_no_count_could_make_it_fit(
    site: Site, tokenizers: Any
) -> None:
    serve_known(site, tokenizers)
    key = await site.make_key()
    await site.budget("key", key.id, 2 * CENT)
    assert (await site.ask(key, messages=LONG, max_tokens=100)).status == 200  # 15,000 of 20,000 tokens
    answer = await site.ask(key, max_tokens=100_000)  # a clamp does, and counting "hello" would give it little more
    assert answer.headers["x-gateway-max-tokens-clamped"]
    assert refused(await site.ask(key, messages=[{"role": "user", "content": PROSE * 40}])) == "insufficient_quota"
    assert tokenizers.counted == []


async def test_a_counted_prompt_leaves_more_of_its_answer(site: Site, tokenizers: Any) -> None:
    serve_known(site, tokenizers)
    key = await site.make_key()
    await site.budget("key", key.id, CENT + CENT // 2)
    answer = await site.ask(key, messages=LONG, max_tokens=4000)  # by its bytes there is room for none of it
    cap = int(answer.headers["x-gateway-max-tokens-clamped"])
    assert 400 < cap < 1300
    assert site.sent("gpt-4o")["max_tokens"] == cap
    assert tokenizers.counted == [("o200k_base",)]


async def test_a_count_that_helps_not_enough_is_made_once_an_attempt(site: Site, tokenizers: Any) -> None:
    serve_known(site, tokenizers)
    key = await site.make_key()
    await site.budget("key", key.id, CENT // 5, on_too_dear="refuse")
    assert refused(await site.ask(key, messages=LONG, max_tokens=16)) == "insufficient_quota"
    assert tokenizers.counted == [("o200k_base",)]
    assert site.out_nano_usd() == 0


@pytest.mark.parametrize("after_the_end", [True, False])
async def test_a_mistake_of_ours_in_closing_an_account_holds_no_more_than_its_row_will_cost(
    site: Site, monkeypatch: pytest.MonkeyPatch, after_the_end: bool
) -> None:
    site.serve(up=FakeLine(whole(usage=used(7, 100))))
    key = await site.make_key()
    await site.budget("key", key.id, 100 * CENT)
    await site.limit("target", "p/up", max_concurrency=1)

    def fail(*args: object, **options: object) -> None:
        raise RuntimeError

    step = "_count" if after_the_end else "close"
    monkeypatch.setattr(Meter, step, fail)
    assert (await site.ask(key, max_tokens=1000)).status == 500
    (started,) = site.book.started
    booked = site.book.ended[0] if after_the_end else started
    assert site.out_nano_usd() == booked.cost_nano_usd
    assert site.held("max_concurrency") == 0


@pytest.mark.parametrize(("before", "after"), [(None, None), (False, True)])
async def test_only_the_pipelines_requests_are_counted_by_whether_they_waited(
    site: Site, before: bool | None, after: bool | None
) -> None:
    site.serve(up=FakeLine(whole()))
    key = await site.make_key()
    await site.budget("key", key.id, 100 * CENT)
    call = site.call(max_tokens=10)
    call.key, call.asked_model, call.document, call.waited = key, "m", orjson.loads(call.body), before
    call.pots = await site.purse.of_request(key, "m", call.document)
    admission = site.pipeline._dispatch.admission
    asked = admission.reserve(call, site.targets[0])
    assert asked is not None
    admission.forgo(await asked)  # nothing was leased: Valkey had to be asked
    assert call.waited is after
