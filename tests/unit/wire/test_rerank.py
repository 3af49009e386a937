"""POST /v1/rerank: what clients of several vendors send, and what they get."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.wire.dialect import Ask
from gateway.wire.dialects import find_dialect
from gateway.wire.rerank import document_texts, read_rerank, render_rerank
from tests.wire_data import needs_recordings, recorded


def read(**fields: Any) -> dict[str, Any]:
    return read_rerank(orjson.dumps({"model": "m", "query": "q", "documents": ["a", "b"], **fields}))


@pytest.mark.parametrize(
    ("fields", "texts"),
    [
        ({"documents": ["a", "b"]}, ["a", "b"]),
        ({"documents": [{"text": "a"}, "b"]}, ["a", "b"]),
        ({"documents": [{"text": "a", "title": "t"}]}, ["a"]),
        ({"documents": [{"text": "a", "title": "t"}], "rank_fields": ["title", "text"]}, ["title: t\ntext: a"]),
        (
            {"documents": [{"title": "t", "pages": 3}], "rank_fields": ["title", "pages", "none"]},
            ["title: t\npages: 3"],
        ),
    ],
)
def test_documents_of_every_vendor_come_down_to_texts(fields: dict[str, Any], texts: list[str]) -> None:
    assert document_texts(read(**fields)) == texts


def test_a_query_may_be_an_object_with_a_text() -> None:
    assert read(query={"text": "why"})["query"] == "why"


def test_fields_of_a_provider_s_own_are_left_for_its_dialect() -> None:
    assert read(priority=3, top_n=1, max_tokens_per_doc=7) == {
        "model": "m",
        "query": "q",
        "documents": ["a", "b"],
        "priority": 3,
        "top_n": 1,
        "max_tokens_per_doc": 7,
    }


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"model": None}, "missing_field", "model"),
        ({"query": None}, "missing_field", "query"),
        ({"documents": None}, "missing_field", "documents"),
        ({"model": ""}, "invalid_field", "model"),
        ({"model": "m" * 257}, "invalid_field", "model"),
        ({"query": {"image": "u"}}, "invalid_field", "query"),
        ({"query": ""}, "invalid_field", "query"),
        ({"documents": []}, "invalid_field", "documents"),
        ({"documents": "a"}, "invalid_field", "documents"),
        ({"documents": ["a", 4]}, "invalid_field", "documents[1]"),
        ({"documents": [{"image": "u"}]}, "invalid_field", "documents[0].text"),
        ({"documents": ["a"], "rank_fields": "text"}, "invalid_field", "rank_fields"),
        ({"documents": [{"a": []}], "rank_fields": ["a"]}, "invalid_field", "documents[0].a"),
        ({"documents": [{"b": 1}], "rank_fields": ["a"]}, "invalid_field", "documents[0]"),
        ({"top_n": 0}, "invalid_field", "top_n"),
        ({"top_n": True}, "invalid_field", "top_n"),
        ({"max_tokens_per_doc": "9"}, "invalid_field", "max_tokens_per_doc"),
        ({"return_documents": 1}, "invalid_field", "return_documents"),
        ({"stream": True}, "invalid_field", "stream"),
    ],
)
def test_what_cannot_be_read_is_named(fields: dict[str, Any], code: str, param: str) -> None:
    with pytest.raises(GatewayError) as caught:
        read(**fields)
    assert (caught.value.code, caught.value.param) == (code, param)


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"a":' * 300 + b"1" + b"}" * 300])
def test_what_is_no_object_is_invalid_json(body: bytes) -> None:
    with pytest.raises(GatewayError) as caught:
        read_rerank(body)
    assert caught.value.code == "invalid_json"


@pytest.mark.shows("cohere", "rerank")
def test_documents_come_back_as_the_client_sent_them_where_it_asks() -> None:
    document = read(documents=["a", {"text": "b", "id": 7}], return_documents=True)
    answer = {"id": "x", "results": [{"index": 1, "relevance_score": 0.5}, {"index": 0, "relevance_score": 0.25}]}
    assert orjson.loads(render_rerank(answer, document))["results"] == [
        {"index": 1, "relevance_score": 0.5, "document": {"text": "b", "id": 7}},
        {"index": 0, "relevance_score": 0.25, "document": {"text": "a"}},
    ]
    assert "document" not in answer["results"][0]
    assert orjson.loads(render_rerank(answer, read())) == answer


@needs_recordings
def test_recorded_requests_are_read_and_encoded_again() -> None:
    cohere = find_dialect("cohere")
    seen = 0
    for row in recorded("cohere"):
        if not row["path"].endswith("/rerank"):
            continue
        body = {"model": "m", **row["request"]}
        document = read_rerank(orjson.dumps(body))
        sent = orjson.loads(cohere.encode(Ask("rerank", document, body["model"], "m", "i", 1)).body)
        assert sent == {name: value for name, value in body.items() if value is not None and name != "return_documents"}
        seen += 1
    assert seen == 7


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6) | st.just("text"), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            name: JSON for name in ("model", "query", "documents", "rank_fields", "top_n", "return_documents", "stream")
        },
    )
)
def test_no_request_raises_anything_but_a_gateway_error(fields: dict[str, Any]) -> None:
    try:
        document = read_rerank(orjson.dumps({"model": "m", "query": "q", "documents": ["a"], **fields}))
    except GatewayError as error:
        shown = error.body("id")
    else:
        shown = render_rerank({"id": "x", "results": [{"index": 0, "relevance_score": 1}]}, document)
    assert orjson.loads(shown)


@given(st.binary(max_size=30))
def test_no_bytes_raise_anything_but_a_gateway_error(body: bytes) -> None:
    with pytest.raises(GatewayError):
        read_rerank(body)
