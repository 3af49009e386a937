"""Bedrock's dialect against whatever may come: requests, answers, streams and errors of any shape."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.wire.bedrock import DIALECT
from gateway.wire.dialect import Ask
from tests.servers.bedrock import converse_stream, event, frame
from tests.unit.wire.bedrock_asking import CLAUDE, LLAMA, NOVA, PROFILE, ask

LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=True),
    st.text(max_size=8),
    st.sampled_from(["\ud800", "text", "data:image/png;base64,AA", "auto", "required", "user", "1" * 5000]),
)
_WORDS = (
    "type text role content image_url url file file_data filename input_audio function name arguments id index format"
    " signature cache_control ttl json_schema schema budget_tokens toolUse reasoningContent citationsContent location"
    " documentPage documentIndex delta start contentBlockIndex usage inputTokens message output stopReason embedding"
)
KEYS = st.sampled_from(_WORDS.split())
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=12,
)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.one_of(st.sampled_from(["system", "developer", "user", "assistant", "tool", "function"]), LEAVES)},
        optional={
            "content": VALUES,
            "tool_calls": VALUES,
            "tool_call_id": LEAVES,
            "function_call": VALUES,
            "reasoning_details": st.one_of(
                VALUES,
                st.lists(
                    st.fixed_dictionaries(
                        {"type": st.just("reasoning.text"), "format": st.just("anthropic-claude-v1")},
                        optional={"index": LEAVES, "text": LEAVES, "signature": LEAVES, "data": LEAVES},
                    ),
                    max_size=3,
                ),
            ),
            "refusal": LEAVES,
            "cache_control": VALUES,
            "name": LEAVES,
        },
    ),
    max_size=4,
)
FIELDS = st.fixed_dictionaries(
    {"messages": st.one_of(MESSAGES, VALUES)},
    optional={
        name: VALUES
        for name in (
            "tools",
            "functions",
            "tool_choice",
            "function_call",
            "response_format",
            "thinking",
            "reasoning_effort",
            "stop",
            "max_tokens",
            "temperature",
            "top_k",
            "metadata",
            "service_tier",
            "guardrailConfig",
            "unknown",
        )
    },
)
MODELS = st.sampled_from(
    [CLAUDE, NOVA, LLAMA, PROFILE, "", "\ud800", "amazon.titan-embed-text-v2:0", "cohere.embed-v4:0"]
)


def chat(model: str, document: Any, *, operation: str = "chat", stream: bool = False) -> Ask:
    return Ask(operation, document, model, "shown", "chatcmpl-1", 1, stream=stream)


@settings(max_examples=200, deadline=None)
@given(model=MODELS, document=FIELDS, stream=st.booleans())
def test_no_request_raises_anything_but_a_gateway_error(model: str, document: dict[str, Any], stream: bool) -> None:
    with contextlib.suppress(GatewayError):
        encoded = DIALECT.encode(chat(model, document, stream=stream))
        assert isinstance(orjson.loads(encoded.body)["messages"], list)
        assert encoded.path.isascii()


@settings(max_examples=200, deadline=None)
@given(
    model=MODELS,
    document=st.dictionaries(st.sampled_from(["input", "dimensions", "encoding_format", "truncate"]), VALUES),
)
def test_no_embeddings_request_raises_anything_but_a_gateway_error(model: str, document: dict[str, Any]) -> None:
    with contextlib.suppress(GatewayError):
        DIALECT.encode(chat(model, document, operation="embeddings"))


def written(value: object) -> bytes:
    with contextlib.suppress(orjson.JSONEncodeError):
        return orjson.dumps(value)
    return b"null"


BLOCKS = st.lists(
    st.dictionaries(
        st.sampled_from(["text", "toolUse", "reasoningContent", "citationsContent", "image"]), VALUES, max_size=2
    ),
    max_size=4,
)
ANSWERS = st.one_of(
    VALUES,
    st.fixed_dictionaries(
        {"output": st.one_of(VALUES, st.fixed_dictionaries({"message": st.fixed_dictionaries({"content": BLOCKS})}))},
        optional={"usage": VALUES, "stopReason": VALUES},
    ),
).map(written)


@settings(max_examples=200, deadline=None)
@given(
    body=st.one_of(ANSWERS, st.binary(max_size=40)),
    document=FIELDS,
    operation=st.sampled_from(["chat", "embeddings"]),
    status=st.integers(0, 999),
)
def test_no_answer_or_error_raises_anything_but_a_gateway_error(
    body: bytes, document: dict[str, Any], operation: str, status: int
) -> None:
    with contextlib.suppress(GatewayError):
        answer, _ = DIALECT.decode(chat(CLAUDE, document, operation=operation), body)
        orjson.dumps(answer)
    with contextlib.suppress(GatewayError):
        DIALECT.read_models(body)
    assert isinstance(DIALECT.read_error("p", status, body).body(), bytes)


EVENTS = st.sampled_from(
    ["messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata", "other"]
)
FRAMES = st.one_of(
    st.builds(event, EVENTS, VALUES.filter(lambda value: written(value) != b"null")),
    st.builds(
        frame,
        st.dictionaries(
            st.sampled_from([":message-type", ":event-type", ":exception-type", ":error-code"]),
            st.sampled_from(["event", "exception", "error", "throttlingException", "messageStop"]),
        ),
        st.binary(max_size=20),
    ),
    st.sampled_from(converse_stream({"text": "Hello"})),
    st.binary(max_size=20),
)


@settings(max_examples=200, deadline=None)
@given(frames=st.lists(FRAMES, max_size=6), document=FIELDS, cuts=st.lists(st.integers(1, 60), max_size=12))
def test_no_stream_raises_and_any_split_gives_the_same_chunks(
    frames: list[bytes], document: dict[str, Any], cuts: list[int]
) -> None:
    data = b"".join(frames)
    asked = chat(CLAUDE, document, stream=True)
    whole = DIALECT.decoder(asked)
    expected = whole.feed(data) + whole.finish()
    split = DIALECT.decoder(asked)
    chunks, at = [], 0
    for size in [*cuts, len(data)]:
        chunks += split.feed(data[at : at + size])
        at += size
    chunks += split.finish()
    assert chunks == expected
    assert (split.done, split.usage, str(split.error)) == (whole.done, whole.usage, str(whole.error))
    orjson.dumps(chunks)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_frame_with_any_byte_changed_is_an_error_or_waited_for(data: st.DataObject) -> None:
    frames = bytearray(b"".join(converse_stream({"text": "Hello"})))
    at = data.draw(st.integers(0, len(frames) - 1))
    frames[at] ^= data.draw(st.integers(1, 255))
    decoder = DIALECT.decoder(ask(stream=True))
    decoder.feed(bytes(frames))
    decoder.finish()
    assert decoder.error is not None or not decoder.done
    assert decoder.error is None or decoder.error.code == "upstream_bad_answer"


def test_a_message_too_large_to_hold_is_an_error_at_once() -> None:
    decoder = DIALECT.decoder(ask(stream=True))
    decoder.feed((1 << 25).to_bytes(4, "big") + b"\0" * 8)
    assert decoder.error is not None
    assert decoder.error.code == "upstream_bad_answer"
    assert decoder.feed(b"more") == []


def test_nothing_is_read_after_the_end() -> None:
    decoder = DIALECT.decoder(ask(stream=True))
    pieces = converse_stream({"text": "Hello"})
    decoder.feed(b"".join(pieces))
    assert decoder.done
    assert decoder.feed(b"".join(pieces)) == []
    late = DIALECT.decoder(ask(stream=True))
    chunks = late.feed(b"".join([*pieces[:-1], *pieces[1:-2], pieces[-1]]))
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks][-1] == "stop"


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": "a"}] * 20_000,
        [{"role": "user", "content": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}]}] * 10_000,
        [{"role": "user", "content": [{"type": "file", "file": {"filename": "a.pdf", "file_data": "data:,x"}}]}]
        * 5_000,
        [
            {
                "role": "user",
                "content": [
                    {
                        "type": "file",
                        "file": {"filename": "a.pdf", "file_data": "data:,x"},
                        "cache_control": {"type": "ephemeral"},
                    }
                ]
                * 5_000,
            }
        ],
        [
            {
                "role": "assistant",
                "reasoning_details": [
                    {
                        "type": "reasoning.text",
                        "format": "anthropic-claude-v1",
                        "index": 0,
                        "text": "a",
                        "signature": "b",
                    }
                ]
                * 20_000,
            }
        ],
        [{"role": "tool", "tool_call_id": "t" * 70, "content": "a"}] * 10_000,
    ],
    ids=["turns", "cache marks", "documents", "marked documents", "thoughts", "results"],
)
@pytest.mark.parametrize("model", [CLAUDE, LLAMA])
def test_the_work_grows_with_the_request_and_not_with_its_square(model: str, messages: list[Any]) -> None:
    took = []
    for share in (4, 1):
        part = messages[: max(1, len(messages) // share)]
        began = time.process_time()
        DIALECT.encode(ask(model, messages=part))
        took.append(time.process_time() - began)
    assert took[1] < max(1.0, took[0] * 40)


def test_nesting_that_cannot_be_written_is_refused() -> None:
    deep: Any = {}
    for _ in range(400):
        deep = {"a": deep}
    tool = {"type": "function", "function": {"name": "f", "parameters": deep}}
    with pytest.raises(GatewayError) as raised:
        DIALECT.encode(ask(tools=[tool]))
    assert raised.value.code == "invalid_json"
