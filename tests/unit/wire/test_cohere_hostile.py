"""Nothing that a client or an upstream says makes Cohere's dialect raise anything but a GatewayError."""

from __future__ import annotations

import copy
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.wire.dialect import Ask, Dialect, Document
from gateway.wire.dialects import find_dialect

COHERE = find_dialect("cohere")

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["\ud800", "text", "auto", "none", "function", 10**400, 2**70])
)
JSON: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)

CALL = {"id": "c", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}
REQUEST: Document = {
    "model": "shown",
    "messages": [
        {"role": "system", "content": "x"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "x"},
                {"type": "image_url", "image_url": {"url": "u", "detail": "low"}},
            ],
        },
        {
            "role": "assistant",
            "content": "x",
            "tool_calls": [CALL],
            "function_call": {"name": "f", "arguments": "{}"},
            "reasoning_details": [{"type": "reasoning.text", "text": "x", "format": "cohere-v2"}],
        },
        {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "x"}]},
        {"role": "function", "name": "f", "content": "x"},
    ],
    "tools": [{"type": "function", "function": {"name": "look_up", "parameters": {"required": ["a"]}, "strict": True}}],
    "functions": [{"name": "f"}],
    "tool_choice": {"type": "function", "function": {"name": "look_up"}},
    "response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}},
    "stop": ["a"],
    "thinking": {"type": "enabled", "budget_tokens": 3},
    "reasoning_effort": "low",
    "max_tokens": 4,
    "n": 2,
    "temperature": 0.5,
}
EMBEDDINGS: Document = {
    "model": "shown",
    "input": ["a", "b"],
    "dimensions": 4,
    "encoding_format": "base64",
    "input_type": "query",
}
RERANK: Document = {
    "model": "shown",
    "query": "q",
    "documents": ["a", {"title": "b", "n": 1}],
    "rank_fields": ["title", "n"],
    "top_n": 1,
}
REQUESTS = {"chat": REQUEST, "embeddings": EMBEDDINGS, "rerank": RERANK}

CITATION = {
    "start": 0,
    "end": 1,
    "text": "a",
    "sources": [{"type": "document", "id": "d", "document": {"url": "u", "title": "t"}}],
    "type": "TEXT_CONTENT",
}
LOGPROBS = {"text": "a", "token_ids": [1], "logprobs": [-0.5, -1]}
USAGE = {"billed_units": {"input_tokens": 1, "output_tokens": 2}, "tokens": {"image_tokens": 1}, "cached_tokens": 1}
ANSWERS: dict[str, Document] = {
    "chat": {
        "id": "i",
        "finish_reason": "COMPLETE",
        "message": {
            "content": [{"type": "thinking", "thinking": "x"}, {"type": "text", "text": "x"}],
            "tool_calls": [CALL],
            "tool_plan": "p",
            "citations": [CITATION],
        },
        "logprobs": [LOGPROBS],
        "usage": USAGE,
    },
    "embeddings": {
        "embeddings": {"float": [[0.5, 1]]},
        "meta": {"billed_units": {"input_tokens": 1, "image_tokens": 1}},
    },
    "rerank": {"id": "i", "results": [{"index": 0, "relevance_score": 0.5}], "meta": {"tokens": {"input_tokens": 1}}},
}
EVENTS: list[Document] = [
    {"type": "message-start", "id": "i", "delta": {"message": {"role": "assistant"}}},
    {"type": "content-start", "index": 0, "delta": {"message": {"content": {"type": "text", "text": ""}}}},
    {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "é"}}}, "logprobs": LOGPROBS},
    {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"thinking": "x"}}}},
    {"type": "content-end", "index": 0},
    {"type": "citation-start", "index": 0, "delta": {"message": {"citations": CITATION}}},
    {"type": "tool-plan-delta", "delta": {"message": {"tool_plan": "p"}}},
    {"type": "tool-call-start", "index": 0, "delta": {"message": {"tool_calls": CALL}}},
    {"type": "tool-call-delta", "index": 0, "delta": {"message": {"tool_calls": {"function": {"arguments": "{}"}}}}},
    {"type": "tool-call-end", "index": 0},
    {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": USAGE}},
]


