"""OpenAI's format as a dialect, given anything at all."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.wire.openai_dialect import OpenAIDialect
from tests.unit.wire.test_openai_dialect import DIALECT, ask, chat
from tests.wire_data import splits

# Any JSON, and what no JSON text can hold but a Python value may.
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


_MESSAGE = st.dictionaries(
    st.sampled_from(["role", "content", "tool_calls", "function_call", "cache_control", "name", "reasoning_content"]),
    st.sampled_from(["user", "tool", "assistant", "function"]) | ANYTHING,
)
_FIELDS = ["messages", "tools", "functions", "function_call", "thinking", "top_k", "stream_options", "max_tokens", "n"]


@given(st.fixed_dictionaries({}, optional={name: st.lists(_MESSAGE, max_size=3) | ANYTHING for name in _FIELDS}))
def test_no_request_raises_anything_but_a_gateway_error(document: dict[str, Any]) -> None:
    for model in ("gpt-4.1", "o3"):
        try:
            DIALECT.encode(ask(document, model=model, stream=True))
        except GatewayError:
            pass


_CALL = st.dictionaries(st.sampled_from(["id", "index", "type", "function", "custom"]), ANYTHING)
_SAID = st.dictionaries(
    st.sampled_from(["role", "content", "tool_calls", "function_call", "reasoning", "audio"]),
    ANYTHING | st.lists(_CALL, max_size=3) | _CALL,
)
_CHOICE = st.dictionaries(st.sampled_from(["index", "delta", "message", "finish_reason", "logprobs"]), ANYTHING | _SAID)
_ANSWER = st.dictionaries(
    st.sampled_from(["id", "created", "choices", "usage", "error", "citations", "search_results", "data", "x_groq"]),
    ANYTHING | st.lists(_CHOICE, max_size=3),
)


def dumped(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:
        return b"{}"


@given(_ANSWER | ANYTHING, st.sampled_from(["chat", "embeddings"]))
def test_no_answer_raises_anything_but_a_gateway_error(document: Any, operation: str) -> None:
    for asked in ({"input": "a"}, {"input": "a", "encoding_format": "base64"}):
        try:
            answer, _ = DIALECT.decode(ask(asked, operation), dumped(document))
        except GatewayError:
            continue
        orjson.dumps(answer)


@given(st.lists(_ANSWER.map(dumped) | st.binary(max_size=20), max_size=5), st.integers())
def test_no_stream_raises_and_any_split_gives_the_same_chunks(payloads: list[bytes], seed: int) -> None:
    data = b"".join(b"data:" + payload + b"\n\n" for payload in payloads)
    seen = []
    for pieces in splits(data, seed):
        decoder = OpenAIDialect(marked=False).decoder(ask(chat(), stream=True))
        chunks = [found for piece in pieces for found in decoder.feed(piece)] + decoder.finish()
        orjson.dumps(chunks)
        seen.append((chunks, decoder.done, decoder.usage, decoder.error and decoder.error.code))
    assert all(found == seen[0] for found in seen)


@given(st.binary(max_size=60) | ANYTHING.map(dumped), st.integers(300, 599))
def test_no_error_or_list_of_models_raises_anything_but_a_gateway_error(body: bytes, status: int) -> None:
    assert isinstance(DIALECT.read_error("p", status, body), GatewayError)
    try:
        DIALECT.read_models(body)
    except GatewayError:
        pass
