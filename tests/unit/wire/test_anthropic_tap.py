"""Anthropic's answers passed on as they are, with an eye on their usage."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.wire.anthropic_tap import MessagesTap, read_messages_answer, replace_message_model
from gateway.wire.usage import Usage
from tests.wire_data import splits


def event(kind: str, **fields: Any) -> bytes:
    return b"event: %s\ndata: " % kind.encode() + orjson.dumps({"type": kind, **fields}) + b"\n\n"


def text(piece: str) -> bytes:
    return event("content_block_delta", index=0, delta={"type": "text_delta", "text": piece})


START = event(
    "message_start", message={"model": "claude-x", "content": [], "usage": {"input_tokens": 5, "output_tokens": 1}}
)
END = event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 7})
STOP = event("message_stop")


@pytest.mark.shows("anthropic", "streaming")
def test_a_stream_passes_with_its_end_held_back() -> None:
    data = b": hello\n\n" + START + text("message_ and error") + END
    for pieces in splits(data + STOP + text("late")):
        tap = MessagesTap(rename_to=None)
        assert b"".join([tap.feed(piece) for piece in pieces]) == data
        assert (tap.done, tap.error, tap.ending) == (True, None, STOP)
        assert tap.usage == Usage(prompt=5, completion=7)


def test_nothing_leaves_before_the_first_event_that_has_data() -> None:
    tap = MessagesTap(rename_to=None)
    assert tap.feed(b": wait\n\n: wait\n\n") == b""
    assert tap.feed(START) == b": wait\n\n: wait\n\n" + START


def test_the_alias_stands_in_the_message_and_nowhere_else() -> None:
    start = event(
        "message_start", other={"model": "a"}, message={"x": {"model": "b"}, "model": "claude-x", "y": "model"}
    )
    tap = MessagesTap(rename_to='my "alias"')
    renamed = tap.feed(start + event("content_block_delta", message={"model": "message_"}))
    assert renamed.count(b"alias") == 1
    assert orjson.loads(renamed.splitlines()[1][6:])["message"]["model"] == 'my "alias"'
    for odd in (b"data: {}\n\n", b'data: {"message":["model","a"]}\n\n', b'data: {"message":{"model":3}}\n\n'):
        assert replace_message_model(odd, "alias") == odd


@pytest.mark.shows("anthropic", "errors")
@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"data: nonsense\n\n", "upstream_bad_answer"),
        (b": " + b"x" * 70_000 + b"\n\n", "upstream_bad_answer"),
        (START + b"event: error\ndata: {broken\n\n", "upstream_bad_answer"),
        (START + event("error", error={"type": "overloaded_error", "message": "Overloaded"}), "upstream_overloaded"),
        (event("error", error={"type": "rate_limit_error", "message": "slow"}), "upstream_429"),
    ],
)
def test_an_error_stops_the_stream_and_is_not_passed_on(data: bytes, code: str) -> None:
    tap = MessagesTap(rename_to=None)
    passed = tap.feed(data)
    assert tap.error is not None
    assert tap.error.code == code
    assert passed in (b"", START)
    assert tap.feed(text("x")) == b""
    tap.finish()
    assert not tap.done


def test_a_stream_cut_short_is_not_done_and_an_end_without_its_empty_line_is() -> None:
    tap = MessagesTap(rename_to=None)
    tap.feed(START + STOP[:20])
    tap.finish()
    assert (tap.done, tap.error, tap.ending) == (False, None, b"")
    tap = MessagesTap(rename_to=None)
    tap.feed(START + STOP[:-2])
    tap.finish()
    assert (tap.done, tap.ending) == (True, STOP)


def test_tokens_are_estimated_from_the_text_where_no_usage_came() -> None:
    tap = MessagesTap(rename_to=None)
    tap.feed(START)
    assert tap.estimate_completion_tokens() == 0
    tap.feed(text("a") + text("b"))
    assert tap.estimate_completion_tokens() == 2
    tap.feed(text("word " * 400))
    assert 400 <= tap.estimate_completion_tokens() <= 600
    assert 2002 <= tap.most_completion_tokens() <= 2400


@given(
    st.binary(max_size=80),
    st.lists(st.sampled_from([START, END, STOP, text("x"), b"\n\n", b"data: 1\n\n"]), max_size=4),
)
def test_no_bytes_make_the_tap_raise_and_every_split_passes_the_same(noise: bytes, events: list[bytes]) -> None:
    seen = []
    for pieces in splits(b"".join(events) + noise):
        tap = MessagesTap(rename_to="alias")
        passed = b"".join([tap.feed(piece) for piece in pieces])
        tap.finish()
        # Empty lines behind the last event are nobody's: whether they pass depends on the reads.
        seen.append(
            (passed.rstrip(b"\r\n"), tap.ending.lstrip(b"\r\n"), tap.done, tap.error and tap.error.message, tap.usage)
        )
    assert all(one == seen[0] for one in seen)


def test_a_whole_answer_passes_with_the_alias_in_place() -> None:
    body = (
        b'{ "id":"m", "model" : "claude-x", "content":[{"model":"c"}], "usage":{"input_tokens":2,"output_tokens":3} }'
    )
    assert read_messages_answer(body, None) == (body, Usage(prompt=2, completion=3))
    assert read_messages_answer(body, "alias")[0] == body.replace(b"claude-x", b"alias")
    assert read_messages_answer(b'{"content":[]}', "alias") == (b'{"content":[]}', None)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "upstream_bad_answer"),
        (b"[1]", "upstream_bad_answer"),
        (b'{"type":"error","error":{"type":"overloaded_error","message":"x"}}', "upstream_overloaded"),
        (b'{"error":{"type":"invalid_request_error","message":"prompt is too long"}}', "upstream_4xx"),
    ],
)
def test_what_is_no_answer_is_not_passed_on(body: bytes, code: str) -> None:
    with pytest.raises(GatewayError) as caught:
        read_messages_answer(body, None)
    assert caught.value.code == code
