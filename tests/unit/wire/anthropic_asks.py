"""Requests for Anthropic's dialect, and what becomes of them: for the tests beside this file."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.errors import GatewayError
from gateway.wire.anthropic import DIALECT
from gateway.wire.dialect import Ask

HELLO = [{"role": "user", "content": "Hello"}]
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
THOUGHT = {"type": "reasoning.text", "text": "Hm.", "signature": "c2ln", "format": "anthropic-claude-v1", "index": 0}
OLD, BUDGET, FOUR_SIX, ADAPTIVE = "claude-3-haiku-20240307", "claude-haiku-4-5", "claude-sonnet-4-6", "claude-opus-4-8"
FIVE, ALWAYS, BETWEEN = "claude-opus-5", "claude-opus-5-5", "claude-sonnet-5-5"


def make_ask(model: str = BUDGET, policy: dict[str, str] | None = None, **document: Any) -> Ask:
    request = {"model": "shown", "messages": HELLO, **document}
    return Ask("chat", request, model, "shown", "chatcmpl-0123456789ab", 1, policy=policy or {})


def sent(model: str = BUDGET, policy: dict[str, str] | None = None, **document: Any) -> dict[str, Any]:
    """The body that goes out, with the dropped fields under `dropped`."""
    ask = make_ask(model, policy, **document)
    before = orjson.dumps(ask.document)
    encoded = DIALECT.encode(ask)
    assert encoded.path == "/messages"
    assert orjson.dumps(ask.document) == before, "the request was changed"
    return {**orjson.loads(encoded.body), "dropped": list(encoded.dropped)}


def refused(model: str = BUDGET, **document: Any) -> tuple[str, str | None]:
    with pytest.raises(GatewayError) as caught:
        DIALECT.encode(make_ask(model, **document))
    return caught.value.code, caught.value.param


def answer(blocks: list[Any], stop: str = "end_turn", **document: Any) -> dict[str, Any]:
    body = {"id": "msg_1", "type": "message", "role": "assistant", "content": blocks, "stop_reason": stop}
    decoded, _ = DIALECT.decode(make_ask(**document), orjson.dumps(body))
    choice: dict[str, Any] = decoded["choices"][0]
    return choice


def wanting(schema: dict[str, Any]) -> dict[str, Any]:
    """A response_format of this schema."""
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
