"""When to try again, how long to wait before, and when trying again would make an outage worse."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_DECIMAL = re.compile(rb"[0-9]{1,9}(\.[0-9]{1,9})?")
_MAX_DOUBLINGS = 62  # beyond it any delay is over any limit, and the power no float


@dataclass(frozen=True, slots=True)
class RetryOptions:
    """`attempts` tries of one target at most; delays in seconds; the budget is a share of recent calls."""

    attempts: int = 3
    base_delay_s: float = 0.2
    max_delay_s: float = 5.0
    budget_share: float = 0.1
    budget_min: int = 10
    budget_window_s: float = 10.0


class RetryBudget:
    """Second tries at the same target, over all calls of this process: a share of the calls in the window.

    Without it a gateway multiplies an outage: SDK retries × its own × targets. Moving on to another target
    is not counted.
    """

    __slots__ = ("_calls", "_clock", "_options", "_retries", "_second", "_slots")

    def __init__(self, options: RetryOptions, clock: Callable[[], float]) -> None:
        self._options = options
        self._clock = clock
        self._slots = max(1, round(options.budget_window_s))
        self._calls = [0] * self._slots
        self._retries = [0] * self._slots
        self._second = int(clock())

    def _advance(self) -> int:
        second = int(self._clock())
        passed = second - self._second
        if passed > 0:
            for step in range(1, min(passed, self._slots) + 1):
                slot = (self._second + step) % self._slots
                self._calls[slot] = self._retries[slot] = 0
            self._second = second
        return self._second % self._slots

    def count_call(self) -> None:
        """A call has come."""
        self._calls[self._advance()] += 1

    def spend(self) -> bool:
        """Take one second try if there is one left."""
        slot = self._advance()
        allowed = max(self._options.budget_min, self._options.budget_share * sum(self._calls))
        if sum(self._retries) >= allowed:
            return False
        self._retries[slot] += 1
        return True


def backoff_s(options: RetryOptions, retry: int, rng: random.Random) -> float:
    """Exponential back-off with full jitter: uniform in [0, min(max, base × 2^retry)].

    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter (read 2026-11).
    """
    return rng.uniform(0.0, min(options.max_delay_s, options.base_delay_s * 2.0 ** min(retry, _MAX_DOUBLINGS)))


def retry_after_s(headers: list[tuple[bytes, bytes]], now: datetime | None = None) -> float | None:
    """The pause that an answer asks for, in seconds: `retry-after-ms`, else `Retry-After` (seconds or a date)."""
    asked: float | None = None
    for name, value in headers:
        if name == b"retry-after-ms":
            milliseconds = _number(value)
            if milliseconds is not None:
                return milliseconds / 1000.0
        elif name == b"retry-after":
            asked = _number(value)
            if asked is None:
                asked = _seconds_until(value, now)
    return asked


def _number(value: bytes) -> float | None:
    return float(value) if _DECIMAL.fullmatch(value) else None


def _seconds_until(value: bytes, now: datetime | None) -> float | None:
    try:
        when = parsedate_to_datetime(value.decode("ascii"))
    except (ValueError, TypeError, OverflowError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - (now or datetime.now(UTC))).total_seconds())
