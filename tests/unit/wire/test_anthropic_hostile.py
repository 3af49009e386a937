"""Nothing that a client or an upstream sends makes Anthropic's dialect raise anything but a GatewayError."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.wire.anthropic import DIALECT
from gateway.wire.dialect import Ask
from tests.unit.wire.anthropic_asks import (
    ADAPTIVE,
    ALWAYS,
    BETWEEN,
    BUDGET,
    CALL,
    FIVE,
    FOUR_SIX,
    HELLO,
    OLD,
    THOUGHT,
    TOOL,
    make_ask,
    refused,
    wanting,
)


def attempt(function: Callable[..., Any], *given_: object) -> tuple[Any, GatewayError | None]:
    """What the function gives, and the error that it raises; any other exception is the test's failure."""
    try:
        return function(*given_), None
    except GatewayError as error:
        return None, error


def dumped(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return b"{}"


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
WORDS = st.sampled_from(
    ["text", "image_url", "file", "function", "refusal", "tool", "json_schema", "json_object", "enabled", "object"]
)


def some(*names: str) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with some of these fields, holding anything, or something like what belongs there."""
    return st.fixed_dictionaries({}, optional={name: VALUES | WORDS for name in names})


PARTS = VALUES | some("type", "text", "image_url", "file", "cache_control", "file_url", "refusal")
CALLS = VALUES | some("id", "type", "function") | st.just(CALL)
DETAILS = VALUES | some("type", "text", "signature", "data", "index", "id", "format") | st.just(THOUGHT)
MESSAGES = VALUES | st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "tool", "system", "function"]) | VALUES},
    optional={
        "content": VALUES | st.lists(PARTS, max_size=3),
        "tool_calls": VALUES | st.lists(CALLS, max_size=2),
        "tool_call_id": VALUES,
        "name": VALUES,
        "function_call": VALUES | some("name", "arguments"),
        "reasoning_details": VALUES | st.lists(DETAILS, max_size=3),
        "cache_control": VALUES,
        "refusal": VALUES,
    },
)
SCHEMAS = VALUES | some("type", "properties", "items", "anyOf", "$ref", "$defs", "format", "additionalProperties")
FORMATS = VALUES | st.fixed_dictionaries(
    {"type": WORDS, "json_schema": VALUES | st.fixed_dictionaries({"schema": SCHEMAS})}
)
TOOLS = VALUES | st.fixed_dictionaries(
    {"type": st.just("function"), "function": st.fixed_dictionaries({"name": VALUES, "parameters": SCHEMAS})}
)
REQUESTS = st.fixed_dictionaries(
    {"messages": VALUES | st.lists(MESSAGES, max_size=4) | st.just(HELLO)},
    optional={
        "tools": VALUES | st.lists(TOOLS | st.just(TOOL), max_size=3),
        "functions": VALUES,
        "tool_choice": VALUES | some("type", "function", "allowed_tools"),
        "function_call": VALUES,
        "response_format": FORMATS,
        "thinking": VALUES | some("type", "budget_tokens", "display"),
        "output_config": VALUES,
        "web_search_options": VALUES | some("user_location"),
        **{
            name: VALUES
            for name in (
                *("temperature", "top_p", "top_k", "stop", "max_tokens", "max_completion_tokens", "reasoning_effort"),
                *("metadata", "user", "service_tier", "parallel_tool_calls", "n", "seed", "cache_control", "container"),
            )
        },
    },
)


@given(REQUESTS, st.sampled_from([OLD, BUDGET, FOUR_SIX, ADAPTIVE, FIVE, ALWAYS, BETWEEN]))
def test_no_request_raises_anything_but_a_gateway_error(document: dict[str, Any], model: str) -> None:
    ask = Ask("chat", {"model": "shown", **document}, model, "shown", "chatcmpl-0", 0)
    encoded, error = attempt(DIALECT.encode, ask)
    if error is not None:
        assert error.code in ("invalid_field", "unsupported_parameter")
        return
    turns = orjson.loads(encoded.body)["messages"]
    assert turns[0]["role"] == "user"
    assert all(one["role"] != other["role"] for one, other in itertools.pairwise(turns))


def test_lone_surrogates_and_deep_nesting_are_refused() -> None:
    deep: Any = {}
    for _ in range(300):
        deep = {"items": deep}
    for document in (
        {"messages": [{"role": "user", "content": "\ud800"}]},
        {"cache_control": deep},
        {"container": 2**70},
    ):
        assert refused(**document)[0] == "invalid_field"
    assert refused(OLD, response_format=wanting({"type": "object", "properties": deep}))[0] == "invalid_field"
    assert refused(BUDGET, response_format=wanting({"type": "object", "properties": deep}))[0] == "invalid_field"


BLOCKS = VALUES | st.fixed_dictionaries(
    {
        "type": VALUES | st.sampled_from(["text", "tool_use", "thinking", "redacted_thinking", "server_tool_use"]),
    },
    optional={
        name: VALUES | st.just("json_answer")
        for name in ("text", "id", "name", "input", "thinking", "signature", "data", "citations")
    },
)
ANSWERS = VALUES | st.fixed_dictionaries(
    {"content": VALUES | st.lists(BLOCKS, max_size=4)},
    optional={name: VALUES for name in ("id", "type", "stop_reason", "stop_details", "usage", "error")},
)


@given(st.binary(max_size=40) | ANSWERS.map(dumped), st.booleans())
def test_no_answer_raises_anything_but_a_gateway_error(body: bytes, as_json: bool) -> None:
    ask = make_ask(**({"response_format": {"type": "json_object"}} if as_json else {}))
    decoded, error = attempt(DIALECT.decode, ask, body)
    if error is None:
        orjson.dumps(decoded[0])
    else:
        assert error.code.startswith("upstream") or error.code in (
            "context_length_exceeded",
            "content_policy_violation",
        )


@given(st.binary(max_size=60) | st.dictionaries(st.sampled_from(["error", "message"]), VALUES).map(dumped))
def test_no_error_is_too_strange_to_be_read(body: bytes) -> None:
    for status in (400, 429, 500):
        assert isinstance(DIALECT.read_error("p", status, body), GatewayError)
    _, error = attempt(DIALECT.read_models, body)
    assert error is None or error.code == "upstream_bad_answer"
