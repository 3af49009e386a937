"""Cohere's embeddings and rerank."""

from __future__ import annotations

import base64
import struct
from typing import Any

import orjson
import pytest

from gateway.errors import GatewayError
from gateway.wire.dialect import Document
from gateway.wire.usage import Usage
from tests.unit.wire.test_cohere import COHERE, ask, refused


@pytest.mark.shows("cohere", "embeddings")
def test_embeddings_are_asked_for_as_documents_unless_told_otherwise() -> None:
    encoded = COHERE.encode(ask("embeddings", input="a", user="u"))
    assert (encoded.path, encoded.dropped) == ("/v2/embed", ["user"])
    assert orjson.loads(encoded.body) == {
        "model": "theirs",
        "texts": ["a"],
        "input_type": "search_document",
        "embedding_types": ["float"],
    }
    body = orjson.loads(
        COHERE.encode(ask("embeddings", input=["a"], dimensions=256, input_type="query", truncate="END")).body
    )
    assert (body["output_dimension"], body["input_type"], body["truncate"]) == (256, "search_query", "END")


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"input": [1, 2]}, "unsupported_parameter", "input"),
        ({"input": [[1, 2]]}, "unsupported_parameter", "input"),
        ({"input": []}, "invalid_field", "input"),
        ({"input": ["a", None]}, "invalid_field", "input[1]"),
        ({"input": "a", "encoding_format": "hex"}, "invalid_field", "encoding_format"),
        ({"input": "a", "input_type": 4}, "invalid_field", "input_type"),
    ],
)
def test_embeddings_that_cannot_be_asked_for_are_named(fields: Document, code: str, param: str) -> None:
    assert refused("embeddings", **fields) == (code, param)


@pytest.mark.shows("cohere", "embeddings")
def test_embeddings_come_as_base64_where_the_client_wants_that() -> None:
    body = orjson.dumps({"embeddings": {"float": [[0.5, -1]]}, "meta": {"billed_units": {"input_tokens": 2}}})
    answer, usage = COHERE.decode(ask("embeddings", input="a", encoding_format="base64"), body)
    assert struct.unpack("<2f", base64.b64decode(answer["data"][0]["embedding"])) == (0.5, -1.0)
    assert usage == Usage(2)


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"embeddings":{"float":[["a"]]}}', b'{"embeddings":{"int8":[[1]]}}'])
def test_embeddings_that_are_none_are_a_bad_answer(body: bytes) -> None:
    with pytest.raises(GatewayError) as caught:
        COHERE.decode(ask("embeddings", input="a", encoding_format="base64"), body)
    assert caught.value.code == "upstream_bad_answer"


@pytest.mark.shows("cohere", "rerank")
def test_reranking_sends_texts_only() -> None:
    documents = ["a", {"text": "b", "id": 4}]
    encoded = COHERE.encode(
        ask("rerank", query="q", documents=documents, top_n=1, max_tokens_per_doc=9, return_documents=True)
    )
    assert encoded.path == "/v2/rerank"
    assert orjson.loads(encoded.body) == {
        "model": "theirs",
        "query": "q",
        "documents": ["a", "b"],
        "top_n": 1,
        "max_tokens_per_doc": 9,
    }
    assert refused("rerank", query="q", documents=["a"], max_chunks_per_doc=3)[1] == "max_chunks_per_doc"


@pytest.mark.parametrize(
    "result", [{"index": 2, "relevance_score": 1}, {"index": -1, "relevance_score": 1}, {"index": 0}, 7]
)
def test_a_rank_of_no_document_is_a_bad_answer(result: Any) -> None:
    with pytest.raises(GatewayError) as caught:
        COHERE.decode(ask("rerank", query="q", documents=["a", "b"]), orjson.dumps({"results": [result]}))
    assert caught.value.code == "upstream_bad_answer"


@pytest.mark.shows("cohere", "rerank")
def test_tokens_of_a_rerank_are_used_where_they_are_told() -> None:
    meta = {"billed_units": {"search_units": 1}, "tokens": {"input_tokens": 12}}
    body = orjson.dumps({"results": [{"index": 0, "relevance_score": 0.5}], "meta": meta})
    answer, usage = COHERE.decode(ask("rerank", query="q", documents=["a"]), body)
    assert (answer["id"], answer["meta"], usage) == ("chatcmpl-abc", meta, Usage(12, search_units=1))


@pytest.mark.parametrize(
    ("meta", "usage"),
    [
        ({"billed_units": {"search_units": 3.0}}, Usage(search_units=3)),
        ({"billed_units": {"search_units": 0}}, Usage()),
        ({"billed_units": {"search_units": "3"}}, Usage()),
        ({"billed_units": {"images": 1}}, None),
        ({"billed_units": [1], "tokens": 7}, None),
        ({}, None),
    ],
)
def test_a_rerank_used_the_search_units_that_are_billed(meta: Any, usage: Usage | None) -> None:
    body = orjson.dumps({"results": [], "meta": meta})
    assert COHERE.decode(ask("rerank", query="q", documents=["a"]), body)[1] == usage
