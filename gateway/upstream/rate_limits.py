"""What a provider's rate-limit headers say about the key that was used."""

from __future__ import annotations

import re
from datetime import UTC, datetime

Headers = list[tuple[bytes, bytes]]

# OpenAI and those who copy it: x-ratelimit-remaining-requests, x-ratelimit-reset-requests: 6m0s
# (https://platform.openai.com/docs/guides/rate-limits, read 2026-11); some leave the kind out.
_OPENAI = re.compile(rb"x-ratelimit-(remaining|reset)(-[a-z-]+)?")
# Anthropic: anthropic-ratelimit-input-tokens-remaining, …-reset: 2026-11-02T10:00:00Z
# (https://docs.anthropic.com/en/api/rate-limits, read 2026-11).
_ANTHROPIC = re.compile(rb"anthropic-ratelimit-([a-z-]+)-(remaining|reset)")
_DURATION = re.compile(rb"(?:[0-9]{1,9}(?:\.[0-9]{1,9})?(?:ms|d|h|m|s))+")
_PART = re.compile(rb"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|d|h|m|s)")
_UNIT_S = {b"ms": 0.001, b"s": 1.0, b"m": 60.0, b"h": 3600.0, b"d": 86_400.0}
_NUMBER = re.compile(rb"[0-9]{1,15}(?:\.[0-9]{1,9})?")
_ZERO = re.compile(rb"0+(?:\.0*)?")
# A plain number is seconds, unless it can only be a date: seconds or milliseconds since 1970.
_DATE_FROM = 1_000_000_000.0
_DATE_MS_FROM = 100_000_000_000.0


def exhausted_for_s(headers: Headers, wall_s: float) -> float:
    """Seconds until the limits that are at zero are full again; 0.0 where none is, or nothing says when.

    `headers` have names in lower case, `wall_s` is seconds since 1970.
    """
    empty: set[bytes] = set()
    resets: dict[bytes, bytes] = {}
    for name, value in headers:
        if b"ratelimit" not in name:
            continue
        kind, what = _kind(name)
        if what == b"reset":
            resets[kind] = value
        elif what == b"remaining" and _ZERO.fullmatch(value.strip()):
            empty.add(kind)
    if not empty:
        return 0.0
    return max((_seconds_until(resets[kind], wall_s) for kind in empty if kind in resets), default=0.0)


def _kind(name: bytes) -> tuple[bytes, bytes]:
    if match := _OPENAI.fullmatch(name):
        return match[2] or b"", match[1]
    if match := _ANTHROPIC.fullmatch(name):
        return match[1], match[2]
    return b"", b""


def _seconds_until(value: bytes, wall_s: float) -> float:
    value = value.strip()
    if _DURATION.fullmatch(value):
        return sum(float(number) * _UNIT_S[unit] for number, unit in _PART.findall(value))
    if _NUMBER.fullmatch(value):
        number = float(value)
        if number < _DATE_FROM:
            return number
        return max(0.0, (number / 1000.0 if number >= _DATE_MS_FROM else number) - wall_s)
    try:
        moment = datetime.fromisoformat(value.decode("ascii"))
    except ValueError:
        return 0.0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, moment.timestamp() - wall_s)
