from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.providers.billing import Billing
from gateway.providers.price import Price, PriceOverride, make_price
from gateway.services.bounds.worst_case import CAP_WHERE_UNKNOWN, Bound, prompt_bound, worst_case
from gateway.wire.usage import Usage

PLAIN = make_price(PriceOverride(input=150_000, output=600_000), max_output_tokens=16_384)
NO_OVERHEAD = Billing(fixed_overhead_tokens=0, tools_overhead_tokens=0, tools_tokens_per_byte=1)
PICTURE = "data:image/png;base64," + "iVBOR" * 400

_PICO = st.integers(0, 10**8)
_OVERRIDES = st.builds(
    PriceOverride,
    input=_PICO, output=_PICO, cached=st.none() | _PICO, cache_write=st.none() | _PICO,
    cache_write_1h=st.none() | _PICO, audio_in=st.none() | _PICO, audio_out=st.none() | _PICO,
    image_in=st.none() | _PICO, image_out=st.none() | _PICO, reasoning=st.none() | _PICO, search_unit=_PICO,
)  # fmt: skip


@st.composite
def prices(draw: st.DrawFn) -> Price:
    """Any price: tiers and service tiers cheaper or dearer than the plain one."""

    def tiers() -> tuple[tuple[int, Price], ...]:
        sizes = sorted(draw(st.sets(st.integers(0, 3_000), max_size=2)), reverse=True)
        return tuple((size, make_price(draw(_OVERRIDES))) for size in sizes)

    names = draw(st.sets(st.sampled_from(["flex", "priority", "batch"])))
    services = {name: make_price(draw(_OVERRIDES), tiers=tiers()) for name in sorted(names)}
    limit = draw(st.none() | st.integers(1, 10_000))
    return make_price(draw(_OVERRIDES), tiers=tiers(), services=services or None, max_output_tokens=limit)


@st.composite
def chats(draw: st.DrawFn) -> dict[str, Any]:
    """A chat request, with or without a cap, several answers, an image, sound and a service tier."""
    content: Any = draw(st.text(max_size=2_000))
    if draw(st.booleans()):
        content = [{"type": "text", "text": content}]
        if draw(st.booleans()):
            content.append({"type": "image_url", "image_url": {"url": PICTURE}})
        if draw(st.booleans()):
            content.append({"type": "input_audio", "input_audio": {"data": "AAAA" * 50, "format": "wav"}})
    chat: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": content}]}
    for name, values in (
        ("max_tokens", st.integers(1, 5_000)),
        ("max_completion_tokens", st.integers(1, 5_000)),
        ("n", st.integers(1, 5)),
        ("service_tier", st.sampled_from(["auto", "default", "flex", "priority", "batch", "other"])),
        ("modalities", st.just(["text", "audio"])),
        ("cache_control", st.sampled_from([{"type": "ephemeral"}, {"type": "ephemeral", "ttl": "1h"}])),
    ):
        if draw(st.booleans()):
            chat[name] = draw(values)
    return chat


def _parts(data: st.DataObject, total: int, count: int) -> list[int]:
    """Up to `count` parts that add up to no more than `total`."""
    parts = []
    for _ in range(count):
        part = data.draw(st.integers(0, total))
        parts.append(part)
        total -= part
    return parts


def _bound(
    document: dict[str, Any], price: Price = PLAIN, billing: Billing = NO_OVERHEAD, endpoint: str = "chat"
) -> Bound:
    return worst_case(document, len(orjson.dumps(document)), endpoint, price, billing, "m")


