"""Anthropic's streams as canonical chunks."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire import sse
from gateway.wire.anthropic import DIALECT
from gateway.wire.usage import Usage
from tests.unit.wire.anthropic_asks import make_ask
from tests.wire_data import splits

START: dict[str, Any] = {
    "type": "message_start",
    "message": {"id": "msg_1", "role": "assistant", "usage": {"input_tokens": 4, "output_tokens": 1}},
}
STOP = {"type": "message_stop"}
JSON = {"response_format": {"type": "json_object"}}


def began(index: int, kind: str, **block: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": {"type": kind, **block}}


def went_on(index: int, kind: str, **delta: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **delta}}


def ended(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def over(stop: str, **usage: int) -> dict[str, Any]:
    return {"type": "message_delta", "delta": {"stop_reason": stop}, "usage": usage}


def stream(*events: Any) -> bytes:
    return b"".join([b"data: " + orjson.dumps(event) + b"\n\n" for event in events])


def decoded(data: bytes, **document: Any) -> tuple[Any, list[Any]]:
    """The decoder after all of `data`, and the deltas it gave, the last one with its finish_reason."""
    decoder = DIALECT.decoder(make_ask(**document))
    chunks = decoder.feed(data) + decoder.finish()
    choices = [chunk["choices"][0] for chunk in chunks]
    return decoder, [
        choice["delta"] if choice["finish_reason"] is None else choice["finish_reason"] for choice in choices
    ]


@pytest.mark.shows("anthropic", "streaming")
def test_text_comes_piece_by_piece_and_usage_is_the_last_word() -> None:
    data = stream(
        START,
        {"type": "ping"},
        began(0, "text", text=""),
        went_on(0, "text_delta", text="a"),
        went_on(0, "text_delta", text="b"),
        ended(0),
        over("end_turn", output_tokens=9, input_tokens=6, cache_read_input_tokens=2),
        STOP,
    )
    decoder, deltas = decoded(data)
    assert deltas == [{"role": "assistant", "content": ""}, {"content": "a"}, {"content": "b"}, "stop"]
    assert (decoder.done, decoder.error) == (True, None)
    assert decoder.usage == Usage(prompt=8, completion=9, cached=2)
    assert decoder.feed(stream(went_on(0, "text_delta", text="c"))) == []


def test_a_stream_cut_short_is_neither_done_nor_an_error() -> None:
    whole = stream(START, began(0, "text", text=""), went_on(0, "text_delta", text="a"))
    for data in (b"", whole, whole + b'data: {"type":"content_bl', stream(START, over("end_turn"))):
        decoder, _ = decoded(data)
        assert (decoder.done, decoder.error) == (False, None)


def test_an_end_without_its_empty_line_is_an_end() -> None:
    decoder, deltas = decoded(stream(START, over("end_turn"), STOP).rstrip())
    assert decoder.done
    assert deltas[-1] == "stop"


def test_an_end_without_a_reason_is_an_end() -> None:
    decoder, deltas = decoded(stream(STOP))
    assert decoder.done
    assert deltas == [{"role": "assistant", "content": ""}, "stop"]


@pytest.mark.shows("anthropic", "errors")
@pytest.mark.parametrize(
    ("event", "code"),
    [
        (b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}', "upstream_overloaded"),
        (b'{"type":"error","error":{"type":"api_error","message":"x"}}', "upstream_5xx"),
        (b'{"type":"error","error":{"type":"rate_limit_error"}}', "upstream_429"),
        (b'{"error":"gone"}', "upstream_bad_answer"),
        (b"not json", "upstream_bad_answer"),
        (b"[]", "upstream_bad_answer"),
    ],
)
def test_an_error_in_the_stream_ends_it(event: bytes, code: str) -> None:
    decoder, _ = decoded(stream(START) + b"event: error\ndata: " + event + b"\n\n" + stream(STOP))
    assert decoder.error is not None
    assert (decoder.error.code, decoder.done) == (code, False)


def test_an_event_without_end_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 10)
    decoder, _ = decoded(b"data: " + b"x" * 20)
    assert decoder.error is not None


@pytest.mark.shows("anthropic", "structured output")
def test_text_before_a_json_answer_is_left_out_and_before_another_call_kept() -> None:
    text = [began(0, "text", text=""), went_on(0, "text_delta", text="Well."), ended(0)]
    answer = [
        began(1, "tool_use", id="t", name="json_answer", input={}),
        went_on(1, "input_json_delta", partial_json='{"a":1}'),
        ended(1),
    ]
    _, deltas = decoded(stream(START, *text, *answer, over("tool_use"), STOP), **JSON)
    assert deltas[1:] == [{"content": '{"a":1}'}, "stop"]
    _, deltas = decoded(stream(START, *text, over("end_turn"), STOP), **JSON)
    assert deltas[1:] == [{"content": "Well."}, "stop"]
    call = began(1, "tool_use", id="t", name="look", input={"x": 1})
    _, deltas = decoded(stream(START, *text, call, ended(1), over("tool_use"), STOP), **JSON)
    assert deltas[1] == {"content": "Well."}
    assert deltas[3]["tool_calls"][0]["function"] == {"arguments": '{"x":1}'}
    assert deltas[-1] == "tool_calls"


def test_a_second_json_answer_is_passed_over() -> None:
    answers = [
        event
        for index, text in enumerate(('{"a":1}', '{"a":2}'))
        for event in (
            began(index, "tool_use", id="t", name="json_answer", input={}),
            went_on(index, "input_json_delta", partial_json=text),
            ended(index),
        )
    ]
    _, deltas = decoded(stream(START, *answers, over("tool_use"), STOP), **JSON)
    assert deltas[1:] == [{"content": '{"a":1}'}, "stop"]


# --- hostile streams -----------------------------------------------------------------------------------

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=5,
)
INDEXES = st.integers(0, 2) | VALUES
KINDS = st.sampled_from(["text", "tool_use", "thinking", "redacted_thinking", "web_search_tool_result"]) | VALUES
DELTAS = st.sampled_from(["text_delta", "input_json_delta", "thinking_delta", "signature_delta", "citations_delta"])
TEXTS = st.text(max_size=5) | VALUES
EVENTS = st.one_of(
    st.just(START),
    st.just(STOP),
    st.fixed_dictionaries({"type": st.just("message_start"), "message": VALUES}),
    st.fixed_dictionaries(
        {
            "type": st.just("content_block_start"),
            "index": INDEXES,
            "content_block": VALUES
            | st.fixed_dictionaries(
                {"type": KINDS},
                optional={
                    **{name: TEXTS for name in ("id", "text", "thinking", "signature", "data", "input", "citations")},
                    "name": st.just("json_answer") | TEXTS,
                },
            ),
        }
    ),
    st.fixed_dictionaries(
        {
            "type": st.just("content_block_delta"),
            "index": INDEXES,
            "delta": VALUES
            | st.fixed_dictionaries(
                {"type": DELTAS},
                optional={name: TEXTS for name in ("text", "partial_json", "thinking", "signature", "citation")},
            ),
        }
    ),
    st.fixed_dictionaries({"type": st.just("content_block_stop"), "index": INDEXES}),
    st.fixed_dictionaries(
        {
            "type": st.just("message_delta"),
            "delta": VALUES | st.fixed_dictionaries({"stop_reason": TEXTS, "stop_details": VALUES}),
            "usage": VALUES | st.dictionaries(st.sampled_from(["input_tokens", "output_tokens"]), VALUES),
        }
    ),
    st.fixed_dictionaries({"type": st.just("error"), "error": VALUES}),
    VALUES,
)


@given(st.lists(EVENTS, max_size=8), st.booleans(), st.binary(max_size=20))
def test_no_stream_raises_and_every_split_gives_the_same(events: list[Any], as_json: bool, rest: bytes) -> None:
    data = stream(*events) + rest
    ask = make_ask(**(JSON if as_json else {}))
    seen = []
    for pieces in splits(data):
        decoder = DIALECT.decoder(ask)
        chunks = [chunk for piece in pieces for chunk in decoder.feed(piece)] + decoder.finish()
        error = decoder.error
        seen.append((orjson.dumps(chunks), decoder.done, error and error.message, decoder.usage))
        assert not chunks or chunks[0]["choices"][0]["delta"]["role"] == "assistant"
        assert not (decoder.done and error)
    assert all(one == seen[0] for one in seen)
