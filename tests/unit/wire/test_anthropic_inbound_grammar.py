"""The grammar of Anthropic's event stream as the recordings show it, and a strict reader that holds a stream to it.

`read_stream` takes the bytes of a stream and gives the message they make; it fails on the first event that stands
where none such may stand. Here it is held against the recordings; the tests of the encoder hold the encoder's output
against it.
"""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.wire_data import needs_recordings, place, recorded

STOP_REASONS = {
    "end_turn",
    "max_tokens",
    "stop_sequence",
    "tool_use",
    "pause_turn",
    "refusal",
    "model_context_window_exceeded",
}
# The deltas that a block of each type may have, and the field each adds to.
DELTAS: dict[str, dict[str, str]] = {
    "text": {"text_delta": "text", "citations_delta": "citation"},
    "thinking": {"thinking_delta": "thinking", "signature_delta": "signature"},
    "redacted_thinking": {},
    "tool_use": {"input_json_delta": "partial_json"},
    "server_tool_use": {"input_json_delta": "partial_json"},
    "mcp_tool_use": {"input_json_delta": "partial_json"},
}


class GrammarError(AssertionError):
    """An event that may not stand where it does."""


def demand(holds: object, why: str) -> None:
    if not holds:
        raise GrammarError(why)


def cut(stream: bytes) -> list[dict[str, Any]]:
    """The events, each exactly one line `event:` and one line `data:`, which agree on the type."""
    demand(stream.endswith(b"\n\n"), "the stream does not end with an empty line")
    events = []
    for text in stream.rstrip(b"\n").split(b"\n\n"):
        lines = text.strip(b"\n").split(b"\n")
        demand(len(lines) == 2, f"{len(lines)} lines")
        name, data = lines
        demand(name.startswith(b"event: ") and data.startswith(b"data: "), "no event and data lines")
        document = orjson.loads(data[6:])
        demand(document["type"] == name[7:].decode(), "event and type differ")
        events.append(document)
    return events


class Reader:
    """Follows one stream."""

    def __init__(self) -> None:
        self.message: dict[str, Any] | None = None
        self.block: dict[str, Any] | None = None
        self.pieces: list[str] = []
        self.signed = False
        self.ended = ""

    def read(self, event: dict[str, Any]) -> None:
        kind = event["type"]
        if kind == "message_start":
            self.start(event["message"])
            return
        demand(self.message is not None, f"{kind} before message_start")
        demand(self.ended != "message_stop", f"{kind} behind message_stop")
        if kind == "ping":
            demand(set(event) == {"type"}, "a ping with content")
            return
        if self.ended:
            demand(kind == "message_stop", f"{kind} behind message_delta")
        steps = {
            "content_block_start": self.start_block,
            "content_block_delta": self.delta,
            "content_block_stop": self.stop_block,
            "message_delta": self.end,
            "message_stop": self.stop,
        }
        demand(kind in steps, f"unknown event {kind}")
        steps[kind](event)

    def start(self, message: dict[str, Any]) -> None:
        demand(self.message is None, "message_start twice")
        demand(message["type"] == "message" and message["role"] == "assistant", "no message of the assistant")
        demand(isinstance(message["id"], str) and message["id"] and isinstance(message["model"], str), "no id, model")
        demand(message["content"] == [] and message["stop_reason"] is None, "a start that is not empty")
        demand(message["stop_sequence"] is None, "a start with a stop_sequence")
        self.count(message["usage"], "input_tokens", "output_tokens")
        self.message = message

    def count(self, usage: dict[str, Any], *names: str) -> None:
        demand(all(type(usage[name]) is int and usage[name] >= 0 for name in names), "usage without counts")

    def start_block(self, event: dict[str, Any]) -> None:
        assert self.message is not None
        demand(self.block is None, "a block inside a block")
        demand(event["index"] == len(self.message["content"]), f"index {event['index']} out of turn")
        block = event["content_block"]
        kind = block["type"]
        demand(kind in DELTAS or kind.endswith("_tool_result"), f"unknown block {kind}")
        if kind == "text":
            demand(block["text"] == "" and block.get("citations", []) == [], "a text that begins with content")
        elif kind == "thinking":
            demand(block["thinking"] == "" and block["signature"] == "", "thinking that begins with content")
        elif kind == "redacted_thinking":
            demand(isinstance(block["data"], str) and block["data"], "redacted thinking without data")
        elif kind.endswith("_tool_use") or kind == "tool_use":
            demand(block["input"] == {} and block["id"] and block["name"], "a call without id, name or empty input")
        self.message["content"].append(block)
        self.block, self.pieces, self.signed = block, [], False

    def delta(self, event: dict[str, Any]) -> None:
        assert self.message is not None
        demand(self.block is not None, "a delta outside a block")
        assert self.block is not None
        demand(event["index"] == len(self.message["content"]) - 1, "a delta for another block")
        delta = event["delta"]
        allowed = DELTAS.get(self.block["type"], {})
        demand(delta["type"] in allowed, f"{delta['type']} in {self.block['type']}")
        field = allowed[delta["type"]]
        demand(set(delta) == {"type", field}, "a delta with other fields")
        value = delta[field]
        demand(not self.signed, "a delta behind the signature")
        if field == "citation":
            demand(isinstance(value, dict) and isinstance(value["type"], str), "no citation")
            self.block.setdefault("citations", []).append(value)
            return
        demand(isinstance(value, str), "a delta that is no text")
        if field == "partial_json":
            self.pieces.append(value)
        else:
            self.block[field] += value
            self.signed = field == "signature"

    def stop_block(self, event: dict[str, Any]) -> None:
        assert self.message is not None
        demand(self.block is not None, "a stop outside a block")
        assert self.block is not None
        demand(event["index"] == len(self.message["content"]) - 1, "a stop for another block")
        if "".join(self.pieces):
            try:
                self.block["input"] = orjson.loads("".join(self.pieces))
            except orjson.JSONDecodeError:
                self.block["input"] = None  # looked at once the stop_reason is known
        self.block = None

    def end(self, event: dict[str, Any]) -> None:
        assert self.message is not None
        demand(self.block is None, "message_delta inside a block")
        demand({"stop_reason", "stop_sequence"} <= set(event["delta"]), "no stop_reason, stop_sequence")
        demand(event["delta"]["stop_reason"] in STOP_REASONS, f"stop_reason {event['delta']['stop_reason']}")
        self.count(event["usage"], "output_tokens")
        self.message.update(event["delta"])
        self.message["usage"] = {**self.message["usage"], **event["usage"]}
        if event["delta"]["stop_reason"] not in ("max_tokens", "model_context_window_exceeded"):
            for block in self.message["content"]:
                demand(isinstance(block.get("input", {}), dict), "arguments that are no object")
        self.ended = "message_delta"

    def stop(self, event: dict[str, Any]) -> None:
        demand(self.ended == "message_delta", "message_stop without message_delta")
        demand(set(event) == {"type"}, "a message_stop with content")
        self.ended = "message_stop"


