"""A request that waits for units, and what it hears."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence, Set
from typing import NamedTuple

from gateway.services.quota.counter import Counter

Amounts = Sequence[tuple[Counter, int]]  # each counter at most once


class Refusal(NamedTuple):
    """Why units were not given: `limit`, `rebuilding` (the counter was lost, closed for now), or `away` (Valkey is)."""

    counter: Counter
    reason: str
    retry_after_s: float


def refused_lately(amounts: Amounts, now: float) -> Refusal | None:
    """The refusal of units of which no fewer were refused a moment ago, where none have come back since."""
    for counter, amount in amounts:
        if amount >= counter.refused_amount and now < counter.refused_until:
            return Refusal(counter, "limit", counter.retry_after_s(now))
    return None


class Ask:
    """Units of several counters, all or none. `answer` is done when it is known, or when nobody waits any more. `lent`
    are those that were set aside for it here; `opening`: it waits for a counter that is being opened; `due` is when it
    is told something without an answer."""

    __slots__ = ("amounts", "answer", "due", "extended", "lent", "opening")

    def __init__(self, amounts: Amounts, answer: asyncio.Future[Refusal | None], due: float) -> None:
        self.amounts = amounts
        self.answer = answer
        self.lent: list[int] = []
        self.opening = False
        self.due = due
        self.extended = False

    def lend(self, now: float) -> list[tuple[Counter, int]]:
        """Set aside what is leased already; what is to be asked for beyond it."""
        short = []
        self.lent = []
        for counter, amount in self.amounts:
            lent = 0 if counter.over(now) else max(0, min(counter.available, amount))
            counter.available -= lent
            self.lent.append(lent)
            short.append((counter, amount - lent))
        return short

    def short_of(self) -> set[Counter]:
        """The counters of which more had to be asked for."""
        return {counter for (counter, amount), lent in zip(self.amounts, self.lent, strict=True) if amount > lent}

    def take_back(self) -> None:
        """Undo `lend`."""
        self.refuse(frozenset())

    def grant(self, turned: Set[Counter], past: Set[Counter], *, sound: bool) -> bool:
        """Valkey gave what was asked for. True: the request may go on.

        False: nobody waits any more, or it has to ask again: some of what was lent is worth nothing, for its window is
        over (`turned`: another is known by now), or all of it may be (not `sound`). The rest is there for others. Of
        counters in `past` even what was given is over.
        """
        again = not sound
        for (counter, amount), lent in zip(self.amounts, self.lent, strict=True):
            if counter not in past:
                counter.holding += amount - lent
            again = again or counter in past or (lent > 0 and counter in turned)
        if not again and not self.answer.done():
            return True
        for (counter, amount), lent in zip(self.amounts, self.lent, strict=True):
            if counter not in past:
                counter.put_back(amount - lent if counter in turned else amount)
        return False

    def refuse(self, turned: Set[Counter]) -> None:
        """Valkey gave nothing: what was lent is there for others, where its window still lasts."""
        for (counter, _), lent in zip(self.amounts, self.lent, strict=True):
            if counter not in turned:
                counter.put_back(lent)
        self.lent = []

    def tell(self, refusal: Refusal | None) -> None:
        """Answer whoever waits."""
        if not self.answer.done():
            self.answer.set_result(refusal)
