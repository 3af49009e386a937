"""A counter as one worker sees it: its share of what is left, and what it has spent of that."""

from __future__ import annotations

from typing import Final, Literal

from mypy_extensions import mypyc_attr

Kind = Literal["r", "h", "m"]
RATE: Final[Kind] = "r"
HELD: Final[Kind] = "h"
MONEY: Final[Kind] = "m"

OnStoreFailure = Literal["deny", "allow", "local"]

MOST: Final = 2**53 - 1  # Lua's numbers are exact up to here
_FIRST_SHARE: Final = 16
_LARGEST_SHARE: Final = 1 << 40
# A share that lasted less than this was too small, one that lasted more than that too large.
_SHORT_S: Final = 0.5
_LONG_S: Final = 2.0
_ASKS_AHEAD: Final = 8
# So long nobody is asked for what has just been refused; a client that tries again and again costs no exchange each.
_REFUSED_S: Final = 0.025


@mypyc_attr(allow_interpreted_subclasses=True)
class Counter:
    """One thing that is counted. Made by `Quota.counter`, which gives the same object for the same name.

    `limit` is in units: requests, tokens, requests at once, or nano-dollars; `window_s` is 0 where nothing is counted
    by windows. `available` may be spent now, `holding` is what Valkey has on this worker's account: what is available
    and what is out (spent in this window; under way; spent and not yet in the ledger). `until` is when, by
    `time.monotonic`, the lease's window ends. `remaining` is what Valkey had left for anybody when it was last asked.
    Less than `refused_amount` may be had, or more after `refused_until`.
    """

    __slots__ = (
        "available",
        "holding",
        "idle_mark",
        "kind",
        "leased_at",
        "limit",
        "local",
        "name",
        "on_store_failure",
        "refused_amount",
        "refused_until",
        "remaining",
        "share",
        "tight",
        "unsent",
        "until",
        "window",
        "window_s",
    )

    def __init__(self, name: str, kind: Kind, limit: int, window_s: int, on_store_failure: OnStoreFailure) -> None:
        self.name = name
        self.kind: Kind = kind
        self.limit = limit
        self.window_s = window_s
        self.on_store_failure: OnStoreFailure = on_store_failure
        self.available = 0
        self.holding = 0
        self.until = 0.0 if kind == RATE else float("inf")
        self.window = 0
        self.remaining = limit
        self.share = _FIRST_SHARE
        self.leased_at = 0.0
        self.idle_mark = -1
        self.tight = False  # so little is left that nothing is retained
        self.local = False  # the lease is this worker's own idea, made while Valkey was away
        self.unsent = 0  # debt, part of `holding`, that Valkey has to be told of
        self.refused_amount = 0
        self.refused_until = 0.0

    def over(self, now: float) -> bool:
        """The window that the lease belongs to has ended."""
        return self.kind == RATE and now >= self.until

    def enter(self, window: int, until: float, owed: int = 0) -> None:
        """A window has begun: the lease of the one before is worth nothing any more. `owed` is debt already made."""
        self.window, self.until = window, until
        self.available = 0
        self.holding = self.unsent = owed
        self.tight = self.local = False
        self.refused_until = 0.0

    def put_back(self, amount: int) -> None:
        """Units of this worker's account are available, again or for the first time."""
        self.available += amount
        if amount:
            self.refused_until = 0.0

    def disown(self) -> None:
        """Have nothing available: only what is out is this worker's own."""
        self.holding, self.available = self.out, 0

    def expect(self, amount: int) -> None:
        """Such an amount is asked for: the next share should serve some more of them."""
        self.share = max(self.share, min(_ASKS_AHEAD * amount, _LARGEST_SHARE))

    def note_refusal(self, amount: int, now: float) -> None:
        """So many units cannot be had, and will not be for a moment; units at once may be free at any time."""
        if self.kind != HELD:
            self.refused_amount = amount
            self.refused_until = min(now + _REFUSED_S, self.until)

    def retry_after_s(self, now: float) -> float:
        """When it makes sense to ask again: in the next window, or in a second."""
        return max(self.until - now, 0.001) if self.kind == RATE else 1.0

    def grant(self, amount: int, now: float) -> None:
        """Valkey has put `amount` units more on this worker's account, beyond what was asked for."""
        self.put_back(amount)
        self.holding += amount
        if amount:
            lasted_s = now - self.leased_at
            if lasted_s < _SHORT_S:
                self.share = min(2 * self.share, _LARGEST_SHARE)
            elif lasted_s > _LONG_S:
                self.share = max(self.share // 2, _FIRST_SHARE)
            self.leased_at = now
        self.tight = not amount

    @property
    def out(self) -> int:
        """Units of this worker's account that are not available."""
        return self.holding - self.available
