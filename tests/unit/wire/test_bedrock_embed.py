"""Embeddings by Bedrock's InvokeModel, and its lists of models."""

from __future__ import annotations

import base64
import struct
from typing import Any

import orjson
import pytest

from gateway.errors import GatewayError
from gateway.wire.bedrock import DIALECT
from gateway.wire.usage import Usage
from tests.unit.wire.bedrock_asking import CLAUDE, PROFILE, ask, encoded


@pytest.mark.shows("bedrock", "embeddings")
def test_titan_embeds_one_text_and_counts_it() -> None:
    asked = ask("amazon.titan-embed-text-v2:0", operation="embeddings", input="Hi", dimensions=256, user="u")
    found = encoded(asked)
    assert found.path == "/model/amazon.titan-embed-text-v2%3A0/invoke"
    assert (orjson.loads(found.body), found.dropped) == ({"inputText": "Hi", "dimensions": 256}, ["user"])
    answer, usage = DIALECT.decode(asked, b'{"embedding": [0.5, -1], "inputTextTokenCount": 3}')
    assert usage == Usage(prompt=3)
    assert answer == {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.5, -1]}],
        "model": "shown",
        "usage": {"prompt_tokens": 3, "total_tokens": 3},
    }


@pytest.mark.shows("bedrock", "embeddings")
def test_cohere_embeds_many_texts_and_openais_packing_is_made_here() -> None:
    fields = {"input": ["a", "b"], "encoding_format": "base64", "input_type": "search_query", "truncate": "END"}
    asked = ask("us.cohere.embed-v4:0", operation="embeddings", dimensions=2, **fields)
    assert orjson.loads(encoded(asked).body) == {
        "texts": ["a", "b"],
        "input_type": "search_query",
        "embedding_types": ["float"],
        "truncate": "END",
        "output_dimension": 2,
    }
    answer, usage = DIALECT.decode(asked, b'{"embeddings": {"float": [[0.5, -1], [2, 0]]}}')
    assert usage is None
    packed = [base64.b64decode(item["embedding"]) for item in answer["data"]]
    assert [struct.unpack("<2f", data) for data in packed] == [(0.5, -1.0), (2.0, 0.0)]


@pytest.mark.parametrize(
    ("text", "usage"),
    [(b"8", Usage(8)), (b"0", Usage()), (b"", None), (b"-1", None), (b"8.5", None), (b"9" * 400, None)],
)
def test_cohere_counts_its_tokens_in_a_header(text: bytes, usage: Usage | None) -> None:
    asked = ask("cohere.embed-english-v3", operation="embeddings", input=["a"])
    asked.answer_headers = [(b"date", b"today"), (b"x-amzn-bedrock-input-token-count", text)]
    answer, counted = DIALECT.decode(asked, b'{"embeddings": [[0.5]]}')
    assert counted == usage
    assert answer["usage"]["prompt_tokens"] == (usage.prompt if usage is not None else 0)


@pytest.mark.parametrize(
    ("model", "fields", "param"),
    [
        ("amazon.titan-embed-text-v2:0", {"input": ["a", "b"]}, "input"),
        ("amazon.titan-embed-text-v1", {"input": "a", "dimensions": 256}, "dimensions"),
        ("cohere.embed-english-v3", {"input": [[1, 2]]}, "input"),
        ("cohere.embed-english-v3", {"input": []}, "input"),
        (CLAUDE, {"input": "a"}, "model"),
        (PROFILE, {"input": "a"}, "model"),
    ],
)
def test_embeddings_that_cannot_be_had_are_refused_by_name(model: str, fields: dict[str, Any], param: str) -> None:
    with pytest.raises(GatewayError) as raised:
        DIALECT.encode(ask(model, operation="embeddings", **fields))
    assert raised.value.param == param


@pytest.mark.shows("bedrock", "models")
def test_models_and_profiles_are_listed_by_id() -> None:
    assert DIALECT.read_models(b'{"modelSummaries": [{"modelId": "a.b"}, {"x": 1}, 5]}') == ["a.b"]
    assert DIALECT.read_models(b'{"inferenceProfileSummaries": [{"inferenceProfileId": "us.a.b"}]}') == ["us.a.b"]
    for body in (b"", b"{}", b'{"modelSummaries": 1}'):
        with pytest.raises(GatewayError):
            DIALECT.read_models(body)
