"""The heads of requests: plain ones, for the hot lane, and those that go to aiohttp, with how their bodies are framed.

What goes to aiohttp is in no hurry, so everything that could be understood in two ways is refused before aiohttp,
whose limits and refusals are not ours, gets to see it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import httptools

from gateway.errors import GatewayError
from gateway.server.framing import Body, ChunkedBody, CountedBody

if TYPE_CHECKING:
    from gateway.server.gate import GateLimits

_NOT_PLAIN = (b"transfer-encoding", b"expect", b"upgrade")
# What the gateway has paths for; aiohttp names a path's own methods where it knows the path.
ALLOWED_METHODS = b"DELETE, GET, HEAD, PATCH, POST"
_LINE = re.compile(rb"[^ \r\n]+ +[^ \r\n]+ HTTP/1\.([01])")
_METHOD = re.compile(rb"[A-Z][A-Z-]{0,31} ")
# An upgrade may be ignored (RFC 9110, 7.8). aiohttp must not see one: it would take the body for another protocol's.
_UPGRADE = re.compile(rb"\r\nupgrade:[^\r\n]*", re.IGNORECASE)
_TRANSFER_ENCODING = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
# Found in a head that httptools has accepted: the line is there, once.
_LENGTH_LINE = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]+)\r\n", re.IGNORECASE)
_MAX_KEPT_BYTES = 4096
_MAX_LENGTH_DIGITS = 15
_HOST = re.compile(rb"\r\nhost:", re.IGNORECASE)


class _Head:
    """httptools' callbacks for one head."""

    __slots__ = ("headers", "url")

    def __init__(self) -> None:
        self.url = b""
        self.headers: dict[bytes, bytes] = {}

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.lower()] = value.strip()


def read_slow_head(head: bytes, limits: GateLimits) -> tuple[bytes, Body]:
    """The head as aiohttp may have it, and the body that follows.

    Raises GatewayError: url_too_long, invalid_http, method_not_allowed, expectation_failed.
    """
    line = head[: head.find(b"\r\n")]
    check_url_length(line, limits.max_url_bytes)
    found = _Head()
    parser = httptools.HttpRequestParser(found)
    try:
        parser.feed_data(head)
    except httptools.HttpParserUpgrade:
        if line.startswith(b"CONNECT "):
            raise GatewayError("method_not_allowed", "CONNECT is not allowed: the gateway is no proxy.") from None
    except httptools.HttpParserInvalidMethodError:
        if _METHOD.match(line):
            raise GatewayError("method_not_allowed", "The request's method is unknown.") from None
        raise _bad("its method is malformed") from None
    except httptools.HttpParserError as error:
        # llhttp's reasons name what was wrong, never the bytes: https://llhttp.org (read 2026-11).
        raise _bad(str(error)) from None
    version = _LINE.fullmatch(line)
    if version is None:
        raise _bad("its first line is not 'METHOD path HTTP/1.1'")
    headers = found.headers
    is_old = version.group(1) == b"0"
    if len(_HOST.findall(head)) > 1:
        raise _bad("it names more than one Host")
    if not is_old and headers.get(b"expect", b"100-continue").lower() != b"100-continue":
        raise GatewayError("expectation_failed", "The Expect header asks for something other than 100-continue.")
    return _UPGRADE.sub(b"", head), _body(head, headers, limits, is_old=is_old)


def _body(head: bytes, headers: dict[bytes, bytes], limits: GateLimits, *, is_old: bool) -> Body:
    coding = headers.get(b"transfer-encoding")
    if coding is None:
        return CountedBody(int(headers.get(b"content-length", b"0")))
    # Who reads these otherwise than the proxy in front of us lets a request be smuggled past it.
    if is_old or coding.lower() != b"chunked" or len(_TRANSFER_ENCODING.findall(head)) > 1:
        raise _bad("its transfer-encoding is not just 'chunked', or it speaks HTTP/1.0")
    return ChunkedBody(limits.max_head_bytes)


