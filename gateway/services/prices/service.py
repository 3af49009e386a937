"""The service: find what a model costs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any, Final

import orjson

from gateway.providers.price import Price, PriceOverride, make_price

# The figures of a line in prices.json, in pico-dollars per token, the last one per search unit; see `update.py`, which
# writes them.
FIGURES: Final = (
    "input",
    "output",
    "cached",
    "cache_write",
    "cache_write_1h",
    "reasoning",
    "audio_in",
    "audio_out",
    "image_in",
    "image_out",
    "search_unit",
)
FILE_NAME: Final = "prices.json"
# Where a declared price holds: a model's own name, and one of its targets, `provider/model`. The name is empty for what
# is asked for by the target's name.
Place = tuple[str, str]
_MAX_KNOWN: Final = 4096
# gpt-4o-2024-08-06, claude-sonnet-4-5-20250929, claude-3-5-sonnet@20240620
_SNAPSHOT = re.compile(r"(-\d{4}-\d{2}-\d{2}|[-@]\d{8})$")
_ANY_PROVIDER: Final = "litellm"
# A fine-tuned model's price is that of ft:its-base: ft:gpt-4o-mini-2024-07-18:acme::id.
_FINE_TUNED = re.compile(r"^(ft:[^:]+):.*")
# How litellm is to call a model may stand before its name, and in which region: the map has those regions alone that
# have prices of their own. https://docs.litellm.ai/docs/providers/bedrock (read 2026-11)
_ROUTES: Final = {"bedrock": re.compile(r"(?:converse(?:_like)?|invoke|chat_completions|[a-z]{2}(?:-[a-z]+)+-\d)/")}
# Types of ours that are one provider.
_ONE_PRICE: Final = {"azure_v1": "azure"}


class Prices:
    """All known prices. The file stays as it is in memory; a model's line is read when it is first asked for."""

    def __init__(self, data: bytes, overrides: Mapping[Place, PriceOverride]) -> None:
        self._data = data
        self._overrides = {place: make_price(given) for place, given in overrides.items()}
        self._known: dict[tuple[str, str], Price | None] = {}
        header = orjson.loads(data[: data.index(b"\n")] + b"}}")
        self.source: str = header["source"]
        self.date: str = header["date"]

    @classmethod
    def load(cls, overrides: Mapping[Place, PriceOverride]) -> Prices:
        """The packaged prices, and before them `overrides`: the configuration's, by where they hold."""
        return cls(files(__package__).joinpath(FILE_NAME).read_bytes(), overrides)

    def find(self, provider_type: str, model: str, place: Place | None = None) -> Price | None:
        """What `model` costs at a provider of this type; None where nobody knows.

        A price that is declared for `place` wins. Then the price map: the very name, if it is this provider's; the name
        behind the provider's (`groq/…`); both without the date of a snapshot; a fine-tuned model's as that of its base.
        Another provider's price for the same name is never taken, except for the type `litellm`, whose model names
        begin with the provider.
        """
        if place is not None and (declared := self._overrides.get(place)) is not None:
            return declared
        wanted = (provider_type, model)
        if wanted not in self._known:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known[wanted] = self._look_up(provider_type, model)
        return self._known[wanted]

    def _look_up(self, provider_type: str, model: str) -> Price | None:
        provider_type = _ONE_PRICE.get(provider_type, provider_type)
        for name in _candidates(provider_type, model):
            row = self._row(name)
            if row is not None and _belongs(row["provider"], provider_type):
                return _price(row)
        owner, _, name = model.partition("/")
        if provider_type == _ANY_PROVIDER and name:  # openai/gpt-4o-mini stands there as gpt-4o-mini
            return next((price for bare in _without_routes(owner, name) if (price := self._look_up(owner, bare))), None)
        return None

    def _row(self, name: str) -> dict[str, Any] | None:
        try:
            key = b"\n" + orjson.dumps(name) + b":"
        except orjson.JSONEncodeError:  # lone surrogates
            return None
        start = self._data.find(key)
        if start < 0:
            return None
        start += len(key)
        row: dict[str, Any] = orjson.loads(self._data[start : self._data.index(b"\n", start)].rstrip(b","))
        return row


def _without_routes(owner: str, name: str) -> Iterator[str]:
    """`name`, and what is left of it without each of the routes before it."""
    yield name
    route = _ROUTES.get(owner)
    while route is not None and (found := route.match(name)):
        name = name[found.end() :]
        yield name


def _candidates(provider_type: str, model: str) -> Iterator[str]:
    model = _FINE_TUNED.sub(r"\1", model)
    bare = _SNAPSHOT.sub("", model)
    for name in (model, bare) if bare != model else (model,):
        yield name
        yield f"{provider_type}/{name}"
        yield f"{provider_type}_ai/{name}"


def _belongs(owner: str, provider_type: str) -> bool:
    """`owner` is the map's name for a provider: `azure_ai`, `vertex_ai-anthropic_models`, `text-completion-openai`."""
    return (
        owner == provider_type
        or owner.startswith((f"{provider_type}_", f"{provider_type}-"))
        or owner.endswith(f"-{provider_type}")
        or provider_type == _ANY_PROVIDER
    )


def _price(row: Mapping[str, Any]) -> Price:
    figures: Sequence[int | None] = row["price"]
    return make_price(
        _figures(figures),
        max_input_tokens=row.get("max_input"),
        max_output_tokens=row.get("max_output"),
        tiers=_tiers(row.get("tiers", {}), figures),
        services={
            name: make_price(
                _figures(_filled(service["price"], figures)),
                tiers=_tiers(service.get("tiers", {}), _filled(service["price"], figures)),
            )
            for name, service in row.get("services", {}).items()
        },
    )


def _tiers(tiers: Mapping[str, Sequence[int | None]], plain: Sequence[int | None]) -> tuple[tuple[int, Price], ...]:
    made = [(int(above), make_price(_figures(_filled(figures, plain)))) for above, figures in tiers.items()]
    return tuple(sorted(made, key=lambda tier: tier[0], reverse=True))


def _filled(figures: Sequence[int | None], plain: Sequence[int | None]) -> list[int | None]:
    """`figures`, with what they leave out taken from `plain`."""
    size = max(len(figures), len(plain))
    own = [*figures, *[None] * (size - len(figures))]
    other = [*plain, *[None] * (size - len(plain))]
    return [theirs if mine is None else mine for mine, theirs in zip(own, other, strict=True)]


def _figures(figures: Sequence[int | None]) -> PriceOverride:
    given = dict(zip(FIGURES, figures, strict=False))
    return PriceOverride(
        input=given["input"] or 0,
        output=given.get("output") or 0,
        cached=given.get("cached"),
        cache_write=given.get("cache_write"),
        cache_write_1h=given.get("cache_write_1h"),
        reasoning=given.get("reasoning"),
        audio_in=given.get("audio_in"),
        audio_out=given.get("audio_out"),
        image_in=given.get("image_in"),
        image_out=given.get("image_out"),
        search_unit=given.get("search_unit") or 0,
    )
