"""The head of a request as bytes, and nothing in it that could start a second one."""

from __future__ import annotations

import re
from collections.abc import Iterable

from gateway.errors import GatewayError

# RFC 9110 5.6.2 (token), 5.5 (field value: visible characters, space, tab and bytes above 127), RFC 9112 3.2.
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_TARGET = re.compile(rb"[!-~]+")


def render_head(method: bytes, path: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Request line, header lines and the blank line. `path` is in origin form, percent-encoded.

    Raises GatewayError `invalid_request` where a part holds CR, LF, NUL or whatever else may not stand there;
    the message names the header, never its value.
    """
    if not _TOKEN.fullmatch(method) or not _TARGET.fullmatch(path):
        raise GatewayError("invalid_request", "The method or path of the upstream request has forbidden characters.")
    lines = [b"%b %b HTTP/1.1\r\n" % (method, path)]
    for name, value in headers:
        if not _TOKEN.fullmatch(name):
            raise GatewayError("invalid_request", "A header name of the upstream request has forbidden characters.")
        if not _VALUE.fullmatch(value):
            raise GatewayError("invalid_request", f"The value of header {name.decode()} has forbidden characters.")
        lines.append(b"%b: %b\r\n" % (name, value))
    lines.append(b"\r\n")
    return b"".join(lines)


def absolute_form(head: bytes, origin: bytes, authorization: bytes | None) -> bytes:
    """`head` as a forward proxy wants it (RFC 9112 3.2.2): `origin` (http://host:port) before the path, and the
    proxy's own authorization.
    """
    line, rest = head.split(b"\r\n", 1)
    method, path, version = line.split(b" ")
    added = b"proxy-authorization: %b\r\n" % authorization if authorization else b""
    return b"%b %b%b %b\r\n%b%b" % (method, origin, path, version, added, rest)