def check_url_length(line: bytes, max_bytes: int) -> None:
    """Raises url_too_long for a request line, whole or not, whose URL is longer than `max_bytes`."""
    if len(line) <= max_bytes:
        return
    url = line.partition(b" ")[2]
    if len(url.removesuffix(b" HTTP/1.1").removesuffix(b" HTTP/1.0")) > max_bytes:
        raise GatewayError("url_too_long", f"The URL is longer than {max_bytes} bytes.")


def check_unfinished_head(data: bytes, limits: GateLimits) -> None:
    """Raises GatewayError for the beginning of a head that can never become a good one, so as not to wait for more."""
    first = data[0]
    if not (65 <= first <= 90 or 97 <= first <= 122):
        raise _bad("it does not begin with a method")
    line_end = data.find(b"\r\n")
    check_url_length(data if line_end < 0 else data[:line_end], limits.max_url_bytes)
    if len(data) > limits.max_head_bytes:
        raise _too_large(limits)
    feed = data.find(b"\n")
    if feed >= 0 and (feed == 0 or data[feed - 1] != 13):
        raise _bad("its lines end in LF alone")


def body_too_large(limits: GateLimits) -> GatewayError:
    """A body over its limit."""
    return GatewayError("body_too_large", f"The body is larger than {limits.max_body_bytes} bytes.")


def _too_large(limits: GateLimits) -> GatewayError:
    return GatewayError("headers_too_large", f"The request's headers are larger than {limits.max_head_bytes} bytes.")


def _bad(why: str) -> GatewayError:
    return GatewayError("invalid_http", f"The request is not valid HTTP: {why}.")


class _Lines:
    """What httptools finds; its names in lower case, the last of several."""

    __slots__ = ("headers",)

    def __init__(self) -> None:
        self.headers: dict[bytes, bytes] = {}

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.lower()] = value


def read_plain_head(head: bytes, count: int) -> tuple[dict[bytes, bytes], int, bool] | None:
    """Headers, body length and keep-alive of a head with `count` header lines; None where it is not plain."""
    lines = _Lines()
    try:
        httptools.HttpRequestParser(lines).feed_data(head)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade):
        return None
    headers = lines.headers
    length = headers.get(b"content-length")
    if length is None or len(headers) != count:  # one that comes twice is looked at with more care
        return None
    for name in _NOT_PLAIN:
        if name in headers:
            return None
    if b" \r\n" in head or b"\t\r\n" in head:  # httptools leaves white space at the end of a value
        return None
    connection = headers.get(b"connection")
    return headers, int(length), connection is None or b"close" not in connection.lower()


class KeptHead:
    """The last plain head of a connection: one that differs from it in the body's length alone is not read again.

    Clients repeat their heads: a parse costs ten times what the comparison does.
    """

    __slots__ = ("_after", "_before", "_length", "headers", "keep_alive", "length")

    def __init__(self) -> None:
        self._before = self._after = self._length = b""
        self.headers: dict[bytes, bytes] = {}
        self.length = 0
        self.keep_alive = True

    def forget(self) -> None:
        """No head is like the last one."""
        self._before = b""

    def read(self, head: bytes, count: int) -> bool:
        """Is `head`, with `count` header lines, a plain one? Then it is kept, with what it says."""
        plain = read_plain_head(head, count)
        if plain is None:
            return False
        self.headers, self.length, self.keep_alive = plain
        found = _LENGTH_LINE.search(head) if len(head) <= _MAX_KEPT_BYTES else None
        if found is None:
            self._before = b""
        else:
            self._before, self._length, self._after = head[: found.start(1)], found.group(1), head[found.end(1) :]
        return True

    def match(self, data: bytes) -> int:
        """Where the body begins in `data`, if its head is like the one kept; else -1. Sets `headers` and `length`."""
        before = self._before
        if not before or not data.startswith(before):
            return -1
        at = len(before)
        end = data.find(b"\r", at)
        if not data.startswith(self._after, end):
            return -1
        given = data[at:end]
        if given != self._length:
            if not given.isdigit() or len(given) > _MAX_LENGTH_DIGITS:
                return -1
            self._length = given
            self.length = int(given)
            self.headers = {**self.headers, b"content-length": given}
        return end + len(self._after)
