"""Reads HTTP/1.1 answers out of socket reads, one after the other, and knows where each ends.

httptools parses; what it leaves open is decided here: limits, framing that may not be trusted, interim
answers, and whether anything stood after the end. An answer that was not clean ends its connection: bytes
left over would become the next caller's answer.
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

import httptools

Headers = list[tuple[bytes, bytes]]

_NO_BODY = (204, 304)
_LENGTH_LINE: Final = re.compile(rb"\r\ncontent-length: ?(\d{1,15})\r\n", re.IGNORECASE)
_MAX_KEPT_BYTES: Final = 2048


class AnswerError(Exception):
    """The bytes are no acceptable answer; `code` is a row of `FAILURES`, the message has no bytes of the peer's."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class _KeptHead(NamedTuple):
    """What an answer's head says that was plain: all of it but the digits of its length, and what was read there."""

    before: bytes
    after: bytes
    status: int
    headers: Headers
    at: int  # where `headers` have the length


class Answer:
    """The answer being read. `feed` takes each read; `status`, `headers`, `head_done`, `complete` and, once
    complete, `reusable` (clean, and the peer keeps the connection) tell how far it is.
    """

    __slots__ = (
        "_body_left",
        "_chunked",
        "_fault",
        "_head_left",
        "_kept",
        "_max_head",
        "_parse",
        "_parser",
        "_pieces",
        "_to_eof",
        "_version_seen",
        "complete",
        "head_done",
        "headers",
        "on_body",
        "reusable",
        "status",
    )

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self.on_body = self._pieces.append  # a C function as the parser's callback: no Python frame per piece
        self.headers: Headers = []
        self._fault: AnswerError | None = None
        self._kept: _KeptHead | None = None
        self._parser: Any = httptools.HttpResponseParser(self)
        self._parse: Any = self._parser.feed_data
        self.status = 0
        self.begin(0, 0)

    def begin(self, max_head_bytes: int, max_body_bytes: int) -> None:
        """A request is about to be sent: whatever comes next is its answer."""
        self.head_done = self.complete = self.reusable = self._version_seen = False
        self._head_left = self._max_head = max_head_bytes
        self._body_left = max_body_bytes

    def close(self) -> None:
        """Break the cycle between parser and callbacks; nothing may be fed after."""
        self._parser = self._parse = None

    def feed(self, data: bytes) -> bytes:
        """Take one socket read and return the body bytes in it. Raises AnswerError."""
        whole = False
        if not self.head_done:
            kept = self._kept
            if kept is not None and self._head_left == self._max_head and data.startswith(kept.before):
                body = self._compare(kept, data)
                if body is not None:
                    return body
            if len(data) > self._head_left:
                return self._feed_to_limit(data)
            whole = self._head_left == self._max_head
            self._head_left -= len(data)
            if data.startswith(b"HTTP/1.1 "):
                self._version_seen = True
        try:
            self._parse(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            fault, self._fault = self._fault, None
            if fault is not None:
                raise fault from None
            if not self.complete:
                raise AnswerError("upstream_bad_answer", f"its answer is not valid HTTP ({error})") from None
            self.reusable = False  # the answer is whole, but something came after it
        body = self._taken(data)
        if whole and self.reusable:
            self._keep(data, body)
        return body

    def ends_at_eof(self) -> bool:
        """The peer closed: is that the proper end of this answer? (No length, no chunks: RFC 9112 6.3.)"""
        return self.head_done and self._to_eof and not self.complete

    def _compare(self, kept: _KeptHead, data: bytes) -> bytes | None:
        """The body of an answer that came in one read and whose head is the last one's, but for the length; None for
        any other. A server repeats its heads, and a parse costs ten times the comparison (docs/decisions.md)."""
        start = len(kept.before)
        end = data.find(b"\r", start, start + 16)
        digits = data[start:end]
        if end < 0 or not digits.isdigit() or not data.startswith(kept.after, end):
            return None
        head = end + len(kept.after)
        length = len(data) - head
        if int(digits) != length or length > self._body_left or head > self._head_left:
            return None
        self.status = kept.status
        self.headers = headers = kept.headers.copy()
        headers[kept.at] = (b"content-length", digits)
        self._chunked = self._to_eof = False
        self.head_done = self.complete = self.reusable = True
        return data[head:]

    def _keep(self, data: bytes, body: bytes) -> None:
        """Remember the head of a clean answer that came in one read, where only its length can change."""
        self._kept = None
        head = data[: len(data) - len(body)]
        if self._chunked or not body or len(head) > _MAX_KEPT_BYTES or not head.startswith(b"HTTP/1.1 "):
            return
        found = _LENGTH_LINE.search(head)
        at = [index for index, header in enumerate(self.headers) if header[0] == b"content-length"]
        if found is not None and len(at) == 1 and head.count(b"\r\n\r\n") == 1:  # no interim answer before it
            self._kept = _KeptHead(
                head[: found.start(1)], head[found.end(1) :], self.status, self.headers.copy(), at[0]
            )

    def _taken(self, data: bytes) -> bytes:
        pieces = self._pieces
        if not pieces:
            if self.head_done and not self.complete:
                # Chunk extensions and trailers, counted until body bytes come again.
                self._head_left -= len(data)
                if self._head_left < -self._max_head:
                    raise AnswerError("upstream_answer_too_large", "its trailers or chunk extensions are too long")
            body = b""
        elif len(pieces) == 1:
            body = pieces[0]
            pieces.clear()
        else:
            body = b"".join(pieces)
            pieces.clear()
        if body:
            self._head_left = 0
            self._body_left -= len(body)
            if self._body_left < 0:
                raise AnswerError("upstream_answer_too_large", "its answer's body is larger than allowed")
        if self.reusable and not self._ended_exactly(data, body):
            self.reusable = False
        return body

    def _ended_exactly(self, data: bytes, body: bytes) -> bool:
        # The parser swallows CR and LF between answers, so look whether the last read ends where the answer does.
        # What cannot be told from the last read alone counts as surplus.
        if self._chunked or not body:
            return len(data) > 4 and data.endswith(b"\r\n\r\n") and data[-5] != 10
        return data.endswith(body) and not body.isspace()

    def _feed_to_limit(self, data: bytes) -> bytes:
        # A read may hold more than the head: give the parser what a head may have, and only then the rest.
        room = self._head_left
        body = self.feed(data[:room]) if room > 0 else b""
        if not self.head_done:
            raise AnswerError("upstream_answer_too_large", "its answer's head is larger than allowed")
        if self.complete:
            self.reusable = False
            return body
        return body + self.feed(data[room:])

    # --- called by the parser ---------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """An answer begins; a second one in the same read is surplus, and stops the parser."""
        if self.complete:
            raise ValueError
        self.headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header line, or a trailer, which is dropped."""
        if not self.head_done:
            self.headers.append((name.lower(), value.rstrip()))

    def on_headers_complete(self) -> None:
        """The head is there: refuse what must not be trusted, and find out where the body will end."""
        self.status = status = self._parser.get_status_code()
        if status < 200:
            if status < 100 or status == 101:
                self._refuse(f"it answered with status {status}")
            self._version_seen = False
            return
        if status > 599:
            self._refuse(f"it answered with status {status}")
        self._chunked = self._to_eof = False
        for name, value in self.headers:
            if name == b"content-length":
                if int(value) > self._body_left:
                    self._refuse("its answer's body is larger than allowed", "upstream_answer_too_large")
                break  # the parser refuses length beside chunked framing, and two lengths
            if name == b"transfer-encoding":
                if value.lower() != b"chunked" or self._chunked:
                    self._refuse("its answer has a transfer coding that was not asked for")
                self._chunked = True
        else:
            self._to_eof = not self._chunked and status not in _NO_BODY
        if not self._version_seen:
            self._check_version()
        self.head_done = True

    def on_message_complete(self) -> None:
        """An answer ends; interim ones (1xx) are forgotten."""
        if self.head_done:
            self.complete = True
            self.reusable = self._parser.should_keep_alive()

    def _check_version(self) -> None:
        version = self._parser.get_http_version()
        if version not in ("1.0", "1.1"):
            self._refuse("its answer is not HTTP/1")
        if version == "1.0" and self._chunked:
            self._refuse("its answer is chunked HTTP/1.0")

    def _refuse(self, reason: str, code: str = "upstream_bad_answer") -> None:
        self._fault = AnswerError(code, reason)
        raise self._fault