@given(st.data(), prices(), chats())
def test_no_usage_within_the_bound_costs_more_than_it(data: st.DataObject, price: Price, chat: dict[str, Any]) -> None:
    bound = _bound(chat, price, Billing(tokens_per_image=100))
    assert bound.unbounded == ""
    draw = data.draw
    parts = chat["messages"][0]["content"]
    media = type(parts) is list and len(parts) > 1
    prompt = draw(st.integers(0, bound.prompt_tokens) | st.just(bound.prompt_tokens))
    completion = draw(st.integers(0, bound.answers * bound.cap) | st.just(bound.answers * bound.cap))
    cached, cache_write = _parts(data, prompt, 2)
    for_an_hour = draw(st.integers(0, cache_write)) if "ttl" in chat.get("cache_control", ()) else 0
    audio_in, image_in = _parts(data, prompt, 2) if media else (0, 0)
    reasoning, image_out, audio_out = _parts(data, completion, 3)
    usage = Usage(
        prompt=prompt, completion=completion, cached=cached, cache_write=cache_write,
        cache_write_1h=for_an_hour, reasoning=reasoning, audio_in=audio_in, image_in=image_in, image_out=image_out,
        audio_out=audio_out if "modalities" in chat else 0,
    )  # fmt: skip
    served = price.for_service(chat.get("service_tier"))
    assert served.cost_nano_usd(usage) <= bound.nano_usd
    assert price.cost_nano_usd(usage) <= bound.nano_usd
    assert prompt + completion <= bound.token_bound


@given(prices(), chats(), st.integers(0, 10**9))
def test_a_clamped_request_fits_and_one_token_more_does_not(price: Price, chat: dict[str, Any], left: int) -> None:
    bound = _bound(chat, price)
    cap = bound.affordable_cap(left)
    if cap is None:
        assert bound.nano_usd_at(1) > left
        return
    assert 1 <= cap <= bound.cap
    assert bound.nano_usd_at(cap) <= left
    assert cap == bound.cap or bound.nano_usd_at(cap + 1) > left


@given(st.lists(st.text(), min_size=1, max_size=5))
def test_every_byte_of_a_text_is_covered(texts: list[str]) -> None:
    chat = {"model": "m", "messages": [{"role": "user", "content": text} for text in texts]}
    assert _bound(chat).prompt_tokens >= sum(len(text.encode()) for text in texts)


def test_a_plain_chat_costs_its_bytes_and_its_cap() -> None:
    chat = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 100, "n": 2}
    size = len(orjson.dumps(chat))
    bound = worst_case(chat, size, "chat", PLAIN, Billing(fixed_overhead_tokens=7), "m")
    assert (bound.prompt_tokens, bound.answers, bound.cap, bound.cap_field) == (size + 7, 2, 100, "max_tokens")
    assert bound.nano_usd == (size + 7) * 150 + 200 * 600
    assert bound.token_bound == size + 7 + 200


def test_a_fraction_of_a_nano_dollar_is_rounded_up() -> None:
    price = make_price(PriceOverride(input=1, output=0))
    assert worst_case({"model": "m"}, 1, "embeddings", price, NO_OVERHEAD, "m").nano_usd == 1


def test_writing_for_an_hour_is_reckoned_with_where_a_request_asks_for_it() -> None:
    price = make_price(PriceOverride(input=1000, output=0, cache_write=1250, cache_write_1h=2000))

    def rate(control: object, text: str = "hi") -> int:
        block = {"type": "text", "text": text, "cache_control": control}
        chat = {"model": "m", "messages": [{"role": "user", "content": [block]}], "max_tokens": 1}
        return _bound(chat, price).input_pico_usd

    assert rate({"type": "ephemeral"}) == rate({"type": "ephemeral", "ttl": "5m"}, "in 1h") == 1250
    assert rate({"type": "ephemeral", "ttl": "1h"}) == 2000


def test_a_request_without_a_cap_is_bounded_by_the_model_s_own() -> None:
    chat = {"model": "m", "messages": []}
    assert (_bound(chat).cap, _bound(chat).cap_field) == (16_384, "")
    assert (_bound(chat, make_price(PriceOverride(1, 1))).cap, _bound(chat).cap_field) == (CAP_WHERE_UNKNOWN, "")


