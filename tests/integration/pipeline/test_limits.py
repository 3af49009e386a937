"""Limits of callers, models and targets, as a request meets them."""

from __future__ import annotations

import asyncio
import re

import pytest

from gateway.errors import GatewayError
from gateway.services.keys.key import Key
from tests.integration.pipeline.site import Answer, Site, hanging, used
from tests.integration.services.governed import add_team
from tests.unit.upstream.fakes import DONE, FakeLine, event, fails, stream, usage_event, whole

REQUESTS = ("x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests")
TOKENS = ("x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens")
DURATION = re.compile(r"\d+ms|(\d+h)?(\d+m)?\d+s")
MASTER = Key(id=None, name="master", is_master=True)


def shown(answer: Answer, names: tuple[str, ...] = REQUESTS) -> tuple[int, int]:
    """Limit and what remains, of headers that are in form."""
    limit, remaining, reset = (answer.headers[name] for name in names)
    assert DURATION.fullmatch(reset)
    return int(limit), int(remaining)


# --- requests ---------------------------------------------------------------------------------------


async def test_a_limit_of_requests_is_exact_and_names_itself_when_it_refuses(site: Site) -> None:
    site.serve(up=FakeLine(whole()))
    key = await site.make_key()
    await site.limit("key", key.id, requests_per_hour=3)
    answers = [await site.ask(key) for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429]
    assert [shown(answer) for answer in answers] == [(3, 2), (3, 1), (3, 0), (3, 0)]
    last = answers[-1]
    assert last.error["type"] == "rate_limit_error"
    assert last.error["code"] == "rate_limit_exceeded"
    assert "3 requests per hour of this API key" in last.error["message"]
    assert 0 < int(last.headers["retry-after"]) <= 3600
    assert site.rules.refusals == {"key": 1}
    assert len(site.lines["up"].sent) == 3


@pytest.mark.parametrize(("window", "pointless"), [("requests_per_day", True), ("requests_per_minute", False)])
async def test_an_sdk_is_told_not_to_retry_where_it_would_wait_for_more_than_a_minute(
    site: Site, window: str, pointless: bool
) -> None:
    site.serve(up=FakeLine(whole()))
    key = await site.make_key()
    await site.limit("key", key.id, None, **{window: 1})
    await site.ask(key)
    refused = await site.ask(key)
    assert refused.status == 429
    if int(refused.headers["retry-after"]) > 60 or not pointless:
        assert (refused.headers.get("x-should-retry") == "false") is pointless


async def test_a_limit_of_zero_lets_nothing_through_and_the_master_key_has_none(site: Site) -> None:
    site.serve(up=FakeLine(whole()))
    key = await site.make_key()
    await site.limit("global", requests_per_minute=0, tokens_per_minute=0)
    assert (await site.ask(key)).status == 429
    answer = await site.ask(MASTER)
    assert answer.status == 200
    assert not any(name.startswith("x-ratelimit") for name in answer.headers)


async def test_a_request_without_limits_has_nothing_of_them(site: Site) -> None:
    site.serve(up=FakeLine(whole()))
    call = site.call()
    answer = await site.answer(call, await site.make_key())
    assert answer.status == 200
    assert call.governed is None
    assert (site.quota.leased, site.quota.asked) == (0, 0)


async def test_a_streams_head_shows_the_limits(site: Site) -> None:
    site.serve(up=FakeLine(stream(event("a"), usage_event(), DONE)))
    key = await site.make_key()
    await site.limit("key", key.id, requests_per_minute=10, tokens_per_minute=5000)
    answer = await site.ask(key, stream=True)
    assert answer.status == 200
    assert shown(answer) == (10, 9)
    assert shown(answer, TOKENS)[0] == 5000


async def test_a_key_that_is_moved_to_another_team_has_that_teams_limits_at_once(site: Site) -> None:
    site.serve(up=FakeLine(whole()))
    before, after = [await add_team(site.postgres, name) for name in ("before", "after")]
    await site.limit("team", after, requests_per_hour=0)
    key = await site.make_key(team_id=before)
    assert (await site.ask(key)).status == 200
    moved = Key(id=key.id, name="app", team_id=after)
    assert (await site.ask(moved)).status == 429


