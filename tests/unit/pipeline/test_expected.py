"""How many tokens a request is taken to use."""

from __future__ import annotations

import random
from typing import Any

import orjson
import pytest

from gateway.pipeline.call import Call
from gateway.pipeline.expected import UsualOutput, expected_tokens
from gateway.wire.endpoint import Endpoint
from gateway.wire.endpoints import MESSAGES, RERANK, RESPONSES
from gateway.wire.openai import CHAT, COMPLETIONS, EMBEDDINGS
from gateway.wire.openai_operations import IMAGES, MODERATIONS

UNKNOWN = 1025  # of a model that has not answered yet


def expected(endpoint: Endpoint, **fields: Any) -> int:
    """Without the prompt."""
    call = Call(endpoint, {}, orjson.dumps(fields), "127.0.0.1")
    call.document, call.model = fields, "m"
    return expected_tokens(call, UsualOutput()) - len(call.body) // 4 - 1


@pytest.mark.parametrize(
    ("endpoint", "fields", "tokens"),
    [
        (CHAT, {}, UNKNOWN),
        (CHAT, {"max_tokens": 50}, 50),
        (CHAT, {"max_tokens": 50, "max_completion_tokens": 70}, 70),
        (CHAT, {"max_tokens": 50, "n": 3}, 150),
        (CHAT, {"max_tokens": -1}, UNKNOWN),
        (CHAT, {"max_tokens": "50", "n": True}, UNKNOWN),
        (COMPLETIONS, {"prompt": ["a", "b"], "max_tokens": 50, "best_of": 2}, 200),
        (MESSAGES, {"max_tokens": 50}, 50),
        (RESPONSES, {"max_output_tokens": 50}, 50),
        (EMBEDDINGS, {"input": "hello"}, 0),
        (RERANK, {"query": "q", "documents": ["d"]}, 0),
        (MODERATIONS, {"input": "hello"}, 0),
        (IMAGES, {"prompt": "a cat", "n": 4}, 0),
    ],
)
def test_answers_count_by_their_cap_or_by_what_is_usual(endpoint: Endpoint, fields: Any, tokens: int) -> None:
    assert expected(endpoint, **fields) == tokens


def test_a_picture_counts_as_a_thousand_tokens() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 400_000}}
    call = Call(CHAT, {}, b"", "127.0.0.1")
    call.document = {"messages": [{"role": "user", "content": [picture]}], "max_tokens": 10}
    call.body = orjson.dumps(call.document)
    assert 1010 <= expected_tokens(call, UsualOutput()) < 1100


def test_the_usual_length_is_one_that_few_answers_exceed() -> None:
    usual, rng = UsualOutput(), random.Random(7)
    lengths = [int(rng.expovariate(1 / 300)) + 1 for _ in range(4000)]
    for length in lengths:
        usual.note("m", length)
    high = usual.high("m")
    assert 0.85 < sum(length <= high for length in lengths) / len(lengths) < 0.99
    assert usual.high("another") == UNKNOWN


def test_the_models_that_are_remembered_are_bounded() -> None:
    usual = UsualOutput()
    for number in range(20_001):
        usual.note(f"model {number}", 5)
    assert len(usual._high) <= 10_000
