"""Recorded traffic with Bedrock's runtime, replayed; skipped where the recordings are not there.

What must come out is read from the recording here: plain JSON paths, and botocore's own parser for the streams.
"""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import unquote

import orjson
import pytest
from botocore.eventstream import EventStreamBuffer

from gateway.wire.bedrock import DIALECT
from gateway.wire.dialect import Ask
from gateway.wire.usage import Usage
from tests.wire_data import body_of, needs_recordings, place, recorded, splits

pytestmark = needs_recordings

ROWS = recorded("bedrock")
# Chat and its errors, whole; what is skipped.
COUNTS = {"whole": 48, "streams": 18, "errors": 17, "skipped": 51}
REASONS = {
    "invoke": "InvokeModel with a model's own chat format, which is never asked for chat; no embeddings are recorded",
    "invoke-with-response-stream": "InvokeModel with a model's own chat format, which is never asked for chat",
    "count-tokens": "counts tokens and answers nothing",
    "apply": "applies a guardrail and answers nothing",
}
WORDS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_use": "tool_calls",
    "guardrail_intervened": "content_filter",
}


def operation(row: dict[str, Any]) -> str:
    return str(row["path"]).rpartition("/")[2]


CHATS = [row for row in ROWS if operation(row).startswith("converse") and row["status"] == 200]
WHOLE = [row for row in CHATS if operation(row) == "converse"]
STREAMS = [row for row in CHATS if operation(row) == "converse-stream"]
# An error reads the same whatever was asked.
FAILED = [row for row in ROWS if row["status"] != 200]
SKIPPED = {place(row): REASONS[operation(row)] for row in ROWS if row["status"] == 200 and operation(row) in REASONS}


def ask_for(row: dict[str, Any]) -> Ask:
    model = unquote(row["path"].split("/")[2])
    return Ask("chat", {"model": "alias", "messages": []}, model, "alias", "chatcmpl-0", 0)


def counted(usage: dict[str, Any]) -> Usage:
    cached, written = usage.get("cacheReadInputTokens", 0), usage.get("cacheWriteInputTokens", 0)
    return Usage(
        prompt=usage["inputTokens"] + cached + written,
        completion=usage["outputTokens"],
        cached=cached,
        cache_write=written,
    )


def events_of(row: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    buffer = EventStreamBuffer()
    buffer.add_data(base64.b64decode(row["response"]["base64"]))
    return [(event.headers[":event-type"], orjson.loads(event.payload)) for event in buffer]


def test_every_recording_is_replayed_or_has_a_reason() -> None:
    replayed = {place(row) for row in WHOLE + STREAMS + FAILED}
    assert len({place(row) for row in ROWS}) == len(ROWS)
    assert replayed | set(SKIPPED) == {place(row) for row in ROWS}
    assert not replayed & set(SKIPPED)
    assert {
        "whole": len(WHOLE),
        "streams": len(STREAMS),
        "errors": len(FAILED),
        "skipped": len(SKIPPED),
    } == COUNTS


@pytest.mark.shows("bedrock", "chat")
@pytest.mark.shows("bedrock", "tools")
@pytest.mark.shows("bedrock", "usage")
@pytest.mark.parametrize("row", WHOLE, ids=place)
def test_a_whole_answer_says_what_was_recorded(row: dict[str, Any]) -> None:
    answer, usage = DIALECT.decode(ask_for(row), body_of(row))
    theirs = row["response"]["output"]["message"]["content"]
    (choice,) = answer["choices"]
    message = choice["message"]
    assert (message["content"] or "") == "".join(block.get("text", "") for block in theirs)
    calls = [
        (call["id"], call["function"]["name"], orjson.loads(call["function"]["arguments"]))
        for call in message.get("tool_calls", [])
    ]
    assert calls == [
        (block["toolUse"]["toolUseId"], block["toolUse"]["name"], block["toolUse"]["input"])
        for block in theirs
        if "toolUse" in block and block["toolUse"].get("type") != "server_tool_use"
    ]
    thoughts = [block["reasoningContent"] for block in theirs if "reasoningContent" in block]
    assert message.get("reasoning_content", "") == "".join(
        thought.get("reasoningText", {}).get("text", "") for thought in thoughts
    )
    sealed = [
        base64.b64decode(thought["redactedContent"]).decode() for thought in thoughts if "redactedContent" in thought
    ]
    assert [detail["data"] for detail in message.get("reasoning_details", []) if "data" in detail] == sealed
    assert choice["finish_reason"] == WORDS[row["response"]["stopReason"]]
    assert choice["native_finish_reason"] == row["response"]["stopReason"]
    assert usage == counted(row["response"]["usage"])
    assert answer["model"] == "alias"


@pytest.mark.shows("bedrock", "streaming")
@pytest.mark.parametrize("row", STREAMS, ids=place)
def test_a_stream_says_what_was_recorded_however_it_is_split(row: dict[str, Any]) -> None:
    data = base64.b64decode(row["response"]["base64"])
    events = events_of(row)
    first: list[dict[str, Any]] | None = None
    for pieces in splits(data):
        decoder = DIALECT.decoder(ask_for(row))
        chunks = [chunk for piece in pieces for chunk in decoder.feed(piece)]
        chunks += decoder.finish()
        assert decoder.error is None
        assert decoder.done
        (metadata,) = (payload for kind, payload in events if kind == "metadata")
        assert decoder.usage == counted(metadata["usage"])
        first = first or chunks
        assert chunks == first
    assert first is not None
    check_chunks(first, events)


def check_chunks(chunks: list[dict[str, Any]], events: list[tuple[str, dict[str, Any]]]) -> None:
    choices = [chunk["choices"][0] for chunk in chunks]
    deltas = [choice["delta"] for choice in choices]
    theirs = [payload["delta"] for kind, payload in events if kind == "contentBlockDelta"]
    assert [index for index, delta in enumerate(deltas) if "role" in delta] == [0]
    assert "".join(delta.get("content", "") for delta in deltas) == "".join(delta.get("text", "") for delta in theirs)
    assert "".join(delta.get("reasoning_content", "") for delta in deltas) == "".join(
        delta.get("reasoningContent", {}).get("text", "") for delta in theirs
    )
    starts = {
        payload["contentBlockIndex"]: payload["start"]["toolUse"]
        for kind, payload in events
        if kind == "contentBlockStart" and payload["start"].get("toolUse", {}).get("type") != "server_tool_use"
        if "toolUse" in payload["start"]
    }
    expected = [
        (
            start["toolUseId"],
            start["name"],
            "".join(
                payload["delta"]["toolUse"]["input"]
                for kind, payload in events
                if kind == "contentBlockDelta" and payload["contentBlockIndex"] == block
            ),
        )
        for block, start in starts.items()
    ]
    pieces = [call for delta in deltas for call in delta.get("tool_calls", [])]
    begun = [call for call in pieces if "id" in call]
    assert [
        (
            call["id"],
            call["function"]["name"],
            "".join(piece["function"]["arguments"] for piece in pieces if piece["index"] == call["index"]),
        )
        for call in begun
    ] == expected
    (stop,) = (payload["stopReason"] for kind, payload in events if kind == "messageStop")
    assert [choice["finish_reason"] for choice in choices if choice["finish_reason"]] == [WORDS[stop]]


@pytest.mark.shows("bedrock", "errors")
@pytest.mark.parametrize("row", FAILED, ids=place)
def test_an_error_keeps_its_status_and_message(row: dict[str, Any]) -> None:
    error = DIALECT.read_error("bedrock", row["status"], body_of(row))
    assert (error.code, error.status, error.message) == ("upstream_4xx", 400, row["response"]["message"])