async def test_keys_of_one_line_share_a_limit(site: Site) -> None:
    site.serve(up=FakeLine(whole()))
    first = await site.make_key()
    await site.limit("key", first.id, requests_per_hour=1)
    rotated = Key(id="another", name="app", line_id=first.id)
    assert (await site.ask(first)).status == 200
    assert (await site.ask(rotated)).status == 429


# --- requests at once -------------------------------------------------------------------------------


async def test_requests_at_once_are_given_back_after_success_failure_refusal_and_disconnect(site: Site) -> None:
    site.serve(up=FakeLine(hanging(), whole(), fails(400, {"error": {"message": "no"}}), whole()))
    key = await site.make_key()
    await site.limit("key", key.id, max_concurrency=1)
    await site.limit("model", "m", requests_per_hour=3)
    under_way = asyncio.ensure_future(site.ask(key))
    while not site.lines["up"].sent:
        await asyncio.sleep(0.01)
    refused = await site.ask(key)
    assert refused.error["code"] == "concurrency_limit_exceeded"
    assert refused.headers["retry-after"] == "1"
    under_way.cancel()
    with pytest.raises(asyncio.CancelledError):
        await under_way
    assert site.held("max_concurrency") == 0
    answers = [await site.ask(key) for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 400, 429, 429]  # the model's own limit is used up
    assert "of the model 'm'" in answers[-1].error["message"]
    assert site.held("max_concurrency") == 0


async def test_requests_at_once_are_given_back_after_a_mistake_of_ours(site: Site) -> None:
    site.serve(up=FakeLine(whole()))
    key = await site.make_key()
    await site.limit("key", key.id, max_concurrency=1)

    class Broken:
        async def reserve(self, job: object, target: object) -> None:
            raise RuntimeError

    site.pipeline._dispatch.admission = Broken()  # type: ignore[assignment]
    assert [(await site.ask(key)).status for _ in range(2)] == [500, 500]
    assert site.held("max_concurrency") == 0


async def test_a_models_requests_at_once_are_given_back_where_admit_is_switched_off(site: Site) -> None:
    site.serve(up=FakeLine(whole()), without=("admit",))
    key = await site.make_key()
    await site.limit("model", "m", max_concurrency=1)
    assert [(await site.ask(key)).status for _ in range(3)] == [200, 200, 200]


# --- models -----------------------------------------------------------------------------------------


async def test_a_models_limit_holds_for_its_aliases_too(site: Site) -> None:
    site.serve(up=FakeLine(whole()))
    key = await site.make_key()
    await site.limit("model", "m", requests_per_hour=2)
    assert [(await site.ask(key, model=name)).status for name in ("m", "alias", "alias")] == [200, 200, 429]


async def test_a_team_can_be_limited_for_one_model(site: Site) -> None:
    site.serve(up=FakeLine(whole()))
    team = await add_team(site.postgres, "team")
    await site.limit("team", team, "m", requests_per_hour=1)
    key, other = await site.make_key(team_id=team), await site.make_key()
    assert [(await site.ask(one)).status for one in (key, key, other)] == [200, 429, 200]


# --- tokens -----------------------------------------------------------------------------------------


async def test_tokens_that_were_not_used_come_back_and_those_beyond_are_debt(site: Site) -> None:
    site.serve(up=FakeLine(whole(usage=used(10, 20)), whole(usage=used(10, 900)), whole()))
    key = await site.make_key()
    await site.limit("key", key.id, tokens_per_hour=1000)
    assert (await site.ask(key, max_tokens=800)).status == 200
    assert site.held("tokens_per_hour") == 30
    assert (await site.ask(key, max_tokens=100)).status == 200  # the provider does not keep to it
    assert site.held("tokens_per_hour") == 940
    refused = await site.ask(key, max_tokens=100)
    assert refused.error["code"] == "rate_limit_exceeded"
    assert "1,000 tokens per hour" in refused.error["message"]
    assert shown(refused, TOKENS) == (1000, 60)
    assert (await site.ask(key, max_tokens=10)).status == 200


async def test_a_request_that_is_larger_than_the_limit_gets_a_whole_window(site: Site) -> None:
    site.serve(up=FakeLine(whole(usage=used(10, 20))))
    key = await site.make_key()
    await site.limit("key", key.id, tokens_per_hour=1000)
    assert (await site.ask(key, max_tokens=100_000)).status == 200
    assert site.held("tokens_per_hour") == 30
    assert (await site.ask(key, max_tokens=100_000)).status == 429


