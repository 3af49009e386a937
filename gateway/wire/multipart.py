"""multipart/form-data, read strictly and piece by piece: where the fields are, never what the files hold.

Pure. The rule is that two readers must not see two forms: whatever a lenient parser at the provider could
read otherwise (a name given twice, an encoded name, a border with something behind it) is refused.
RFC 7578 and RFC 2046 section 5.1 (read 2026-11).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import NamedTuple

from gateway.errors import GatewayError

MAX_HEADER_BYTES = 8192
MAX_PARTS = 1000
MAX_VALUE_BYTES = 256

_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
_PARAMETER = re.compile(rb';[ \t]*([!#$&+\-.^_`|~0-9A-Za-z*]+)=("(?:[^"\\\r\n]|\\[^\r\n])*"|[^\s";\\]+)[ \t]*')
_HEADER = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\r\n\0]*)")
_NAME = re.compile(r'[^"\\%\x00-\x1f\x7f]{1,256}')
_PLAIN_ENCODINGS = (b"binary", b"8bit", b"7bit")

_START, _BORDER, _HEADERS, _CONTENT, _END = range(5)


class Field(NamedTuple):
    """The value of a watched field, and where its bytes stand in the whole body: [start, end)."""

    value: str
    start: int
    end: int


def boundary_of(content_type: bytes) -> bytes:
    """The boundary that the request's `content-type` names. Raises unsupported_media_type, invalid_request."""
    essence, semicolon, _ = content_type.partition(b";")
    if essence.strip().lower() != b"multipart/form-data":
        shown = essence.strip().decode("latin-1")[:100]
        raise GatewayError("unsupported_media_type", f"The body must be sent as 'multipart/form-data', not '{shown}'.")
    parameters = _parameters(content_type[len(essence) :].strip()) if semicolon else {}
    boundary = parameters.get(b"boundary", b"").decode("latin-1")
    if not _BOUNDARY.fullmatch(boundary):
        raise _malformed("the content-type names no valid boundary")
    return boundary.encode()