def test_an_image_counts_as_the_largest_and_not_by_its_bytes() -> None:
    chat = {"model": "m", "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": PICTURE}]}]}
    body = len(orjson.dumps(chat))
    bound = _bound(chat, billing=Billing(fixed_overhead_tokens=0, tokens_per_image=1_500))
    assert bound.prompt_tokens == body - len(PICTURE) + 1_500
    assert _bound(chat).unbounded == "messages[0].content[0]"


def test_tools_count_for_what_a_provider_makes_of_them() -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    chat = {"model": "m", "messages": [], "tools": tools}
    billing = Billing(fixed_overhead_tokens=0, tools_overhead_tokens=500, tools_tokens_per_byte=3)
    assert _bound(chat, billing=billing).prompt_tokens == len(orjson.dumps(chat)) + 500 + 2 * len(orjson.dumps(tools))
    assert _bound(chat).prompt_tokens == len(orjson.dumps(chat))


def test_the_dearest_tier_that_the_prompt_can_reach_prices_it() -> None:
    price = make_price(PriceOverride(10**6, 10**6), tiers=((100, make_price(PriceOverride(2 * 10**6, 3 * 10**6))),))
    small = worst_case({"model": "m", "max_tokens": 1}, 100, "completions", price, NO_OVERHEAD, "m")
    large = worst_case({"model": "m", "max_tokens": 1}, 101, "completions", price, NO_OVERHEAD, "m")
    assert (small.nano_usd, large.nano_usd) == (101_000, 205_000)


def test_a_service_tier_that_is_left_open_is_the_dearest() -> None:
    services = {"priority": make_price(PriceOverride(2_000, 2_000)), "flex": make_price(PriceOverride(500, 500))}
    price = make_price(PriceOverride(1_000, 1_000), services=services)
    chat = {"model": "m", "messages": [], "max_tokens": 1}
    rates = {
        tier: _bound({**chat, "service_tier": tier}, price).input_pico_usd for tier in ("auto", "priority", "default")
    }
    assert rates == {"auto": 2_000, "priority": 2_000, "default": 1_000}
    assert _bound(chat, price).input_pico_usd == 1_000


@pytest.mark.parametrize(("count", "size", "units"), [(1, 10, 1), (100, 10, 1), (101, 10, 2), (1, 24_400, 2)])
def test_ranking_costs_a_search_unit_for_each_hundred_documents_or_pieces(count: int, size: int, units: int) -> None:
    price = make_price(PriceOverride(0, 0, search_unit=2_000_000_000))
    request = {"model": "m", "query": "q", "documents": ["x" * size] * count}
    bound = _bound(request, price, endpoint="rerank")
    assert bound.nano_usd == units * 2_000_000
    assert (bound.answers, bound.cap, bound.unbounded) == (0, 0, "")


def test_what_has_no_answer_has_nothing_to_clamp() -> None:
    bound = _bound({"model": "m", "input": "text"}, endpoint="embeddings")
    assert bound.affordable_cap(bound.nano_usd) == 0
    assert bound.affordable_cap(bound.nano_usd - 1) is None


def test_a_cap_below_what_the_endpoint_takes_is_none() -> None:
    bound = _bound({"model": "m", "input": "hi"}, endpoint="responses")
    assert bound.affordable_cap(bound.nano_usd_at(16)) == 16
    assert bound.affordable_cap(bound.nano_usd_at(15)) is None


def test_some_models_bill_for_more_than_their_tokens() -> None:
    searching = Billing(unbounded_models=(":online",))
    chat = {"model": "m", "messages": []}
    assert worst_case(chat, 30, "chat", PLAIN, searching, "gpt-4o:online").unbounded == "model"
    assert worst_case(chat, 30, "chat", PLAIN, searching, "gpt-4o").unbounded == ""


def test_the_prompt_bound_follows_the_provider_s_figures() -> None:
    assert prompt_bound(100, Billing(prompt_tokens_per_byte=2, fixed_overhead_tokens=5)) == 205
