"""Bounds against what providers have counted and billed in recorded traffic; skipped where that is not there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from gateway.providers.price import PriceOverride, make_price
from gateway.providers.registry import PROVIDERS
from gateway.services.bounds.texts import size_of, texts_of
from gateway.services.bounds.worst_case import Bound, worst_case
from gateway.services.tokenizers.service import Tokenizers
from tests.ranks import needs_ranks
from tests.wire_data import body_of, needs_recordings, place, recorded

pytestmark = needs_recordings

# By recording: the provider type that would be asked, and how many bounded exchanges there are at least.
RECORDINGS = {
    "anthropic": ("anthropic", 100),
    "azure_openai": ("azure", 15),
    "cerebras": ("cerebras", 10),
    "cohere": ("cohere", 40),
    "deepseek": ("deepseek", 15),
    "groq": ("groq", 40),
    "huggingface": ("huggingface", 10),
    "mistral": ("mistral", 40),
    "openai": ("openai", 180),
    "openrouter": ("openrouter", 15),
    "snowflake": ("openai", 10),
    "together": ("together", 8),
    "zai": ("openai", 5),
}
ENDPOINTS = {
    "/chat/completions": "chat",
    "/v2/chat": "chat",
    "/messages": "messages",
    "/responses": "responses",
    "/v1/completions": "completions",
    "/embeddings": "embeddings",
}
PRICE = make_price(PriceOverride(1_000, 1_000))
_PROMPT = re.compile(rb'"(?:prompt|input)_tokens":\s*(\d+)')
_CACHE = re.compile(rb'"cache_(?:creation|read)_input_tokens":\s*(\d+)')
_ANSWER = re.compile(rb'"(?:completion|output)_tokens":\s*(\d+)')


def _most(pattern: re.Pattern[bytes], answer: bytes) -> int:
    return max(map(int, pattern.findall(answer)), default=0)


def _exchanges(name: str) -> Iterator[tuple[dict[str, Any], Bound, bytes]]:
    billing = PROVIDERS[RECORDINGS[name][0]].billing
    for row in recorded(name):
        path = row["path"].partition("?")[0]
        endpoint = next((word for end, word in ENDPOINTS.items() if path.endswith(end)), None)
        request = row["request"]
        if row["status"] != 200 or endpoint is None or type(request) is not dict:
            continue
        model = request.get("model") or ""
        yield row, worst_case(request, len(orjson.dumps(request)), endpoint, PRICE, billing, model), body_of(row)


@pytest.mark.parametrize("name", RECORDINGS)
def test_no_recorded_prompt_was_counted_higher_than_its_bound(name: str) -> None:
    checked = 0
    for row, bound, answer in _exchanges(name):
        # Anthropic counts cached tokens beside the others.
        counted = _most(_PROMPT, answer) + (_most(_CACHE, answer) if name == "anthropic" else 0)
        if counted and not bound.unbounded:
            checked += 1
            assert counted <= bound.prompt_tokens, place(row)
    assert checked >= RECORDINGS[name][1]


@needs_ranks
@pytest.mark.parametrize(("name", "least", "vocabularies"), [("openai", 170, 1), ("azure_openai", 2, 2)])
async def test_no_recorded_prompt_was_counted_higher_than_its_bound_by_tokens(
    name: str, least: int, vocabularies: int
) -> None:
    billing = PROVIDERS[RECORDINGS[name][0]].billing
    tokenizers = Tokenizers.found(patience_s=60)
    assert tokenizers is not None
    checked = saved = 0
    for row, bound, answer in _exchanges(name):
        request, billed = row["request"], _most(_PROMPT, answer)
        model = request.get("model") or ""
        encodings = billing.encodings_of(model, row["host"])
        if not billed or bound.unbounded or not encodings:
            continue
        assert len(encodings) == vocabularies
        texts = texts_of(request)
        tokens = await tokenizers.count(encodings, texts)
        assert tokens is not None
        by_tokens = bound.prompt_tokens - size_of(texts) + tokens
        assert billed <= by_tokens <= bound.prompt_tokens, place(row)
        checked += 1
        saved += bound.prompt_tokens - by_tokens
    tokenizers.close()
    assert checked >= least
    assert saved > 0


@pytest.mark.parametrize("name", RECORDINGS)
def test_no_recorded_answer_went_beyond_its_cap(name: str) -> None:
    for row, bound, answer in _exchanges(name):
        if bound.cap_field:
            assert _most(_ANSWER, answer) <= bound.answers * bound.cap, place(row)