async def test_a_picture_in_a_prompt_counts_as_one_and_not_by_its_bytes(site: Site) -> None:
    site.serve(up=FakeLine(whole(usage=used(900, 5))))
    key = await site.make_key()
    await site.limit("key", key.id, tokens_per_hour=3000)
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}
    messages = [{"role": "user", "content": [picture]}]
    call = site.call(messages=messages, max_tokens=100)
    await site.answer(call, key)
    assert (await site.ask(key, messages=messages, max_tokens=100)).status == 200


# --- targets ----------------------------------------------------------------------------------------


async def test_a_target_whose_limit_is_used_up_is_passed_over_without_being_asked(site: Site) -> None:
    site.serve(first=FakeLine(whole()), second=FakeLine(whole()))
    key = await site.make_key()
    await site.limit("target", "p/first", requests_per_hour=2)
    answers = [await site.ask(key) for _ in range(5)]
    assert [answer.status for answer in answers] == [200] * 5
    assert [len(site.lines[name].sent) for name in ("first", "second")] == [2, 3]
    assert [answer.headers["x-gateway-model"] for answer in answers][2:] == ["second"] * 3


async def test_a_request_that_no_target_may_take_names_the_limit(site: Site) -> None:
    site.serve(up=FakeLine(whole()))
    key = await site.make_key()
    await site.limit("provider", "p", requests_per_hour=1)
    assert (await site.ask(MASTER)).status == 200
    refused = await site.ask(key)
    assert refused.error["code"] == "target_limited"
    assert "1 requests per hour of the provider 'p'" in refused.error["message"]
    assert "retry-after" in refused.headers
    assert len(site.lines["up"].sent) == 1


async def test_a_targets_requests_at_once_and_tokens_come_back(site: Site) -> None:
    site.serve(up=FakeLine(fails(500), whole(usage=used(10, 20))), attempts=2)
    key = await site.make_key()
    await site.limit("target", "p/up", max_concurrency=1, tokens_per_hour=1000)
    answer = await site.ask(key, max_tokens=900)
    assert answer.status == 200
    assert answer.headers["x-gateway-attempts"] == "2"
    assert site.held("max_concurrency") == 0
    assert site.held("tokens_per_hour") == 30


async def test_a_client_that_goes_while_its_request_is_under_way_frees_the_target(site: Site) -> None:
    site.serve(up=FakeLine(hanging()))
    key = await site.make_key()
    await site.limit("target", "p/up", max_concurrency=1)
    under_way = asyncio.ensure_future(site.ask(key))
    while not site.lines["up"].sent:
        await asyncio.sleep(0.01)
    assert site.held("max_concurrency") == 1
    under_way.cancel()
    with pytest.raises(asyncio.CancelledError):
        await under_way
    assert site.held("max_concurrency") == 0


async def test_an_attempt_that_cannot_be_encoded_gives_back_what_was_reserved(site: Site) -> None:
    site.serve(up=FakeLine(whole()))
    key = await site.make_key()
    await site.limit("target", "p/up", max_concurrency=1)

    def refuse(*_: object) -> None:
        raise GatewayError("journal_unavailable", "The disk is full.")

    site.pipeline._dispatch.admission.admit = refuse  # type: ignore[assignment, method-assign]
    assert [(await site.ask(key)).status for _ in range(2)] == [503, 503]
    assert site.held("max_concurrency") == 0


async def test_an_attempt_that_is_not_made_is_none_of_its_targets_requests(site: Site) -> None:
    site.serve(up=FakeLine(whole()))
    key = await site.make_key()
    await site.limit("target", "p/up", requests_per_day=1)
    admission = site.pipeline._dispatch.admission
    admit = admission.admit

    def refuse(*_: object) -> None:
        raise GatewayError("journal_unavailable", "The disk is full.")

    admission.admit = refuse  # type: ignore[assignment, method-assign]
    assert [(await site.ask(key)).status for _ in range(3)] == [503, 503, 503]
    admission.admit = admit  # type: ignore[method-assign]
    answers = [await site.ask(key) for _ in range(2)]
    assert [answer.status for answer in answers] == [200, 429]
    assert answers[1].error["code"] == "target_limited"
