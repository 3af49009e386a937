"""A circuit breaker per target, fed by the calls themselves: no probe is ever sent, so none is ever billed.

Closed, it counts. Open, it refuses until `open_s` have passed. Half-open, one live request decides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

CLOSED, HALF_OPEN, OPEN = 0, 1, 2
STATE_NAMES = ("closed", "half_open", "open")

_BUCKETS = 10


@dataclass(frozen=True, slots=True)
class BreakerOptions:
    """When a breaker opens: `error_rate` of at least `min_requests` in `window_s`, or failures in a row."""

    window_s: float = 30.0
    min_requests: int = 20
    error_rate: float = 0.5
    consecutive_failures: int = 5
    open_s: float = 15.0


class Breaker:
    """One target's breaker. `allow` before a request, then exactly one of `succeed`, `fail`, `forget`."""

    __slots__ = (
        "_bucket_s",
        "_buckets",
        "_clock",
        "_consecutive",
        "_options",
        "_probing",
        "_slot",
        "opened_at",
        "state",
    )

    def __init__(self, options: BreakerOptions, clock: Callable[[], float]) -> None:
        self._options = options
        self._clock = clock
        self._bucket_s = options.window_s / _BUCKETS
        self._buckets = [[0, 0] for _ in range(_BUCKETS)]  # requests, failures
        self._slot = 0
        self._consecutive = 0
        self._probing = False
        self.opened_at = 0.0
        self.state = CLOSED

    def allow(self) -> bool:
        """May a request go to this target now? A True while half-open takes the one place there is."""
        if self.state == CLOSED:
            return True
        if self.state == OPEN and self._clock() - self.opened_at >= self._options.open_s:
            self.state = HALF_OPEN
        if self.state == HALF_OPEN and not self._probing:
            self._probing = True
            return True
        return False

    def retry_in_s(self) -> float:
        """Seconds until an open breaker lets its next request through; 0 if it would now."""
        if self.state != OPEN:
            return 0.0
        return max(0.0, self._options.open_s - (self._clock() - self.opened_at))

    def succeed(self) -> None:
        """The target answered; what it answered may still be the client's fault."""
        self._consecutive = 0
        if self.state == CLOSED:
            self._count(0)
        else:
            self._close()

    def fail(self) -> None:
        """The target did not do its work."""
        if self.state != CLOSED:
            self._open()
            return
        self._consecutive += 1
        self._count(1)
        options = self._options
        if self._consecutive >= options.consecutive_failures:
            self._open()
            return
        requests = sum(bucket[0] for bucket in self._buckets)
        failures = sum(bucket[1] for bucket in self._buckets)
        if requests >= options.min_requests and failures >= options.error_rate * requests:
            self._open()

    def forget(self) -> None:
        """The request says nothing about the target: the client left, or it was never sent."""
        self._probing = False

    def _count(self, failed: int) -> None:
        slot = int(self._clock() / self._bucket_s)
        if slot != self._slot:
            for passed in range(self._slot + 1, min(slot, self._slot + _BUCKETS) + 1):
                bucket = self._buckets[passed % _BUCKETS]
                bucket[0] = bucket[1] = 0
            if slot - self._slot > _BUCKETS:
                for bucket in self._buckets:
                    bucket[0] = bucket[1] = 0
            self._slot = slot
        bucket = self._buckets[slot % _BUCKETS]
        bucket[0] += 1
        bucket[1] += failed

    def _open(self) -> None:
        self.state = OPEN
        self.opened_at = self._clock()
        self._probing = False

    def _close(self) -> None:
        self.state = CLOSED
        self._probing = False
        self._consecutive = 0
        for bucket in self._buckets:
            bucket[0] = bucket[1] = 0
