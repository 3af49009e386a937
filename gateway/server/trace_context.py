"""W3C trace context: reading a client's `traceparent`, making the one sent upstream. Pure but for chance.

https://www.w3.org/TR/trace-context/ (Recommendation of 2021-11-23, read 2026-11).
"""

from __future__ import annotations

import random
import re
from typing import Final, NamedTuple

_PARENT: Final = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED: Final = 1
_RANDOM: Final = 2  # level 2's flag: the trace id is random
_MAX_STATE_BYTES: Final = 512


class Trace(NamedTuple):
    """A request's place in a trace: its own span, the client's span above it (0: none), flags and state."""

    trace_id: int
    span_id: int
    parent_span_id: int
    flags: int
    state: bytes

    @property
    def sampled(self) -> bool:
        """Are its spans to be exported?"""
        return bool(self.flags & _SAMPLED)


class TraceIds:
    """Draws trace and span ids; ids need to be unlike each other, not secret."""

    def __init__(self, sample: float, chance: random.Random | None = None) -> None:
        """`sample` (0 to 1) is the share of traces begun here that are exported; a client's own decision counts."""
        self._sample = sample
        self._chance = chance or random.Random()

    def begin(self, traceparent: bytes | None, tracestate: bytes | None = None) -> Trace:
        """A new span for a request: in the client's trace where `traceparent` is valid, else in a new one.

        An invalid `traceparent` is as good as none, and `tracestate` is dropped with it.
        """
        known = parse_traceparent(traceparent) if traceparent else None
        if known is not None:
            trace_id, parent_id, flags = known
            state = tracestate if tracestate is not None and len(tracestate) <= _MAX_STATE_BYTES else b""
            return Trace(trace_id, self.span_id(), parent_id, flags & (_SAMPLED | _RANDOM), state)
        flags = _RANDOM | (_SAMPLED if self._chance.random() < self._sample else 0)
        return Trace(self._chance.getrandbits(128) or 1, self.span_id(), 0, flags, b"")

    def span_id(self) -> int:
        """A new span's id, never 0."""
        return self._chance.getrandbits(64) or 1


def parse_traceparent(value: bytes) -> tuple[int, int, int] | None:
    """(trace id, span id, flags) of a `traceparent` header, None where it is not valid."""
    match = _PARENT.fullmatch(value.strip())
    if match is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    if version == b"ff" or (version == b"00" and more is not None):
        return None
    ids = int(trace_id, 16), int(span_id, 16)
    return (*ids, int(flags, 16)) if all(ids) else None


def traceparent(trace: Trace, span_id: int) -> bytes:
    """The header's value that names the span `span_id` as the parent of what the upstream does."""
    return b"00-%032x-%016x-%02x" % (trace.trace_id, span_id, trace.flags)
