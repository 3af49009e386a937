"""HTTP status lines, rendered once."""

from __future__ import annotations

from http import HTTPStatus

_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}


def status_line(status: int) -> bytes:
    """The status line of an answer, with its line end; a status without a phrase of its own has an empty one."""
    return _LINES.get(status) or b"HTTP/1.1 %d \r\n" % status
