from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.providers.price import PriceOverride, make_price
from gateway.providers.registry import PROVIDERS
from gateway.services.bounds.output import answer_count, output_cap, with_cap
from gateway.wire.openai import CHAT, Variations, encode_request, read_request

PRICE = make_price(PriceOverride(1, 1), max_output_tokens=777)
UNKNOWN = make_price(PriceOverride(1, 1))


@pytest.mark.parametrize(
    ("endpoint", "document", "found"),
    [
        ("chat", {"max_tokens": 5}, (5, "max_tokens")),
        ("chat", {"max_completion_tokens": 6}, (6, "max_completion_tokens")),
        ("chat", {"max_tokens": 9, "max_completion_tokens": 6}, (9, "max_tokens")),
        ("chat", {"max_tokens": None}, (777, "")),
        ("chat", {"max_tokens": 0}, (777, "")),
        ("chat", {"max_output_tokens": 3}, (777, "")),
        ("chat", {"max_tokens": -1}, (None, "max_tokens")),
        ("chat", {"max_tokens": "5"}, (None, "max_tokens")),
        ("chat", {"max_tokens": True}, (None, "max_tokens")),
        ("chat", {"max_tokens": 5.5}, (None, "max_tokens")),
        ("chat", {"max_tokens": 2**40}, (None, "max_tokens")),
        ("completions", {"max_tokens": 5}, (5, "max_tokens")),
        ("messages", {"max_tokens": 5, "thinking": {"type": "enabled", "budget_tokens": 4}}, (5, "max_tokens")),
        ("responses", {"max_output_tokens": 5}, (5, "max_output_tokens")),
        ("embeddings", {"max_tokens": 5}, (0, "")),
        ("rerank", {}, (0, "")),
    ],
)
def test_the_cap_is_what_the_request_says(
    endpoint: str, document: dict[str, Any], found: tuple[int | None, str]
) -> None:
    assert output_cap(document, endpoint, PRICE) == found


def test_a_model_that_nobody_knows_the_limit_of_has_no_cap() -> None:
    assert output_cap({}, "chat", UNKNOWN) == (None, "")


@pytest.mark.parametrize(
    ("endpoint", "document", "found"),
    [
        ("chat", {}, (1, "")),
        ("chat", {"n": 3}, (3, "")),
        ("chat", {"n": 0}, (1, "")),
        ("chat", {"n": "3"}, (1, "n")),
        ("chat", {"n": 3.0}, (1, "n")),
        ("completions", {"n": 2, "best_of": 5, "prompt": "x"}, (5, "")),
        ("completions", {"n": 2, "prompt": ["x", "y", "z"]}, (6, "")),
        ("completions", {"prompt": [[1, 2], [3]]}, (2, "")),
        ("completions", {"prompt": [1, 2, 3]}, (1, "")),
        ("embeddings", {"input": ["x"]}, (0, "")),
    ],
)
def test_answers_are_counted_as_they_are_made(endpoint: str, document: dict[str, Any], found: tuple[int, str]) -> None:
    assert answer_count(document, endpoint) == found


_FIELDS = st.dictionaries(
    st.sampled_from(["max_tokens", "max_completion_tokens", "temperature"]), st.none() | st.integers(0, 9_000)
)


@given(_FIELDS, st.integers(1, 9_000), st.sampled_from(["chat", "completions"]))
def test_the_bytes_and_the_document_say_the_same_cap(fields: dict[str, Any], cap: int, endpoint: str) -> None:
    document = {"model": "m", "messages": [{"role": "user", "content": "x"}], **fields}
    before = orjson.dumps(document)
    body, capped = with_cap(before, document, endpoint, cap)
    assert orjson.loads(body) == capped
    assert orjson.dumps(document) == before
    found, field = output_cap(capped, endpoint, UNKNOWN)
    assert found is not None
    assert 0 < found <= cap
    assert field
    wanted = output_cap(document, endpoint, UNKNOWN)[0]
    assert found in (cap, wanted)


def test_a_cap_is_spliced_into_the_client_s_own_bytes() -> None:
    body = b' {"model":"m",  "messages":[1.10]}'
    assert with_cap(body, orjson.loads(body), "chat", 5)[0] == b' {"max_tokens":5,"model":"m",  "messages":[1.10]}'


def test_a_key_that_is_written_with_escapes_is_lowered_too() -> None:
    body = rb'{"model":"m","max\u005ftokens":900,"messages":[]}'
    assert orjson.loads(with_cap(body, orjson.loads(body), "chat", 5)[0])["max_tokens"] == 5


@pytest.mark.parametrize(
    ("endpoint", "name"),
    [("messages", "max_tokens"), ("responses", "max_output_tokens"), ("completions", "max_tokens")],
)
def test_every_endpoint_has_its_own_name_for_the_cap(endpoint: str, name: str) -> None:
    body, capped = with_cap(b'{"model":"m"}', {"model": "m"}, endpoint, 5, "max_completion_tokens")
    assert capped == {"model": "m", name: 5} == orjson.loads(body)


@pytest.mark.parametrize(
    ("budget", "cap", "thinking"),
    [
        (2_000, 4_000, {"type": "enabled", "budget_tokens": 2_000}),
        (8_000, 4_000, {"type": "enabled", "budget_tokens": 3_000}),
        (4_000, 4_000, {"type": "enabled", "budget_tokens": 3_000}),
        (8_000, 1_024, {"type": "disabled"}),
    ],
)
def test_a_thinking_budget_stays_below_the_cap(budget: int, cap: int, thinking: dict[str, Any]) -> None:
    request = {"model": "m", "max_tokens": 9_000, "thinking": {"type": "enabled", "budget_tokens": budget}}
    body, capped = with_cap(orjson.dumps(request), request, "messages", cap)
    assert capped == {"model": "m", "max_tokens": cap, "thinking": thinking} == orjson.loads(body)


@pytest.mark.parametrize(
    ("provider", "model", "name"),
    [
        ("openai", "gpt-4o", "max_tokens"),
        ("openai", "gpt-5-mini", "max_completion_tokens"),
        ("openai", "some/o3-like", "max_completion_tokens"),
        ("azure", "my-deployment", "max_completion_tokens"),
        ("mistral", "mistral-small", "max_tokens"),
        ("vllm", "qwen", "max_tokens"),
    ],
)
def test_a_cap_reaches_the_provider_under_the_name_that_it_knows(provider: str, model: str, name: str) -> None:
    known = PROVIDERS[provider]
    body = b'{"model":"alias","messages":[{"role":"user","content":"x"}]}'
    capped, document = with_cap(body, read_request(CHAT, body), "chat", 50, known.billing.cap_field(model))
    variations = Variations(known.unsupported, known.renamed, known.stream_usage)
    sent = orjson.loads(encode_request(capped, document, model, variations))
    assert {key: value for key, value in sent.items() if key.startswith("max")} == {name: 50}