def places(value: Any) -> list[list[Any]]:
    """The ways to everything inside `value`."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found: list[list[Any]] = []
    for name, held in inner:
        found.append([name])
        found += [[name, *rest] for rest in places(held)]
    return found


@st.composite
def spoilt(draw: st.DrawFn, whole: Any) -> Any:
    """`whole` with something in it taken away or replaced by anything."""
    value = copy.deepcopy(whole)
    for _ in range(draw(st.integers(1, 3))):
        ways = places(value)
        if not ways:
            return value
        *way, last = draw(st.sampled_from(ways))
        holder = value
        for step in way:
            holder = holder[step]
        if draw(st.booleans()):
            del holder[last]
        else:
            holder[last] = draw(JSON)
    return value


def make_ask(document: Any, operation: str = "chat", *, stream: bool = False) -> Ask:
    return Ask(operation, document, "theirs", "shown", "chatcmpl-x", 1, stream=stream)


def as_json(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:
        return repr(value).encode(errors="replace")


def as_events(events: list[Any]) -> bytes:
    return b"".join(b"data: " + as_json(event) + b"\n\n" for event in events) + b"data: [DONE]\n\n"


def only_gateway_errors(call: Any, *arguments: Any, **named: Any) -> Any:
    try:
        return call(*arguments, **named)
    except GatewayError as error:
        shown = error.body("id")
    assert orjson.loads(shown)
    return None


def read_stream(dialect: Dialect, ask: Ask, pieces: list[bytes]) -> tuple[Any, ...]:
    decoder = dialect.decoder(ask)
    chunks = [chunk for piece in pieces for chunk in decoder.feed(piece)]
    chunks += decoder.finish()
    if chunks:
        assert orjson.dumps(chunks)
    error = None if decoder.error is None else (decoder.error.code, decoder.error.message)
    return chunks, decoder.done, error, decoder.usage


@given(st.sampled_from(sorted(REQUESTS)).flatmap(lambda name: st.tuples(st.just(name), spoilt(REQUESTS[name]))))
def test_no_request_raises_anything_else(case: tuple[str, Any]) -> None:
    operation, document = case
    before = copy.deepcopy(document)
    encoded = only_gateway_errors(COHERE.encode, make_ask(document, operation))
    if encoded is not None:
        assert orjson.loads(encoded.body)
    assert repr(document) == repr(before)


@given(st.sampled_from(sorted(ANSWERS)).flatmap(lambda name: st.tuples(st.just(name), spoilt(ANSWERS[name]))), JSON)
def test_no_answer_raises_anything_else(case: tuple[str, Any], tools: Any) -> None:
    operation, answer = case
    document = {**REQUESTS[operation], "tools": tools}
    decoded = only_gateway_errors(COHERE.decode, make_ask(document, operation), as_json(answer))
    if decoded is not None:
        assert orjson.dumps(decoded[0])


@given(st.binary(max_size=40) | JSON.map(as_json), st.sampled_from(["chat", "embeddings", "rerank"]))
def test_no_bytes_raise_anything_else(body: bytes, operation: str) -> None:
    only_gateway_errors(COHERE.decode, make_ask(REQUESTS[operation], operation), body)
    only_gateway_errors(COHERE.read_models, body)
    for status in (400, 401, 404, 429, 498, 500, 529):
        assert COHERE.read_error("p", status, body).body("id")


@given(spoilt(EVENTS), st.data())
@settings(max_examples=150)
def test_any_split_of_a_stream_gives_the_same_and_nothing_raises(events: Any, data: st.DataObject) -> None:
    stream = as_events(events)
    ask = make_ask(REQUEST, stream=True)
    whole = read_stream(COHERE, ask, [stream])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert read_stream(COHERE, ask, pieces) == whole
    assert read_stream(COHERE, ask, [stream[at : at + 1] for at in range(len(stream))]) == whole


@given(st.binary(max_size=60))
def test_no_stream_of_bytes_raises(stream: bytes) -> None:
    read_stream(COHERE, make_ask(REQUEST, stream=True), [stream, b"\n\n"])


def test_deep_nesting_is_refused_or_survived() -> None:
    deep: Any = {}
    for _ in range(400):
        deep = {"a": deep}
    for document in (
        {**REQUEST, "documents": deep},
        {**REQUEST, "tools": [{"function": {"name": "f", "parameters": deep}}]},
    ):
        with pytest.raises(GatewayError):
            COHERE.encode(make_ask(document))
    body = b'{"results":[],"meta":' + b'{"a":' * 400 + b"1" + b"}" * 400 + b"}"
    with pytest.raises(GatewayError):
        COHERE.decode(make_ask(RERANK, "rerank"), body)
