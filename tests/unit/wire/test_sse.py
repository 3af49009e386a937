"""Cutting a stream into events."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.wire import sse

PIECES = st.lists(
    st.sampled_from([b"data: a", b"data:b", b": ping", b"event: x", b"\n", b"\r", b"\r\n", b"\n\n", b"\r\n\r\n", b"z"]),
    max_size=30,
).map(b"".join)


def cuts(data: bytes, places: list[int]) -> list[bytes]:
    """`data` in the reads that `places` make of it."""
    marks = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in itertools.pairwise(marks)]


def payloads(reads: list[bytes]) -> list[bytes]:
    """The payloads of all whole events."""
    cutter = sse.EventCutter()
    whole = b"".join(map(cutter.feed, reads))
    return [payload for payload in map(sse.event_data, sse.split_events(whole)) if payload is not None]


@given(PIECES, st.lists(st.integers(0, 200), max_size=10))
def test_no_byte_is_lost_or_changed_however_the_reads_are_split(data: bytes, places: list[int]) -> None:
    cutter = sse.EventCutter()
    given_back = b"".join(cutter.feed(read) for read in cuts(data, places))
    assert given_back + cutter.rest == data


@given(
    st.lists(
        st.sampled_from([b"data: a", b"data:b", b": ping", b"event: x\ndata: {}", b"data: c\ndata: d"]), max_size=9
    ),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
    st.lists(st.integers(0, 400), max_size=10),
)
def test_any_split_of_a_streams_bytes_gives_the_same_events(
    events: list[bytes], newline: bytes, places: list[int]
) -> None:
    data = b"".join(event.replace(b"\n", newline) + newline * 2 for event in events)
    assert payloads(cuts(data, places)) == payloads([data])
    assert len(payloads([data])) == len([event for event in events if b"data" in event])


@pytest.mark.parametrize(
    ("event", "payload"),
    [
        (b"data: a\n\n", b"a"),
        (b"data:a\r\n\r\n", b"a"),
        (b"data: a\ndata: b\n\n", b"a\nb"),
        (b"data: a\r\r", b"a"),
        (b"data: a\rdata: b\n\n", b"a\nb"),
        (b"event: x\nid: 1\ndata: {}\n\n", b"{}"),
        (b": comment\n\n", None),
        (b"\n\n", None),
        (b"data:\n\n", b""),
    ],
)
def test_an_events_payload_is_its_data_lines(event: bytes, payload: bytes | None) -> None:
    assert sse.event_data(event) == payload


def test_an_event_without_end_is_refused() -> None:
    cutter = sse.EventCutter()
    for _ in range(16):
        assert cutter.feed(b"x" * 1_000_000) == b""
    with pytest.raises(GatewayError) as caught:
        cutter.feed(b"x" * 1_000_000)
    assert caught.value.code == "upstream_bad_answer"
