"""Requests of any shape at all: the only failure is one that the client is told."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.wire.anthropic_inbound import INBOUND
from gateway.wire.anthropic_inbound_thinking import without_foreign_marks
from tests.unit.wire.test_anthropic_inbound import request

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KINDS = st.sampled_from(
    [
        "text",
        "image",
        "document",
        "tool_use",
        "tool_result",
        "thinking",
        "redacted_thinking",
        "search_result",
        "tool_reference",
        "server_tool_use",
        "other",
    ]
)
SOURCE = st.fixed_dictionaries(
    {"type": st.sampled_from(["base64", "url", "text", "content", "file"]) | JSON},
    optional={name: JSON | st.text(max_size=8) for name in ("media_type", "data", "url", "content")},
)
BLOCK = st.fixed_dictionaries(
    {"type": KINDS | JSON},
    optional={
        **{
            name: st.text(max_size=8) | JSON
            for name in ("text", "id", "name", "tool_use_id", "thinking", "signature", "data", "title", "cache_control")
        },
        "input": JSON,
        "source": SOURCE | JSON,
        "content": st.lists(st.fixed_dictionaries({"type": KINDS, "text": st.text(max_size=4)}), max_size=2) | JSON,
    },
)
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system"]) | st.text(max_size=4)},
    optional={"content": st.lists(BLOCK | JSON, max_size=3) | st.text(max_size=8) | JSON},
)
FIELDS = (
    "cache_control",
    "metadata",
    "output_config",
    "output_format",
    "service_tier",
    "stop_sequences",
    "system",
    "temperature",
    "thinking",
    "tool_choice",
    "tools",
    "top_k",
    "container",
)


@given(st.lists(MESSAGE, min_size=1, max_size=3), st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=3))
def test_no_request_raises_anything_but_a_gateway_error(messages: Any, more: Any) -> None:
    try:
        read = INBOUND.read_request(orjson.dumps(request(messages, **more)))
    except (GatewayError, orjson.JSONEncodeError):
        return
    without_foreign_marks(read)
    with suppress(GatewayError):
        orjson.dumps(INBOUND.canonical(read))


@given(st.binary(max_size=60) | JSON.map(lambda value: repr(value).encode("utf-8", "replace")))
def test_no_body_raises_anything_but_a_gateway_error(body: bytes) -> None:
    with pytest.raises(GatewayError):
        INBOUND.read_request(body)
