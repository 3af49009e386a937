"""Ollama's dialect, given anything at all."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.wire.ollama import DIALECT
from tests.unit.wire.test_ollama import NAMED, F, G, ask, chat
from tests.unit.wire.test_openai_dialect_hostile import ANYTHING, dumped
from tests.wire_data import splits

_CALL = st.dictionaries(st.sampled_from(["id", "index", "function", "custom"]), ANYTHING)
_MESSAGE = st.dictionaries(
    st.sampled_from(["role", "content", "tool_calls", "tool_call_id", "reasoning_content", "function_call"]),
    st.sampled_from(["user", "tool", "assistant", "function"]) | st.lists(_CALL, max_size=2) | ANYTHING,
)
_TOOL = st.sampled_from([F, G]) | ANYTHING
_FIELDS = {
    "messages": st.lists(_MESSAGE, max_size=3) | ANYTHING,
    "tools": st.lists(_TOOL, max_size=3) | ANYTHING,
    "tool_choice": st.sampled_from(["required", "auto", NAMED]) | ANYTHING,
    "input": ANYTHING,
    **{name: ANYTHING for name in ("thinking", "reasoning_effort", "response_format", "stop", "options", "truncate")},
}


@given(st.fixed_dictionaries({}, optional=_FIELDS), st.booleans())
def test_no_request_raises_anything_but_a_gateway_error(document: dict[str, Any], stream: bool) -> None:
    for operation in ("chat", "embeddings"):
        try:
            DIALECT.encode(ask(document, operation, stream=stream))
        except GatewayError:
            pass


_SAID = st.dictionaries(st.sampled_from(["content", "thinking", "tool_calls"]), ANYTHING | st.lists(_CALL, max_size=2))
_ANSWER = st.dictionaries(
    st.sampled_from(["message", "done", "done_reason", "created_at", "logprobs", "eval_count", "error", "embeddings"]),
    ANYTHING | _SAID | st.lists(_SAID, max_size=2),
)
_DOCUMENTS = st.sampled_from([chat(), chat(tools=[F], tool_choice=NAMED), chat(tools=[F, G], tool_choice="required")])


@given(_ANSWER | ANYTHING, st.sampled_from(["chat", "embeddings"]), _DOCUMENTS)
def test_no_answer_raises_anything_but_a_gateway_error(answer: Any, operation: str, document: dict[str, Any]) -> None:
    try:
        read, _ = DIALECT.decode(ask({**document, "encoding_format": "base64"}, operation), dumped(answer))
    except GatewayError:
        return
    orjson.dumps(read)


@given(st.lists(_ANSWER.map(dumped) | st.binary(max_size=20), max_size=5), st.integers(), _DOCUMENTS)
def test_no_stream_raises_and_any_split_gives_the_same_chunks(
    lines: list[bytes], seed: int, document: dict[str, Any]
) -> None:
    seen = []
    for pieces in splits(b"\n".join(lines), seed):
        decoder = DIALECT.decoder(ask(document, stream=True))
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
