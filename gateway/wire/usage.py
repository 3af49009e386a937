"""What one attempt used, in the terms that providers bill by."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final


@dataclass(init=False, slots=True)
class Usage:
    """Token counts of one answer. `prompt` includes `cached` and `cache_write`; `completion` includes `reasoning`.

    `cache_write_1h` is the part of `cache_write` that is kept for an hour, which has a price of its own.

    `search_units` are what rerank is billed by: a query with up to a hundred documents each. `estimated` is true where
    the provider reported no usage and the counts come from the bytes seen.
    """

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    reasoning: int = 0
    audio_in: int = 0
    audio_out: int = 0
    image_in: int = 0
    image_out: int = 0
    search_units: int = 0
    estimated: bool = False

    # Written out, here and in what else is made for every request: one that dataclass makes is never compiled.
    def __init__(
        self,
        prompt: int = 0,
        completion: int = 0,
        cached: int = 0,
        cache_write: int = 0,
        cache_write_1h: int = 0,
        reasoning: int = 0,
        audio_in: int = 0,
        audio_out: int = 0,
        image_in: int = 0,
        image_out: int = 0,
        search_units: int = 0,
        estimated: bool = False,
    ) -> None:
        self.prompt = prompt
        self.completion = completion
        self.cached = cached
        self.cache_write = cache_write
        self.cache_write_1h = cache_write_1h
        self.reasoning = reasoning
        self.audio_in = audio_in
        self.audio_out = audio_out
        self.image_in = image_in
        self.image_out = image_out
        self.search_units = search_units
        self.estimated = estimated


# The counts among its fields.
COUNTS: Final = tuple(each.name for each in fields(Usage) if each.name != "estimated")
