from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.providers.price import Price, PriceOverride, make_price
from gateway.wire.usage import Usage

_PICO = st.integers(0, 10**9)
_MAYBE = st.none() | _PICO
_OVERRIDES = st.builds(
    PriceOverride,
    input=_PICO, output=_PICO, cached=_MAYBE, cache_write=_MAYBE, cache_write_1h=_MAYBE,
    audio_in=_MAYBE, audio_out=_MAYBE, image_in=_MAYBE, image_out=_MAYBE, reasoning=_MAYBE, search_unit=_PICO,
)  # fmt: skip


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    """Counts that are consistent: the parts of the prompt add up to no more than it, and so for the completion."""
    parts = draw(st.lists(st.integers(0, 100_000), min_size=11, max_size=11))
    cached, short, long, audio_in, image_in, text_in, reasoning, audio_out, image_out, text_out, search_units = parts
    return Usage(
        prompt=cached + short + long + audio_in + image_in + text_in,
        completion=reasoning + audio_out + image_out + text_out,
        cached=cached, cache_write=short + long, cache_write_1h=long, reasoning=reasoning,
        audio_in=audio_in, audio_out=audio_out, image_in=image_in, image_out=image_out, search_units=search_units,
    )  # fmt: skip


def expected_nano_usd(given: PriceOverride, usage: Usage) -> int:
    """The same sum in dollars, part by part."""

    def usd(tokens: int, pico: int | None, plain: int) -> Decimal:
        return tokens * Decimal(plain if pico is None else pico) / 10**12

    write = given.cache_write
    text_in = usage.prompt - usage.cached - usage.cache_write - usage.audio_in - usage.image_in
    text_out = usage.completion - usage.reasoning - usage.audio_out - usage.image_out
    total = (
        usd(text_in, given.input, 0)
        + usd(usage.cached, given.cached, given.input)
        + usd(usage.cache_write - usage.cache_write_1h, given.cache_write, given.input)
        + usd(usage.cache_write_1h, write if given.cache_write_1h is None else given.cache_write_1h, given.input)
        + usd(usage.audio_in, given.audio_in, given.input)
        + usd(usage.image_in, given.image_in, given.input)
        + usd(text_out, given.output, 0)
        + usd(usage.reasoning, given.reasoning, given.output)
        + usd(usage.audio_out, given.audio_out, given.output)
        + usd(usage.image_out, given.image_out, given.output)
        + usd(usage.search_units, given.search_unit, 0)
    )
    return int((total * 10**9).quantize(Decimal(1), ROUND_HALF_UP))


@given(price=_OVERRIDES, usage=usages())
def test_the_cost_is_the_decimal_sum_of_its_parts_rounded_once(price: PriceOverride, usage: Usage) -> None:
    assert make_price(price).cost_nano_usd(usage) == expected_nano_usd(price, usage)


@given(usage=usages(), plain=_OVERRIDES, middle=_OVERRIDES, high=_OVERRIDES)
def test_the_size_of_the_prompt_chooses_one_tier_for_the_whole_attempt(
    usage: Usage, plain: PriceOverride, middle: PriceOverride, high: PriceOverride
) -> None:
    price = make_price(plain, tiers=((200_000, make_price(high)), (128_000, make_price(middle))))
    chosen = high if usage.prompt > 200_000 else middle if usage.prompt > 128_000 else plain
    assert price.cost_nano_usd(usage) == expected_nano_usd(chosen, usage)


@pytest.mark.parametrize(
    ("prompt", "cost"), [(0, 0), (128_000, 128_000), (128_001, 256_002), (200_000, 400_000), (200_001, 600_003)]
)
def test_a_tier_begins_above_its_size(prompt: int, cost: int) -> None:
    tiers = tuple((size, make_price(PriceOverride(each, 0))) for size, each in ((200_000, 3000), (128_000, 2000)))
    assert make_price(PriceOverride(1000, 0), tiers=tiers).cost_nano_usd(Usage(prompt=prompt)) == cost


@pytest.mark.parametrize(("tokens", "cost"), [(1, 0), (4, 0), (5, 1), (14, 1), (15, 2)])
def test_half_a_nano_dollar_is_rounded_up(tokens: int, cost: int) -> None:
    assert make_price(PriceOverride(100, 0)).cost_nano_usd(Usage(prompt=tokens)) == cost


def test_a_prompt_with_search_units_is_reserved_at_what_both_cost() -> None:
    price = make_price(PriceOverride(1000, 0, search_unit=2_000_000_000))
    assert price.prompt_cost_nano_usd(7, 3) == price.cost_nano_usd(Usage(prompt=7, search_units=3)) == 7 + 6_000_000


def test_counts_that_contradict_each_other_never_cost_less_than_nothing() -> None:
    price = make_price(PriceOverride(1_000_000, 0, cached=0))
    assert price.cost_nano_usd(Usage(prompt=10, cached=1000)) == 0


def test_a_service_tier_has_its_own_price_and_an_unknown_one_the_plain() -> None:
    flex: Price = make_price(PriceOverride(1, 2))
    price = make_price(PriceOverride(3, 4), services={"flex": flex})
    assert price.for_service("flex") is flex
    assert price.for_service("default") is price
    assert price.for_service(None) is price
    assert flex.for_service("flex") is flex
