"""Server-sent events as bytes: cutting a stream at event borders, and the events that we make ourselves.

The format is WHATWG's: https://html.spec.whatwg.org/multipage/server-sent-events.html (read 2026-11).
"""

from __future__ import annotations

import re

from gateway.errors import GatewayError

_BORDER = re.compile(rb"\r\n\r\n|\n\n|\r\r|\n\r\n|\r\n\n")
# A border's bytes may be split between two reads: so many of the old ones are looked at again.
_OVERLAP_BYTES = 3

MAX_EVENT_BYTES = 16 * 1024 * 1024
DONE = b"data: [DONE]\n\n"


class EventCutter:
    """Gives back whole events of a byte stream, however its reads were split."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        """All complete events received so far and not given yet, as the bytes they came in; maybe none.

        Raises upstream_bad_answer for an event over MAX_EVENT_BYTES.
        """
        rest = self._rest
        if rest:
            data = rest + data
        if data.endswith((b"\n\n", b"\r\n\r\n")):
            self._rest = b""
            return data
        end = last_border(data, max(0, len(rest) - _OVERLAP_BYTES))
        self._rest = data[end:]
        if len(self._rest) > MAX_EVENT_BYTES:
            raise GatewayError("upstream_bad_answer", "The provider sent an event larger than 16 MiB.")
        return data[:end]

    @property
    def rest(self) -> bytes:
        """The bytes of an event whose end has not come."""
        return self._rest


def last_border(data: bytes, start: int = 0) -> int:
    """The offset just behind the last event border in `data[start:]`, 0 where there is none."""
    found = data.rfind(b"\n\n", start)
    end = 0 if found < 0 else found + 2
    if data.find(b"\r", start) >= 0:
        for match in _BORDER.finditer(data, max(start, end)):
            end = match.end()
    return end


def split_events(data: bytes) -> list[bytes]:
    """Whole events, each with the border that ends it. Joined they are `data` again."""
    if b"\r" not in data:
        parts = data.split(b"\n\n")
        tail = parts.pop()
        events = [part + b"\n\n" for part in parts]
        return [*events, tail] if tail else events
    events = []
    start = 0
    for match in _BORDER.finditer(data):
        events.append(data[start : match.end()])
        start = match.end()
    if start < len(data):
        events.append(data[start:])
    return events


def event_data(event: bytes) -> bytes | None:
    """The payload of one event: its data lines joined by newlines; None for a comment or an empty event."""
    if event.startswith(b"data: ") and event.find(b"\n") >= len(event.rstrip(b"\r\n")) and b"\r" not in event[:-4]:
        return event[6:].rstrip(b"\r\n")
    lines = []
    for line in event.splitlines():
        if line.startswith(b"data:"):
            value = line[5:]
            lines.append(value[1:] if value.startswith(b" ") else value)
    return b"\n".join(lines) if lines else None
