"""What a worker may spend while Valkey does not answer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gateway.services.quota.ask import Amounts
from gateway.services.quota.counter import HELD, MONEY, RATE, Counter
from gateway.services.quota.exchange import Answer


@dataclass(slots=True)
class LastWord:
    """What was last heard of Valkey. `now_us` is its clock in an exchange that was first sent at `heard_at` by
    `time.monotonic`; `alive` workers there were (0: nothing was ever heard); leases are worth something without another
    word until `trusted_until`, and counters that were lost are closed until `closed_until`."""

    now_us: int = 0
    heard_at: float = 0.0
    alive: int = 0
    trusted_until: float = 0.0
    closed_until: float = 0.0

    def hear(self, answer: Answer, began: float, trust_s: float) -> None:
        """Take over what an exchange that was first sent at `began` says."""
        self.now_us, self.heard_at = answer.now_us, began
        # While counters are closed not everybody has come back yet.
        self.alive = max(self.alive, answer.alive) if answer.closed else answer.alive
        self.trusted_until = began + trust_s
        self.closed_until = began + answer.opens_ms / 1000 - answer.now_us / 1e6

    def end_of(self, counter: Counter, window: int) -> float:
        """When a window ends, by `time.monotonic`; never later than it does."""
        return self.heard_at + ((window + 1) * counter.window_s * 1_000_000 - self.now_us) / 1e6

    def window(self, counter: Counter, now: float) -> tuple[int, float]:
        """The window that it is now, by Valkey's clock, and its end by `time.monotonic`."""
        window = (self.now_us + int((now - self.heard_at) * 1e6)) // (counter.window_s * 1_000_000)
        return window, self.end_of(counter, window)


def spend_unasked(amounts: Amounts, last: LastWord, now: float, *, share: bool) -> Counter | None:
    """Spend without asking, as each counter's `on_store_failure` says; the counter that refuses, else None.

    Not `share`: Valkey is only slow. Then nothing is spent but what is leased, or what a counter `allow`s.
    """
    for counter, amount in amounts:
        if _left(counter, last, now, share=share) < amount and counter.on_store_failure != "allow":
            return counter
    for counter, amount in amounts:
        counter.available -= amount
    return None


def waits_for_share(amounts: Amounts, last: LastWord, now: float) -> bool:
    """Is nothing in the way of these but counters that go on with a part of their limit once Valkey is known to be
    mute?"""
    refusers = [
        counter
        for counter, amount in amounts
        if counter.on_store_failure != "allow" and _left(counter, last, now, share=False) < amount
    ]
    return bool(refusers) and all(counter.on_store_failure == "local" and counter.kind != MONEY for counter in refusers)


def _left(counter: Counter, last: LastWord, now: float, *, share: bool) -> int:
    """What this worker may still spend: what is leased, and then its part among those last alive, of what was left in
    the window under way, or of the limit."""
    policy = counter.on_store_failure
    trusted = now < last.trusted_until
    if counter.kind == MONEY:
        return counter.available if trusted else 0
    goes_on = share and policy == "local"
    if counter.kind == RATE and not counter.over(now):
        left = counter.remaining // last.alive if goes_on and last.alive and not counter.local else 0
        return counter.available + left if trusted or policy != "deny" else 0
    if counter.kind == HELD and trusted and now >= last.closed_until and not goes_on:
        return counter.available
    if policy == "deny" or not (share or policy == "allow"):
        return 0
    part = counter.limit // last.alive if share and last.alive else 0
    if counter.kind == HELD:
        return max(part, counter.holding) - counter.out
    counter.enter(*last.window(counter, now))
    counter.local = True
    counter.available = counter.holding = part
    return part


def owe(counters: Iterable[Counter], now: float, *, closed: bool) -> None:
    """Valkey answers again: what was spent without it becomes debt, of which it is going to be told.

    `closed`: it gives nothing to anybody yet, so that this worker's part of the limit is still there to be spent.
    """
    for counter in counters:
        if counter.over(now):
            counter.unsent = 0
        elif counter.local:
            counter.unsent = counter.out
            if closed:
                counter.holding = counter.available
            else:
                counter.disown()
                counter.local = False
        elif counter.available < 0:
            counter.unsent -= counter.available
            counter.disown()
