"""Where a body ends, whatever way its bytes come."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.server.framing import Body, ChunkedBody, CountedBody, LostBody

NEXT = b"POST / HTTP/1.1\r\n\r\n"


def walk(body: Body, data: bytes, cuts: list[int]) -> int:
    """How many bytes of `data`, cut at `cuts`, are the body's."""
    taken = 0
    edges = sorted({0, *(cut % (len(data) + 1) for cut in cuts), len(data)})
    for start, end in pairwise(edges):
        if body.done:
            break
        count = body.feed(data[start:end])
        assert 0 <= count <= end - start
        assert body.done or count == end - start
        taken += count
    return taken


def feed(body: Body, pieces: list[bytes]) -> None:
    for piece in pieces:
        body.feed(piece)


chunks = st.lists(st.binary(min_size=1, max_size=40), max_size=5)
cuts = st.lists(st.integers(0, 500), max_size=30)
extension = st.sampled_from([b"", b";a=b", b' ; a="b"', b"  "])
trailers = st.sampled_from([b"", b"x: y\r\n", b"x: y\r\nz: \r\n"])


@given(st.binary(max_size=60), cuts)
def test_a_counted_body_ends_after_its_length(data: bytes, cuts: list[int]) -> None:
    body = CountedBody(len(data))
    assert body.done == (not data)
    assert walk(body, data + NEXT, cuts) == len(data)
    assert body.done


@given(chunks, extension, trailers, cuts)
def test_a_chunked_body_ends_after_its_trailers_however_it_is_cut(
    parts: list[bytes], extension: bytes, trailers: bytes, cuts: list[int]
) -> None:
    data = b"".join(b"%X%b\r\n%b\r\n" % (len(part), extension, part) for part in parts)
    data += b"00" + extension + b"\r\n" + trailers + b"\r\n"
    body = ChunkedBody(1000)
    assert walk(body, data + NEXT, cuts) == len(data)
    assert body.done


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n",
        b"g\r\n",
        b"-1\r\n",
        b"+1\r\n",
        b"0x1\r\n",
        b" 1\r\n",
        b"1_0\r\n",
        b"1\n",
        b"1\r\r\n",
        b"1;\0\r\n",
        b"1\r\nab\r\n",
        b"1\r\na\n",
        b"1\r\na\rbc",
        b"f" * 16 + b"\r\n",
        b"1;" + b"a" * 2000,
        b"0\r\n" + b"a: b\r\n" * 20,
        b"0\r\na\n\r\n",
    ],
)
def test_bad_framing_is_refused_however_it_is_cut(data: bytes) -> None:
    for step in (1, 3, len(data)):
        body = ChunkedBody(100)
        pieces = [data[start : start + step] for start in range(0, len(data), step)]
        with pytest.raises(GatewayError) as raised:
            feed(body, pieces)
        assert raised.value.code == "invalid_http"


@given(st.binary(max_size=80), cuts)
def test_any_bytes_are_taken_or_refused(data: bytes, cuts: list[int]) -> None:
    try:
        walk(ChunkedBody(50), data, cuts)
    except GatewayError as error:
        if error.code != "invalid_http":
            raise


def test_after_a_framing_error_everything_is_dropped() -> None:
    body = LostBody()
    assert body.feed(NEXT) == len(NEXT)
    assert not body.done
