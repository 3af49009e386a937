"""What a head that goes to aiohttp must look like; over a socket: tests/integration/server/test_abuse.py."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.server.framing import ChunkedBody, CountedBody
from gateway.server.gate import GateLimits
from gateway.server.head import KeptHead, check_unfinished_head, read_plain_head, read_slow_head

LIMITS = GateLimits(max_head_bytes=2000, max_url_bytes=100)


def head(*lines: str, line: str = "GET /x HTTP/1.1") -> bytes:
    return "\r\n".join([line, *lines, "", ""]).encode("latin-1")


def test_the_body_is_framed_by_what_the_head_says() -> None:
    for lines, length in (((), 0), (("content-length: 0",), 0), (("Content-Length: 12 ",), 12)):
        _, body = read_slow_head(head(*lines), LIMITS)
        assert isinstance(body, CountedBody)
        assert body.feed(b"x" * 20) == length
    _, body = read_slow_head(head("Transfer-Encoding: Chunked"), LIMITS)
    assert isinstance(body, ChunkedBody)


def test_an_upgrade_is_left_out_and_the_rest_stays_as_it_is() -> None:
    kept, _ = read_slow_head(head("a: b", "UPGRADE: h2c", "connection: upgrade", "upgraded: no"), LIMITS)
    assert kept == head("a: b", "connection: upgrade", "upgraded: no")
    plain = head("a: upgrade: x", "b: c")
    assert read_slow_head(plain, LIMITS)[0] == plain


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (head(line="BREW / HTTP/1.1"), "method_not_allowed"),
        (head(line="CONNECT a:1 HTTP/1.1"), "method_not_allowed"),
        (head(line="get / HTTP/1.1"), "invalid_http"),
        (head(line="GET / HTTP/2.0"), "invalid_http"),
        (head(line="GET /"), "invalid_http"),
        (head(line="GET /" + "a" * 100 + " HTTP/1.1"), "url_too_long"),
        (head("transfer-encoding: chunked", line="POST / HTTP/1.0"), "invalid_http"),
        (head("expect: magic"), "expectation_failed"),
        (head("host: a", "HOST: b"), "invalid_http"),
    ],
)
def test_what_is_wrong_is_named(data: bytes, code: str) -> None:
    with pytest.raises(GatewayError) as raised:
        read_slow_head(data, LIMITS)
    assert raised.value.code == code


def test_a_url_of_just_the_limit_passes() -> None:
    read_slow_head(head(line="GET /" + "a" * 99 + " HTTP/1.1"), LIMITS)


def test_what_a_head_of_http_1_0_expects_is_ignored() -> None:
    read_slow_head(head("expect: magic", line="GET / HTTP/1.0"), LIMITS)


@pytest.mark.parametrize("data", [b"G", b"GET /", b"GET / HTTP/1.1\r\n", b"POST / HTTP/1.1\r\na: b\r", b"get"])
def test_a_good_beginning_is_waited_for(data: bytes) -> None:
    check_unfinished_head(data, LIMITS)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x16\x03", "invalid_http"),
        (b"\x80", "invalid_http"),
        (b"1", "invalid_http"),
        (b"GET / HTTP/1.1\nhost", "invalid_http"),
        (b"GET /" + b"a" * 200, "url_too_long"),
        (b"GET / HTTP/1.1\r\nx: " + b"a" * 2000, "headers_too_large"),
    ],
)
def test_a_hopeless_beginning_is_not(data: bytes, code: str) -> None:
    with pytest.raises(GatewayError) as raised:
        check_unfinished_head(data, LIMITS)
    assert raised.value.code == code


@given(st.binary(min_size=1, max_size=100), st.booleans())
def test_any_bytes_are_read_or_refused(data: bytes, whole: bool) -> None:
    try:
        check_unfinished_head(data, LIMITS)
        if whole:
            read_slow_head(b"GET / HTTP/1.1\r\n" + data.replace(b"\r\n\r\n", b"") + b"\r\n\r\n", LIMITS)
    except GatewayError as error:
        if not 400 <= error.status < 500:
            raise


def kept(first: bytes) -> KeptHead:
    found = KeptHead()
    assert found.read(first, first.count(b"\r\n") - 2)
    return found


def test_a_head_that_differs_in_the_bodys_length_alone_is_known_again() -> None:
    line = "POST /x HTTP/1.1"
    found = kept(head("Host: a", "Content-Length: 7", "x-a: b", line=line))
    same = head("Host: a", "Content-Length: 7", "x-a: b", line=line)
    assert found.match(same + b"1234567") == len(same)
    assert found.length == 7
    longer = head("Host: a", "Content-Length: 1234", "x-a: b", line=line)
    assert found.match(longer + b"{}") == len(longer)
    assert found.length == 1234
    assert found.headers == {b"host": b"a", b"content-length": b"1234", b"x-a": b"b"}
    assert found.match(same) == len(same)
    assert found.length == 7


@given(st.binary(max_size=12), st.sampled_from(["x-a: b", "X-a: b", "x-a: bb", "x-a: b\r\ncontent-length: 2"]))
def test_no_other_head_is_taken_for_the_one_kept(length: bytes, other: str) -> None:
    line = "POST /x HTTP/1.1"
    found = kept(head("Host: a", "Content-Length: 7", "x-a: b", line=line))
    data = head("Host: a", "Content-Length: @", other, line=line).replace(b"@", length)
    start = found.match(data)
    if start >= 0:
        assert read_plain_head(data[:start], 3) == ({**found.headers, b"content-length": length}, int(length), True)
        assert found.length == int(length)
    else:
        assert not (length.isdigit() and other == "x-a: b")


def test_a_head_too_large_to_keep_is_read_every_time_and_a_forgotten_one_too() -> None:
    line = "POST /x HTTP/1.1"
    large = head("content-length: 1", "x-a: " + "b" * 5000, line=line)
    found = kept(large)
    assert found.length == 1
    assert found.match(large) == -1
    small = head("content-length: 1", line=line)
    found = kept(small)
    assert found.match(small) == len(small)
    assert found.match(small[:-1]) == -1
    found.forget()
    assert found.match(small) == -1