class Form:
    """Reads a body by `feed`, in any pieces, and ends with `finish`.

    `fields` are the watched ones that are complete, `first_file_at` the offset at which the first file's content
    begins (-1: none yet), `size` the bytes seen.
    """

    def __init__(self, boundary: bytes, watched: Collection[str]) -> None:
        self._open = b"--" + boundary
        self._delimiter = b"\r\n--" + boundary
        self._watched = frozenset(watched)
        self._state = _START
        self._buffer = b""
        self._base = 0
        self._parts = 0
        self._name: str | None = None
        self._value = b""
        self._value_at = 0
        self.fields: dict[str, Field] = {}
        self.first_file_at = -1
        self.size = 0

    def feed(self, data: bytes) -> None:
        """The next bytes of the body. Raises invalid_request for what is no well-formed form."""
        self.size += len(data)
        buffer = self._buffer + data
        position = 0
        while True:
            following = self._step(buffer, position)
            if following < 0:
                break
            position = following
        self._buffer = buffer[position:]
        self._base += position

    def finish(self) -> None:
        """The body is over. Raises invalid_request if the form is not."""
        if self._state != _END:
            raise _malformed("it ends before its last boundary")
        if self._buffer not in (b"", b"\r\n"):
            raise _malformed("something stands behind its last boundary")

    def _step(self, buffer: bytes, at: int) -> int:
        """Go on from `at`; the offset of what is not read yet, or -1 where more bytes are needed."""
        if self._state == _CONTENT:
            return self._read_content(buffer, at)
        if self._state == _HEADERS:
            return self._read_headers(buffer, at)
        if self._state == _BORDER:
            return self._read_border(buffer, at)
        if self._state == _START:
            have = buffer[at : at + len(self._open)]
            if not self._open.startswith(have):
                raise _malformed("it does not begin with its boundary")
            if len(have) < len(self._open):
                return -1
            self._state = _BORDER
            return at + len(self._open)
        if not b"\r\n".startswith(buffer[at:]):
            raise _malformed("something stands behind its last boundary")
        return -1

    def _read_border(self, buffer: bytes, at: int) -> int:
        mark = buffer[at : at + 2]
        if mark == b"\r\n":
            self._parts += 1
            if self._parts > MAX_PARTS:
                raise _malformed(f"it has more than {MAX_PARTS} parts")
            self._state = _HEADERS
        elif mark == b"--":
            self._state = _END
        elif mark in (b"", b"\r", b"-"):
            return -1
        else:
            raise _malformed("a boundary is followed by something else than a line end")
        return at + 2

    def _read_headers(self, buffer: bytes, at: int) -> int:
        end = buffer.find(b"\r\n\r\n", at)
        if (len(buffer) if end < 0 else end) - at > MAX_HEADER_BYTES:
            raise _malformed(f"a part's headers are larger than {MAX_HEADER_BYTES} bytes")
        if buffer[at : at + 2] == b"\r\n":
            raise _malformed("a part has no headers")
        if end < 0:
            return -1
        self._begin_part(buffer[at:end], self._base + end + 4)
        self._state = _CONTENT
        return end + 4

    def _begin_part(self, head: bytes, content_at: int) -> None:
        headers: dict[bytes, bytes] = {}
        for line in head.split(b"\r\n"):
            match = _HEADER.fullmatch(line)
            if match is None or match[1].lower() in headers:
                raise _malformed("a part has a header that is malformed or given twice")
            headers[match[1].lower()] = match[2].strip()
        if headers.get(b"content-type", b"").lower().startswith(b"multipart/"):
            raise _malformed("a part is itself multipart")
        if headers.get(b"content-transfer-encoding", b"binary").lower() not in _PLAIN_ENCODINGS:
            raise _malformed("a part has a content-transfer-encoding")
        name, is_file = _disposition(headers.get(b"content-disposition", b""))
        if is_file and self.first_file_at < 0:
            self.first_file_at = content_at
        self._name = name if name in self._watched else None
        self._value = b""
        self._value_at = content_at
        if self._name is not None and is_file:
            raise _bad_field(name, "must not be a file")
        if self._name is not None and name in self.fields:
            raise _bad_field(name, "is given twice")

    def _read_content(self, buffer: bytes, at: int) -> int:
        end = buffer.find(self._delimiter, at)
        upto = end if end >= 0 else max(at, len(buffer) - len(self._delimiter) + 1)
        if self._name is not None:
            self._value += buffer[at:upto]
            if len(self._value) > MAX_VALUE_BYTES:
                raise _bad_field(self._name, f"is longer than {MAX_VALUE_BYTES} bytes")
        if end < 0:
            return upto if upto > at else -1
        if self._name is not None:
            self._keep_field(self._name)
        self._state = _BORDER
        return end + len(self._delimiter)

    def _keep_field(self, name: str) -> None:
        try:
            value = self._value.decode()
        except UnicodeDecodeError:
            raise _bad_field(name, "is not UTF-8") from None
        self.fields[name] = Field(value, self._value_at, self._value_at + len(self._value))


def _disposition(value: bytes) -> tuple[str, bool]:
    """The part's name, and whether it is a file."""
    kind, semicolon, _ = value.partition(b";")
    if kind.strip().lower() != b"form-data" or not semicolon:
        raise _malformed("a part has no 'content-disposition: form-data' with a name")
    parameters = _parameters(value[len(kind) :])
    try:
        name = parameters[b"name"].decode()
    except (KeyError, UnicodeDecodeError):
        raise _malformed("a part has no name") from None
    if b"name*" in parameters or not _NAME.fullmatch(name):
        raise _malformed("a part's name has characters that it may not have")
    return name, b"filename" in parameters or b"filename*" in parameters


def _parameters(text: bytes) -> dict[bytes, bytes]:
    """`; a=b; c="d"` as a dictionary of raw values without their quotes; a name given twice is refused."""
    found: dict[bytes, bytes] = {}
    at = 0
    while at < len(text):
        match = _PARAMETER.match(text, at)
        if match is None or match[1].lower() in found:
            raise _malformed("a header's parameters are malformed or given twice")
        found[match[1].lower()] = match[2][1:-1] if match[2].startswith(b'"') else match[2]
        at = match.end()
    return found


def _malformed(why: str) -> GatewayError:
    return GatewayError("invalid_request", f"The multipart form is malformed: {why}.")


def _bad_field(name: str, why: str) -> GatewayError:
    return GatewayError("invalid_field", f"The form's field '{name}' {why}.", param=name)
