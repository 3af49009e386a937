"""Whether a server is reached: a breaker for those who have a client waiting."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

REFUSE_S: Final = 1.0


class Reach:
    """After a failure nobody asks for `refuse_s`, then one call each such time tries, until one is answered.

    `away_since` is on `now`'s clock, None while the server answers; `refused` counts the calls that were not made.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic, refuse_s: float = REFUSE_S) -> None:
        self._now = now
        self._refuse_s = refuse_s
        self._try_at = 0.0
        self.away_since: float | None = None
        self.refused = 0

    def allow(self) -> bool:
        """May the server be asked now? Where it is away, whoever is told so is the one that tries."""
        if self.away_since is None:
            return True
        now = self._now()
        if now < self._try_at:
            self.refused += 1
            return False
        self._try_at = now + self._refuse_s
        return True

    def fail(self) -> None:
        """It was not reached, or did not answer in time."""
        now = self._now()
        if self.away_since is None:
            self.away_since = now
        self._try_at = now + self._refuse_s

    def answer(self) -> None:
        """It has answered."""
        self.away_since = None
