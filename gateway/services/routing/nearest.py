"""Names that look like one that nobody has, found with a bounded amount of work: whoever sends invented names must not
hold up those who send real ones."""

from __future__ import annotations

import difflib
import heapq
import itertools
from collections.abc import Callable, Iterable

MAX_COMPARED = 16
MAX_LOOKED_AT = 256
_MAX_REMEMBERED = 256
_MAX_SHOWN = 3
_ALIKE = 0.5
_MAX_NAME_CHARS = 128
_BITS = 255


class NearestNames:
    """An index of names. Each has a mask of the pairs of characters in it; those that share most pairs with what was
    asked for are the few that are compared in earnest."""

    def __init__(self, names: Iterable[str]) -> None:
        self._masks = [(name, _mask(name)) for name in names]
        self._ranked: dict[str, list[str]] = {}

    def find(self, name: str, allowed: Callable[[str], bool]) -> list[str]:
        """Up to three names that look like `name` and are `allowed`, the likest first."""
        name = name[:_MAX_NAME_CHARS]
        usable: list[str] = []
        for known in self._rank(name):
            if allowed(known):
                usable.append(known)
                if len(usable) == MAX_COMPARED:
                    break
        return difflib.get_close_matches(name, usable, n=_MAX_SHOWN, cutoff=_ALIKE)

    def _rank(self, name: str) -> list[str]:
        """The names that share pairs of characters with `name`, those with most first; remembered for a while."""
        ranked = self._ranked.get(name)
        if ranked is None:
            wanted = _mask(name)
            scored = [(shared, known) for known, mask in self._masks if (shared := (mask & wanted).bit_count())]
            ranked = [known for _, known in heapq.nlargest(MAX_LOOKED_AT, scored)]
            if len(self._ranked) >= _MAX_REMEMBERED:
                self._ranked.clear()
            self._ranked[name] = ranked
        return ranked


def _mask(name: str) -> int:
    """A bit for each pair of neighbours in `name`, upper and lower case alike."""
    mask = 0
    folded = name[:_MAX_NAME_CHARS].lower()
    for first, second in itertools.pairwise(folded):
        mask |= 1 << (ord(first) * 31 + ord(second)) % _BITS
    return mask
