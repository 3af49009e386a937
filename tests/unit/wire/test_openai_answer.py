"""Answers on their way through: whole ones and streams."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.wire.openai_answer import StreamTap, estimate_answer_tokens, read_answer
from gateway.wire.usage import Usage
from tests.unit.upstream.fakes import DONE, event, usage_event
from tests.unit.wire.test_sse import cuts


def tap(*, rename_to: str | None = None, withhold_usage: bool = True) -> StreamTap:
    return StreamTap(rename_to=rename_to, withhold_usage=withhold_usage)


def test_a_large_answers_usage_is_found_without_parsing_it() -> None:
    for where in ("first", "last", "middle"):
        usage = b'"usage": {"prompt_tokens":5,"completion_tokens":9,"completion_tokens_details":{"reasoning_tokens":2}}'
        filler = b'"a":"' + b'\\"usage\\":{\\"prompt_tokens\\":1}' * 4000 + b'"'
        other = b'"b":"' + b"y" * 100_000 + b'"'
        order = {"first": [usage, filler], "last": [filler, usage], "middle": [filler, usage, other]}[where]
        body, counts = read_answer(b"{" + b",".join(order) + b"}", None)
        assert counts == Usage(5, 9, reasoning=2), where
        orjson.loads(body)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "upstream_bad_answer"),
        (b"<html></html>", "upstream_bad_answer"),
        (b"[1]", "upstream_bad_answer"),
        (b"\x1f\x8b" + b"x" * 100_000, "upstream_bad_answer"),
        (b"<" + b"x" * 100_000, "upstream_bad_answer"),
        (b'{"error":{"message":"boom"}}', "upstream_bad_answer"),
        (b'{"error":"boom"}', "upstream_bad_answer"),
        (b'{"error":{"message":"slow down","code":429}}', "upstream_429"),
        (b'{"error":{"message":"m","code":"context_length_exceeded"},"choices":[]}', "context_length_exceeded"),
    ],
)
def test_what_is_no_answer_is_refused(body: bytes, code: str) -> None:
    with pytest.raises(GatewayError) as caught:
        read_answer(body, "alias")
    assert caught.value.code == code


def repeated(piece: bytes, size: int) -> bytes:
    """A large body of few random bytes, for Hypothesis draws no more than some thousand."""
    return (piece * (size // len(piece) + 1))[:size]


SMALL, LARGE = st.binary(max_size=300), st.builds(repeated, st.binary(min_size=1, max_size=300), st.just(70_000))


@given(SMALL | LARGE)
def test_no_bytes_raise_anything_but_a_gateway_error(body: bytes) -> None:
    estimate_answer_tokens(body)
    try:
        read_answer(body, "alias")
    except GatewayError:
        pass


def test_the_usage_chunk_is_withheld_only_from_who_did_not_ask() -> None:
    reads = [event(), usage_event(), DONE]
    quiet, asked = tap(), tap(withhold_usage=False)
    assert b"".join(map(quiet.feed, reads)) == event()
    assert b"".join(map(asked.feed, reads)) == event() + usage_event()
    assert quiet.usage == asked.usage == Usage(7, 3)
    assert quiet.done
    assert asked.done


def test_usage_in_the_last_content_chunk_is_read_and_shown() -> None:
    last = event("x", usage={"prompt_tokens": 4, "completion_tokens": 2, "total_tokens": 6})
    quiet = tap()
    assert quiet.feed(event() + last + DONE) == event() + last
    assert quiet.usage == Usage(4, 2)


def test_usage_one_level_down_is_read() -> None:
    quiet = tap()
    quiet.feed(event("x", x_vendor={"id": "1", "usage": {"prompt_tokens": 4, "completion_tokens": 2}}))
    assert quiet.usage == Usage(4, 2)


def test_an_empty_usage_and_text_that_looks_like_one_are_left_alone() -> None:
    for given_ in (event("x", usage=None), event('"usage":{"prompt_tokens":9} [DONE] "error"')):
        quiet = tap()
        assert quiet.feed(given_) == given_
        assert quiet.usage is None
        assert quiet.error is None
        assert not quiet.done


def test_comments_before_the_first_event_are_held_and_later_ones_pass() -> None:
    quiet = tap()
    assert quiet.feed(b": a\n\n") == b""
    assert quiet.feed(b"event: ping\n\n") == b""
    assert quiet.feed(event()) == b": a\n\nevent: ping\n\n" + event()
    assert quiet.feed(b": b\n\n") == b": b\n\n"


@pytest.mark.parametrize(
    ("read", "code"),
    [
        (b'data: {"error":{"message":"m"}}\n\n', "upstream_bad_answer"),
        (b'data: {"error":{"message":"m","code":"rate_limit_exceeded"}}\n\n', "upstream_429"),
        (b'data: {"error":{"message":"m","code":502},"choices":[{"finish_reason":"error"}]}\n\n', "upstream_5xx"),
        (b'event: error\ndata: {"message":"m"}\n\n', "upstream_bad_answer"),
        (b'event: error\r\ndata: {"error":{"message":"m","status_code":400}}\r\n\r\n', "upstream_4xx"),
        (b'data: {"error":\n\n', "upstream_bad_answer"),
    ],
)
def test_an_error_event_ends_a_stream_first_or_later(read: bytes, code: str) -> None:
    for before in (b"", event()):
        broken = tap()
        assert broken.feed(before) == before
        assert broken.feed(read) == b""
        assert broken.error is not None
        assert broken.error.code == (code if before or b"message" in read else "upstream_bad_answer")
        assert broken.feed(event()) == b""


def test_a_first_event_that_is_no_chunk_is_refused() -> None:
    for read in (b"data: hello\n\n", b"data: [1]\n\n", b"<html>" + b"x" * 70_000 + b"\n\n"):
        broken = tap()
        assert broken.feed(read) == b""
        assert broken.error is not None


def test_an_alias_replaces_the_top_level_model_of_every_event() -> None:
    renaming = tap(rename_to="alias")
    chunk = (
        b'data: {"meta":{"model":"inner"},"model" : "%b","choices":[{"delta":{"content":"\\"model\\":\\"up\\""}}]}\n\n'
    )
    read = chunk % b"up" + chunk % b"up-2"
    assert renaming.feed(read) == chunk % b"alias" * 2
    assert renaming.feed(b'event: x\r\ndata: {"model":"up"}\r\n\r\n') == b'event: x\r\ndata: {"model":"alias"}\r\n\r\n'


def test_an_estimate_counts_text_and_neither_frames_nor_comments_nor_done() -> None:
    for joined in (False, True):
        cut = tap()
        reads = [event("four")] * 100
        reads = [b"".join(reads)] if joined else [b": ping\n\n", *reads, b": ping\n\n", DONE]
        for read in reads:
            cut.feed(read)
        assert 90 <= cut.estimate_completion_tokens() <= 110
    long = tap()
    long.feed(event(""))
    for _ in range(10):
        long.feed(event("x" * 400))
    assert 950 <= long.estimate_completion_tokens() <= 1050
    assert tap().estimate_completion_tokens() == 0


@given(
    st.lists(st.text(max_size=30) | st.sampled_from(["", " word", "\U0001f600" * 9]), min_size=1, max_size=20),
    st.integers(1, 5),
)
def test_no_more_text_can_have_come_than_is_said_to_be_the_most(texts: list[str], together: int) -> None:
    for escaped in (False, True):
        events = [event(text) for text in texts]
        if escaped:
            events = [
                b"data: " + json.dumps({"choices": [{"index": 0, "delta": {"content": text}}]}).encode() + b"\n\n"
                for text in texts
            ]
        cut = tap()
        for start in range(0, len(events), together):
            cut.feed(b"".join(events[start : start + together]))
        assert cut.most_completion_tokens() >= sum(len(text.encode("utf-8", "replace")) for text in texts)


STREAMS = st.lists(
    st.sampled_from(
        [
            event("a"),
            event('say "model" [DONE]'),
            b": ping\n\n",
            event("c", usage={"prompt_tokens": 1, "completion_tokens": 2}),
            event("d").replace(b"\n\n", b"\r\n\r\n"),
            usage_event(),
        ]
    ),
    max_size=8,
)


@given(STREAMS, st.booleans(), st.sampled_from([None, "alias"]), st.lists(st.integers(0, 3000), max_size=12))
def test_any_split_of_a_stream_gives_the_same_bytes_and_usage(
    events: list[bytes], ends: bool, rename_to: str | None, places: list[int]
) -> None:
    data = b"".join(events) + (DONE if ends else b"")
    whole, split = tap(rename_to=rename_to), tap(rename_to=rename_to)
    expected = whole.feed(data)
    assert b"".join(map(split.feed, cuts(data, places))) == expected
    assert (split.usage, split.done, split.error) == (whole.usage, whole.done, whole.error)
    assert whole.done is ends


@given(st.lists(st.binary(max_size=50) | st.sampled_from([b"data: ", b"\n\n", event(), DONE, b'"error"']), max_size=12))
def test_no_stream_raises_anything(reads: list[bytes]) -> None:
    for alias in (None, "alias"):
        any_tap = tap(rename_to=alias)
        for read in reads:
            any_tap.feed(read)
        any_tap.finish()
        any_tap.estimate_completion_tokens()
        assert any_tap.most_completion_tokens() >= 0
