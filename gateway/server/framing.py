"""Where a request's body ends, so that no byte of the next request goes astray.

aiohttp parses the bodies of the requests it is handed; that it is handed exactly one request at a time is
seen to here, by counting. Whatever is not plain chunked coding (RFC 9112, 7.1) is refused, never guessed at.
"""

from __future__ import annotations

from typing import Protocol

from gateway.errors import GatewayError

_MAX_SIZE_LINE_BYTES = 1024
_MAX_SIZE_DIGITS = 15
_HEX = frozenset(b"0123456789abcdefABCDEF")
_SIZE, _DATA, _DATA_END, _TRAILERS, _DONE = range(5)


class Body(Protocol):
    """The body of one request, as it comes."""

    done: bool

    def feed(self, data: bytes) -> int:
        """How many of these bytes are the body's. Raises GatewayError (invalid_http) for bad framing."""


class CountedBody:
    """A body of `length` bytes; none at all is a length of 0."""

    __slots__ = ("_missing", "done")

    def __init__(self, length: int) -> None:
        self._missing = length
        self.done = length == 0

    def feed(self, data: bytes) -> int:
        """At most what is missing."""
        taken = min(len(data), self._missing)
        self._missing -= taken
        self.done = self._missing == 0
        return taken


class ChunkedBody:
    """A body in chunks; extensions and trailers are allowed within `max_trailer_bytes` and a line's limit."""

    __slots__ = ("_line", "_missing", "_state", "_trailer_bytes", "done")

    def __init__(self, max_trailer_bytes: int) -> None:
        self._state = _SIZE
        self._line = b""
        self._missing = 0
        self._trailer_bytes = max_trailer_bytes
        self.done = False

    def feed(self, data: bytes) -> int:
        """Walk over what has come."""
        at = 0
        while at < len(data) and self._state != _DONE:
            if self._state == _DATA:
                step = min(self._missing, len(data) - at)
                self._missing -= step
                at += step
                if not self._missing:
                    self._state = _DATA_END
            else:
                at = self._take_line(data, at)
        self.done = self._state == _DONE
        return at

    def _take_line(self, data: bytes, at: int) -> int:
        """Read on in a line that may be cut anywhere; returns where the rest begins."""
        limit = {_SIZE: _MAX_SIZE_LINE_BYTES, _DATA_END: 2}.get(self._state, self._trailer_bytes)
        end = data.find(b"\n", at)
        stop = len(data) if end < 0 else end + 1
        if len(self._line) + stop - at > limit:
            raise _bad("a line of its chunked coding is too long")
        self._line += data[at:stop]
        if end >= 0:
            line, self._line = self._line, b""
            if not line.endswith(b"\r\n") or b"\r" in line[:-2] or b"\0" in line:
                raise _bad("a line of its chunked coding is malformed")
            self._read_line(line[:-2])
        return stop

    def _read_line(self, line: bytes) -> None:
        if self._state == _SIZE:
            self._missing = _chunk_size(line)
            self._state = _DATA if self._missing else _TRAILERS
        elif self._state == _DATA_END:
            if line:
                raise _bad("a chunk is longer than it says")
            self._state = _SIZE
        elif line:
            self._trailer_bytes -= len(line) + 2
        else:
            self._state = _DONE


class LostBody:
    """What comes after a framing error: nothing in it can be trusted, so it is all dropped."""

    done = False

    def feed(self, data: bytes) -> int:
        """All of it."""
        return len(data)


def _chunk_size(line: bytes) -> int:
    digits = line.partition(b";")[0].rstrip(b" \t")
    if not 0 < len(digits) <= _MAX_SIZE_DIGITS or not _HEX.issuperset(digits):
        raise _bad("a chunk's size is no number")
    return int(digits, 16)


def _bad(why: str) -> GatewayError:
    return GatewayError("invalid_http", f"The request's body is not valid HTTP: {why}.")
