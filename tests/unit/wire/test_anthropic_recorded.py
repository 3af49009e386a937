"""Recorded traffic with Anthropic's Messages API, replayed; skipped where the recordings are not there."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.wire.anthropic import DIALECT
from gateway.wire.anthropic_tap import MessagesTap, read_messages_answer
from gateway.wire.dialect import Ask
from gateway.wire.usage import Usage
from tests.wire_data import body_of, needs_recordings, place, recorded, splits

pytestmark = needs_recordings

ROWS = recorded("anthropic")
WORDS = {"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "tool_use": "tool_calls"}
# The code by which an error is to be known: its status, and its type in Anthropic's words.
ERRORS = {(404, "not_found_error"): "upstream_4xx", (400, "invalid_request_error"): "upstream_4xx"}


def reason(row: dict[str, Any]) -> str | None:
    """Why a recording is no chat of the Messages API; None where it is."""
    path = row["path"]
    if path.startswith("/v1/files"):
        return "the Files API holds files and answers nothing"
    if path.endswith("/count_tokens"):
        return "counts tokens and answers nothing"
    if path == "/v1/complete":
        return "the Text Completions API, which Anthropic has switched off"
    return None


SKIPPED = {place(row): why for row in ROWS if (why := reason(row)) is not None}
CHATS = [row for row in ROWS if place(row) not in SKIPPED]
WHOLE = [row for row in CHATS if row["status"] == 200 and isinstance(row["response"], dict)]
STREAMS = [row for row in CHATS if row["status"] == 200 and isinstance(row["response"], str)]
FAILED = [row for row in CHATS if row["status"] != 200]


def ask_for(row: dict[str, Any]) -> Ask:
    """As for a client that asked for an alias; of the request only that it was one matters to an answer."""
    return Ask("chat", {"messages": []}, row["request"]["model"], "alias", "chatcmpl-0", 0, stream=row["stream"])


def said(blocks: list[dict[str, Any]]) -> tuple[str, list[Any], str, list[str]]:
    """The text, the calls, the thinking and what seals it, of content blocks as recorded."""
    return (
        "".join(block["text"] for block in blocks if block["type"] == "text"),
        [(block["id"], block["name"], block["input"]) for block in blocks if block["type"] == "tool_use"],
        "".join(block["thinking"] for block in blocks if block["type"] == "thinking"),
        [block.get("signature") or block.get("data") for block in blocks if "thinking" in block["type"]],
    )


def counted(usage: dict[str, Any]) -> Usage:
    cached = usage.get("cache_read_input_tokens") or 0
    written = usage.get("cache_creation_input_tokens") or 0
    return Usage(
        prompt=usage["input_tokens"] + cached + written,
        completion=usage["output_tokens"],
        cached=cached,
        cache_write=written,
        reasoning=(usage.get("output_tokens_details") or {}).get("thinking_tokens", 0),
    )


def events_of(stream: str) -> list[dict[str, Any]]:
    return [orjson.loads(line[5:]) for line in stream.splitlines() if line.startswith("data:")]


def gathered(events: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], str, dict[str, Any]]:
    """The blocks that a recorded stream adds up to, its stop reason, and its last word on usage."""
    blocks: dict[int, dict[str, Any]] = {}
    usage: dict[str, Any] = {}
    stop = ""
    for event in events:
        if event["type"] == "message_start":
            usage = {**event["message"]["usage"]}
        elif event["type"] == "content_block_start":
            blocks[event["index"]] = {**event["content_block"], "json": "", "citations": []}
        elif event["type"] == "content_block_delta":
            block, delta = blocks[event["index"]], event["delta"]
            for name in ("text", "thinking", "signature"):
                if name in delta:
                    block[name] = block.get(name, "") + delta[name]
            block["json"] += delta.get("partial_json", "")
            if "citation" in delta:
                block["citations"].append(delta["citation"])
        elif event["type"] == "message_delta":
            usage |= event["usage"]
            stop = event["delta"]["stop_reason"]
    for block in blocks.values():
        if block["type"] == "tool_use":
            block["input"] = orjson.loads(block["json"] or "{}")
    return list(blocks.values()), stop, usage


def joined(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    """The message that a client puts together from chunks."""
    message: dict[str, Any] = {"content": "", "reasoning_content": "", "calls": {}, "seals": {}, "annotations": []}
    for chunk in chunks:
        delta = chunk["choices"][0]["delta"]
        message["content"] += delta.get("content") or ""
        message["reasoning_content"] += delta.get("reasoning_content") or ""
        message["annotations"] += delta.get("annotations") or []
        for call in delta.get("tool_calls") or []:
            known = message["calls"].setdefault(call["index"], ["", "", ""])
            known[0] += call.get("id", "")
            known[1] += call["function"].get("name", "")
            known[2] += call["function"].get("arguments", "")
        for detail in delta.get("reasoning_details") or []:
            seal = detail.get("signature") or detail.get("data") or ""
            message["seals"][detail["index"]] = message["seals"].get(detail["index"], "") + seal
    return message


def test_every_recording_is_replayed_or_has_its_reason() -> None:
    skipped = [row for row in ROWS if place(row) in SKIPPED]
    assert (len(ROWS), len(WHOLE), len(STREAMS), len(FAILED)) == (171, 94, 50, 2)
    assert len(skipped) == 25
    assert len(WHOLE) + len(STREAMS) + len(FAILED) + len(skipped) == len(ROWS)
    assert {row["path"] for row in CHATS} == {"/v1/messages"}


@pytest.mark.shows("anthropic", "chat")
@pytest.mark.shows("anthropic", "tools")
@pytest.mark.shows("anthropic", "parallel tools")
@pytest.mark.shows("anthropic", "reasoning")
@pytest.mark.shows("anthropic", "usage")
@pytest.mark.shows("anthropic", "prompt caching")
@pytest.mark.parametrize("row", WHOLE, ids=place)
def test_a_recorded_answer_says_what_the_record_says(row: dict[str, Any]) -> None:
    record = row["response"]
    answer, usage = DIALECT.decode(ask_for(row), body_of(row))
    text, calls, thought, seals = said(record["content"])
    (choice,) = answer["choices"]
    message = choice["message"]
    assert (message["content"] or "") == text
    assert [
        (call["id"], call["function"]["name"], orjson.loads(call["function"]["arguments"]))
        for call in message.get("tool_calls", [])
    ] == calls
    assert message.get("reasoning_content", "") == thought
    assert [detail.get("signature") or detail.get("data") for detail in message.get("reasoning_details", [])] == seals
    assert choice["finish_reason"] == WORDS[record["stop_reason"]]
    assert choice["native_finish_reason"] == record["stop_reason"]
    assert (answer["id"], answer["model"]) == (record["id"], "alias")
    assert usage == counted(record["usage"])
    assert answer["usage"]["total_tokens"] == usage.prompt + usage.completion


@pytest.mark.shows("anthropic", "streaming")
@pytest.mark.shows("anthropic", "tools")
@pytest.mark.shows("anthropic", "reasoning")
@pytest.mark.shows("anthropic", "citations")
@pytest.mark.shows("anthropic", "usage")
@pytest.mark.parametrize("row", STREAMS, ids=place)
def test_a_recorded_stream_says_what_the_record_says_however_it_is_split(row: dict[str, Any]) -> None:
    data = body_of(row)
    events = events_of(row["response"])
    blocks, stop, used = gathered(events)
    text, calls, thought, seals = said(blocks)
    first: list[dict[str, Any]] = []
    for pieces in splits(data):
        decoder = DIALECT.decoder(ask_for(row))
        chunks = [chunk for piece in pieces for chunk in decoder.feed(piece)] + decoder.finish()
        assert (decoder.done, decoder.error) == (True, None)
        assert decoder.usage == counted(used)
        first = first or chunks
        assert chunks == first
    message = joined(first)
    assert message["content"] == text
    assert [(ident, name, orjson.loads(given)) for ident, name, given in message["calls"].values()] == calls
    assert message["reasoning_content"] == thought
    assert [message["seals"][index] for index in sorted(message["seals"])] == seals
    cited = [citation["url"] for block in blocks for citation in block["citations"]]
    assert [one["url_citation"]["url"] for one in message["annotations"]] == cited
    assert first[0]["choices"][0]["delta"]["role"] == "assistant"
    assert first[-1]["choices"][0]["finish_reason"] == WORDS[stop]
    assert {(chunk["id"], chunk["model"]) for chunk in first} == {(events[0]["message"]["id"], "alias")}


@pytest.mark.shows("anthropic", "streaming")
@pytest.mark.parametrize("row", STREAMS[::5], ids=place)
def test_the_first_event_gives_the_first_chunk_at_once(row: dict[str, Any]) -> None:
    event = row["response"].encode().partition(b"\n\n")[0] + b"\n\n"
    (chunk,) = DIALECT.decoder(ask_for(row)).feed(event)
    assert chunk["choices"][0]["delta"] == {"role": "assistant", "content": ""}


@pytest.mark.shows("anthropic", "errors")
@pytest.mark.parametrize("row", FAILED, ids=place)
def test_a_recorded_error_is_known_and_says_what_the_provider_said(row: dict[str, Any]) -> None:
    record = row["response"]["error"]
    error = DIALECT.read_error("anthropic", row["status"], body_of(row))
    assert error.code == ERRORS[row["status"], record["type"]]
    assert (error.status, error.message, error.shown_code) == (row["status"], record["message"], record["type"])


@pytest.mark.parametrize("row", STREAMS, ids=place)
def test_a_recorded_stream_passes_untouched_but_for_its_end(row: dict[str, Any]) -> None:
    data = body_of(row)
    used = gathered(events_of(row["response"]))[2]
    for pieces in splits(data):
        tap = MessagesTap(rename_to=None)
        passed = b"".join([tap.feed(piece) for piece in pieces])
        tap.finish()
        assert (tap.done, tap.error) == (True, None)
        assert tap.usage == counted(used)
        assert (passed + tap.ending).rstrip() == data.rstrip()
        assert b"message_stop" not in passed
        assert b"message_stop" in tap.ending


@pytest.mark.parametrize("row", WHOLE, ids=place)
def test_a_recorded_answer_passes_with_the_alias_for_the_model(row: dict[str, Any]) -> None:
    body, usage = read_messages_answer(body_of(row), "alias")
    assert orjson.loads(body) == {**row["response"], "model": "alias"}
    assert usage == counted(row["response"]["usage"])