def read_stream(stream: bytes, *, whole: bool = True) -> dict[str, Any]:
    """The message that the events make. Raises GrammarError; `whole` demands the end too."""
    reader = Reader()
    for event in cut(stream):
        reader.read(event)
    demand(not whole or reader.ended == "message_stop", "no message_stop")
    assert reader.message is not None
    return reader.message


def recorded_streams() -> list[dict[str, Any]]:
    return [
        row
        for row in recorded("anthropic")
        if row["path"] == "/v1/messages" and row["status"] == 200 and isinstance(row["response"], str)
    ]


@needs_recordings
def test_every_recorded_stream_follows_the_grammar() -> None:
    rows = recorded_streams()
    assert len(rows) == 50
    blocks = 0
    for row in rows:
        try:
            message = read_stream(row["response"].encode())
        except GrammarError as error:
            pytest.fail(f"{place(row)}: {error}")
        blocks += len(message["content"])
    assert blocks == 138


def good() -> list[dict[str, Any]]:
    usage = {"input_tokens": 1, "output_tokens": 0}
    message = {"id": "m", "type": "message", "role": "assistant", "model": "x", "content": [], "usage": usage}
    return [
        {"type": "message_start", "message": {**message, "stop_reason": None, "stop_sequence": None}},
        {"type": "ping"},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": 1},
        },
        {"type": "message_stop"},
    ]


def written(events: list[dict[str, Any]]) -> bytes:
    return b"".join(b"event: %b\ndata: %b\n\n" % (event["type"].encode(), orjson.dumps(event)) for event in events)


def test_the_reader_gives_the_message_of_a_good_stream() -> None:
    message = read_stream(written(good()))
    assert message["content"] == [{"type": "text", "text": "Hi"}]
    assert message["stop_reason"] == "end_turn"


@pytest.mark.parametrize("left_out", [0, 2, 4, 5, 6])
def test_the_reader_misses_every_event_that_has_to_be_there(left_out: int) -> None:
    events = good()
    del events[left_out]
    with pytest.raises(GrammarError):
        read_stream(written(events))


@pytest.mark.parametrize("twice", [0, 2, 4, 5, 6])
def test_the_reader_refuses_what_comes_twice(twice: int) -> None:
    events = good()
    events.insert(twice, events[twice])
    with pytest.raises(GrammarError):
        read_stream(written(events))


def test_the_reader_refuses_an_index_out_of_turn_and_a_delta_of_another_kind() -> None:
    events = good()
    events[2] = {**events[2], "index": 1}
    with pytest.raises(GrammarError):
        read_stream(written(events))
    events = good()
    events[3] = {**events[3], "delta": {"type": "thinking_delta", "thinking": "Hm"}}
    with pytest.raises(GrammarError):
        read_stream(written(events))
