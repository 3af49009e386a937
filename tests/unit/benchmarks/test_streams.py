"""The stream client's checks: what is complete, and every way in which a stream can be wrong."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.stream_client import Stream, Tally, Wrong
from benchmarks.stream_format import CHUNK_SIZE, MARK, PREFIX, SUFFIX, ending, usage

_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def _chunk(number: int) -> bytes:
    return PREFIX + MARK % (number, time.monotonic_ns()) + SUFFIX


def _framed(*payloads: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(payload), payload) for payload in payloads)


def _whole(chunks: int, *, with_usage: bool = False) -> bytes:
    events = [_chunk(number) for number in range(chunks)]
    return _HEAD + _framed(*events, ending(chunks, with_usage=with_usage)) + b"0\r\n\r\n"


def _stream(chunks: int, *, with_usage: bool = False) -> tuple[Stream, Tally]:
    tally = Tally()
    return Stream(chunks, with_usage=with_usage, began_ns=time.monotonic_ns(), tally=tally), tally


def test_a_chunk_has_the_size_that_both_sides_count_on() -> None:
    assert len(_chunk(999_999)) == CHUNK_SIZE


@given(st.lists(st.integers(1, 1500), max_size=8))
def test_a_stream_split_anywhere_is_complete(cuts: list[int]) -> None:
    stream, tally = _stream(4, with_usage=True)
    data, complete = _whole(4, with_usage=True), False
    for cut in sorted({min(cut, len(data) - 1) for cut in cuts}, reverse=True):
        data = data[:cut] + b"\0SPLIT\0" + data[cut:]
    for piece in data.split(b"\0SPLIT\0"):
        complete = stream.feed(piece)
    assert complete
    assert stream.received == 4
    assert (len(tally.first_ns), len(tally.behind_ns)) == (1, 4)


def test_events_joined_in_one_frame_are_complete() -> None:
    stream, _ = _stream(2)
    joined = _chunk(0) + _chunk(1) + ending(2, with_usage=False)
    assert stream.feed(_HEAD + _framed(joined) + b"0\r\n\r\n")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (_HEAD + _framed(_chunk(1)), "chunk 1 came where 0 was due"),
        (_HEAD + _framed(_chunk(0).replace(b"chatcmpl", b"chatcmpX")), "is not what was sent"),
        (_HEAD + _framed(_chunk(0)) + b"0\r\n\r\n", "ended after 1 of 2 chunks"),
        (_whole(2) + b"more", "bytes after the end"),
        (_whole(2, with_usage=True), "ended after 2 of 2 chunks"),
        (b"HTTP/1.1 502 Bad Gateway\r\ntransfer-encoding: chunked\r\n\r\n", "not a stream"),
    ],
)
def test_a_stream_that_differs_by_anything_is_wrong(data: bytes, why: str) -> None:
    stream, _ = _stream(2)
    with pytest.raises(Wrong, match=why):
        stream.feed(data)


def test_usage_is_missed_where_it_was_asked_for() -> None:
    stream, _ = _stream(2, with_usage=True)
    with pytest.raises(Wrong, match="ended after 2 of 2"):
        stream.feed(_whole(2))


def test_an_ending_holds_usage_only_when_asked() -> None:
    assert usage(3) in ending(3, with_usage=True)
    assert b"prompt_tokens" not in ending(3, with_usage=False)
    assert ending(3, with_usage=False).endswith(b"data: [DONE]\n\n")
