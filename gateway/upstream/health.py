"""A circuit breaker per target, fed by the calls themselves: no probe is ever sent, so none is ever billed.

Closed, it counts. Open, it refuses until `open_s` have passed. Half-open, one live request decides. Every
change of state begins a new generation; the result of a request let through in an older one says nothing
about the present state and is ignored, so a late failure cannot end a probe, nor a late success the pause.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gateway.errors import Again, GatewayError

CLOSED, HALF_OPEN, OPEN = 0, 1, 2
STATE_NAMES = ("closed", "half_open", "open")

# Failures of a target that works: the request was read and judged.
_ANSWERED = frozenset({"upstream_4xx", "context_length_exceeded", "content_policy_violation"})
# Failures that say nothing about the target's health.
_NO_FAULT = frozenset(
    {"upstream_429", "upstream_408", "upstream_409", "upstream_total_timeout", "upstream_reset_before_write"}
)

_BUCKETS = 10

# What `allow` gives: the generation that a request belongs to, and 0 where it may not go.
Ticket = int


@dataclass(frozen=True, slots=True)
class BreakerOptions:
    """When a breaker opens: `error_rate` of at least `min_requests` in `window_s`, or failures in a row."""

    window_s: float = 30.0
    min_requests: int = 20
    error_rate: float = 0.5
    consecutive_failures: int = 5
    open_s: float = 15.0


class Breaker:
    """One target's breaker. `allow` before a request, then exactly one of `succeed`, `fail`, `forget` with its ticket.

    Without a ticket the request counts as one of the present generation.
    """

    __slots__ = (
        "_bucket_s",
        "_buckets",
        "_clock",
        "_consecutive",
        "_generation",
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
        self._generation: Ticket = 1
        self._probing = False
        self.opened_at = 0.0
        self.state = CLOSED

    def allow(self) -> Ticket:
        """May a request go to this target now? While half-open a ticket takes the one place there is; 0 means no."""
        if self.state == CLOSED:
            return self._generation
        if self.state == OPEN and self._clock() - self.opened_at >= self._options.open_s:
            self._change(HALF_OPEN)
        if self.state == HALF_OPEN and not self._probing:
            self._probing = True
            return self._generation
        return 0

    def retry_in_s(self) -> float:
        """Seconds until an open breaker lets its next request through; 0 if it would now."""
        if self.state != OPEN:
            return 0.0
        return max(0.0, self._options.open_s - (self._clock() - self.opened_at))

    def refuses(self) -> bool:
        """Would `allow` say no? Takes no place."""
        return self.retry_in_s() > 0.0 or (self.state == HALF_OPEN and self._probing)

    def answering(self, ticket: Ticket) -> Ticket:
        """A stream's first event is there: proof enough for a probe, which may then go on for minutes.

        Returns the ticket to end with.
        """
        if self.state == HALF_OPEN and ticket == self._generation:
            self._change(CLOSED)
            return self._generation
        return ticket

    def succeed(self, ticket: Ticket | None = None) -> None:
        """The target answered; what it answered may still be the client's fault."""
        if ticket is not None and ticket != self._generation:
            return
        if self.state == CLOSED:
            self._consecutive = 0
            self._count(0)
        else:
            self._change(CLOSED)

    def fail(self, ticket: Ticket | None = None) -> None:
        """The target did not do its work."""
        if ticket is not None and ticket != self._generation:
            return
        if self.state != CLOSED:
            self._open()
            return
        self._consecutive += 1
        self._count(1)
        options = self._options
        requests = sum(bucket[0] for bucket in self._buckets)
        failures = sum(bucket[1] for bucket in self._buckets)
        if self._consecutive >= options.consecutive_failures or (
            requests >= options.min_requests and failures >= options.error_rate * requests
        ):
            self._open()

    def forget(self, ticket: Ticket | None = None) -> None:
        """The request says nothing about the target: the client left, or it was never sent."""
        if ticket is None or ticket == self._generation:
            self._probing = False

    def _count(self, failed: int) -> None:
        slot = int(self._clock() / self._bucket_s)
        if slot != self._slot:
            for passed in range(max(self._slot + 1, slot - _BUCKETS + 1), slot + 1):
                bucket = self._buckets[passed % _BUCKETS]
                bucket[0] = bucket[1] = 0
            self._slot = slot
        bucket = self._buckets[slot % _BUCKETS]
        bucket[0] += 1
        bucket[1] += failed

    def _open(self) -> None:
        self._change(OPEN)
        self.opened_at = self._clock()

    def _change(self, state: int) -> None:
        self.state = state
        self._generation += 1
        self._probing = False
        self._consecutive = 0
        if state == CLOSED:
            for bucket in self._buckets:
                bucket[0] = bucket[1] = 0


def judge(breaker: Breaker, ticket: Ticket, error: GatewayError) -> None:
    """Tell the target's breaker what a failure says of it."""
    if error.code in _ANSWERED:
        breaker.succeed(ticket)
    elif error.failure.again in (Again.NEVER, Again.SPECIAL) or error.code in _NO_FAULT:
        breaker.forget(ticket)
    else:
        breaker.fail(ticket)
