"""One model's price and the arithmetic of an attempt's cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gateway.wire.usage import Usage

PICO_PER_NANO: Final = 1000


@dataclass(frozen=True, slots=True)
class PriceOverride:
    """A price from the configuration, in pico-dollars per token; None: billed as plain input or output.

    `search_unit` is in pico-dollars per search unit of rerank.
    """

    input: int
    output: int
    cached: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None
    audio_in: int | None = None
    audio_out: int | None = None
    image_in: int | None = None
    image_out: int | None = None
    reasoning: int | None = None
    search_unit: int = 0


@dataclass(frozen=True, slots=True)
class Price:
    """Pico-dollars per token and per search unit, and the model's limits (None where not known).

    `tiers` are the same model's prices for prompts of more than so many tokens, the highest first; the tier that
    applies prices the whole attempt. `services` are its prices when the provider serves it as `batch`, `flex` or
    `priority`.
    """

    input: int
    output: int
    cached: int
    cache_write: int
    cache_write_1h: int
    audio_in: int
    audio_out: int
    image_in: int
    image_out: int
    reasoning: int
    search_unit: int
    max_input_tokens: int | None = None
    max_output_tokens: int | None = None
    tiers: tuple[tuple[int, Price], ...] = ()
    services: Mapping[str, Price] | None = None

    def cost_nano_usd(self, usage: Usage) -> int:
        """The attempt's cost: exact in pico-dollars, rounded once to nano-dollars, half up; never negative.

        Cached, cache-write, audio and image input are parts of the prompt, reasoning, audio and image output parts of
        the completion: each is taken at its own price in place of the plain one.
        """
        prompt = usage.prompt
        if self.tiers:
            for above, tier in self.tiers:
                if prompt > above:
                    return tier.cost_nano_usd(usage)
        pico = prompt * self.input + usage.completion * self.output
        if usage.cached:
            pico += usage.cached * (self.cached - self.input)
        if usage.reasoning:
            pico += usage.reasoning * (self.reasoning - self.output)
        if usage.cache_write:
            pico += usage.cache_write * (self.cache_write - self.input)
            if usage.cache_write_1h:
                pico += usage.cache_write_1h * (self.cache_write_1h - self.cache_write)
        if usage.audio_in or usage.audio_out or usage.image_in or usage.image_out:
            pico += (
                usage.audio_in * (self.audio_in - self.input)
                + usage.audio_out * (self.audio_out - self.output)
                + usage.image_in * (self.image_in - self.input)
                + usage.image_out * (self.image_out - self.output)
            )
        if usage.search_units:
            pico += usage.search_units * self.search_unit
        return (pico + PICO_PER_NANO // 2) // PICO_PER_NANO if pico > 0 else 0

    def prompt_cost_nano_usd(self, tokens: int, search_units: int = 0) -> int:
        """The cost of a plain prompt alone, as `cost_nano_usd` has it."""
        for above, tier in self.tiers:
            if tokens > above:
                return tier.prompt_cost_nano_usd(tokens, search_units)
        return (tokens * self.input + search_units * self.search_unit + PICO_PER_NANO // 2) // PICO_PER_NANO

    def for_service(self, name: object) -> Price:
        """The price under a provider's `service_tier` (`flex`, `priority`, `batch`); this one where it has no other."""
        if not isinstance(name, str) or self.services is None:
            return self
        return self.services.get(name, self)


def make_price(
    given: PriceOverride,
    *,
    max_input_tokens: int | None = None,
    max_output_tokens: int | None = None,
    tiers: tuple[tuple[int, Price], ...] = (),
    services: Mapping[str, Price] | None = None,
) -> Price:
    """A `Price` in which what is not given is the plain input's or output's, and writing for an hour as any writing."""
    plain, answer = given.input, given.output
    write = plain if given.cache_write is None else given.cache_write
    return Price(
        input=plain,
        output=answer,
        cached=plain if given.cached is None else given.cached,
        cache_write=write,
        cache_write_1h=write if given.cache_write_1h is None else given.cache_write_1h,
        audio_in=plain if given.audio_in is None else given.audio_in,
        audio_out=answer if given.audio_out is None else given.audio_out,
        image_in=plain if given.image_in is None else given.image_in,
        image_out=answer if given.image_out is None else given.image_out,
        reasoning=answer if given.reasoning is None else given.reasoning,
        search_unit=given.search_unit,
        max_input_tokens=max_input_tokens,
        max_output_tokens=max_output_tokens,
        tiers=tiers,
        services=services,
    )
