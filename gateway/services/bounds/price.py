"""What bounds need to know of a price."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol


class Price(Protocol):
    """A model's price in pico-dollars; the prices of `services/prices` are such."""

    @property
    def input(self) -> int:
        """For a token of the prompt."""

    @property
    def output(self) -> int:
        """For a token of the answer."""

    @property
    def cached(self) -> int:
        """For a token of the prompt that was read from a cache."""

    @property
    def cache_write(self) -> int:
        """For one that was written to it."""

    @property
    def cache_write_1h(self) -> int:
        """For one that was written to it for an hour."""

    @property
    def audio_in(self) -> int:
        """For a token of sound in the prompt."""

    @property
    def audio_out(self) -> int:
        """For a token of spoken answer."""

    @property
    def image_in(self) -> int:
        """For a token of an image in the prompt."""

    @property
    def image_out(self) -> int:
        """For a token of an image that was made."""

    @property
    def reasoning(self) -> int:
        """For a token of thought."""

    @property
    def search_unit(self) -> int:
        """For a search unit of rerank."""

    @property
    def max_output_tokens(self) -> int | None:
        """The model's own limit on an answer; None where it is not known."""

    @property
    def tiers(self) -> Sequence[tuple[int, Price]]:
        """The prices for prompts of more than so many tokens."""

    @property
    def services(self) -> Mapping[str, Price] | None:
        """The prices of service tiers, by name; None where there are none."""
