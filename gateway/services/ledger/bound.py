"""How large a journal may become while the database takes no rows, and what happens then."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Final, Literal

from gateway.errors import GatewayError

_log = logging.getLogger("gateway.ledger")

OnFull = Literal["refuse", "drop"]
_TOLD_EVERY_S: Final = 10.0


class Bound:
    """A full journal refuses attempts before they are sent, or (`drop`) lets those go ahead whose rows may be lost.

    `most_bytes` are those of its files that are not wholly copied; None is no bound. Either way it is counted, and said
    at most every ten seconds, as critical.
    """

    def __init__(self, most_bytes: int | None = None, on_full: OnFull = "refuse") -> None:
        self._most_bytes = most_bytes
        self._on_full = on_full
        self._told_at = -_TOLD_EVERY_S
        self.refused_attempts = 0
        self.dropped_rows = 0

    def is_exceeded(self, file_bytes: int) -> bool:
        """Are these too many?"""
        return self._most_bytes is not None and file_bytes > self._most_bytes

    def note_attempt(self, directory: Path, *, droppable: bool = True) -> None:
        """An attempt came to the full journal in `directory`. Raises GatewayError(journal_unavailable), or drops it."""
        refuse = self._on_full == "refuse" or not droppable
        if refuse:
            self.refused_attempts += 1
            what = f"{self.refused_attempts} attempts refused so far"
        else:
            self.dropped_rows += 1
            what = f"{self.dropped_rows} rows LOST so far"
        if time.monotonic() - self._told_at >= _TOLD_EVERY_S:
            self._told_at = time.monotonic()
            _log.critical("the journal in %s is at ledger.max_journal_mb and is not copied; %s", directory, what)
        if refuse:
            raise GatewayError("journal_unavailable", "The usage journal is full: the database does not take its rows.")
