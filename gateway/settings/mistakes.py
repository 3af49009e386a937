"""What is wrong with a configuration, said so that its writer can put it right without a search."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

_MOST_SHOWN = 100
_LONGEST_QUOTE = 64
# What begins like this, or is long and mixed, may be a credential that slipped into the wrong place.
_CREDENTIAL = re.compile(r"(?i)(?<![\w-])(sk-|pk-|gsk_|xai-|hf_|gh[pousr]_|AIza|eyJ|bearer\b)|://[^/]*@")
_LONG_MIXED = re.compile(r"(?=[^0-9]*[0-9])(?=[^A-Za-z]*[A-Za-z])[A-Za-z0-9+/=_]{28,}")


class Origin(NamedTuple):
    """Where a value was written: the file as the user named it, its 1-based line, and its dotted path."""

    file: str
    line: int
    path: str


class Mistake(NamedTuple):
    """One thing to put right; `line` is 0 where the mistake has no line (a file that is missing)."""

    file: str
    line: int
    path: str
    message: str
    suggestion: str | None = None

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        parts = [part for part in (place, self.path) if part]
        hint = f" (did you mean {self.suggestion}?)" if self.suggestion else ""
        return f"{': '.join([*parts, self.message])}{hint}"


class SettingsError(Exception):
    """A configuration that cannot be used. `mistakes` has all of them, in the order of files and lines.

    `source_files` are the files that it was read from or that are missing: a change of one may mend it.
    """

    def __init__(self, mistakes: Iterable[Mistake], source_files: tuple[Path, ...] = ()) -> None:
        self.source_files = source_files
        self.mistakes: Sequence[Mistake] = tuple(mistakes)
        shown = [str(mistake) for mistake in self.mistakes[:_MOST_SHOWN]]
        if (more := len(self.mistakes) - len(shown)) > 0:
            shown.append(f"… and {more} more")
        super().__init__("\n".join(shown))


def looks_like_credential(text: str) -> bool:
    """True where `text` may be a key or a token; it errs towards true, and only decides what is shown or refused."""
    return _CREDENTIAL.search(text) is not None or _LONG_MIXED.search(text) is not None


def quoted(text: str) -> str:
    """`text` in quotes for a message, or a stand-in where it is too long or looks like a credential."""
    if len(text) > _LONGEST_QUOTE or looks_like_credential(text) or not text.isprintable():
        return "'…' (not shown)"
    return f"'{text}'"


def shown_path(parts: Iterable[str | int]) -> str:
    """`("models", 0, "name")` as `models[0].name`; a part that may be a credential is not shown."""
    path = ""
    for part in parts:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            hidden = len(part) > _LONGEST_QUOTE or looks_like_credential(part) or not part.isprintable()
            path += ("." if path else "") + ("…" if hidden else part)
    return path


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The one of `names` that `name` was probably meant to be, or None."""
    by_folded = {other.casefold().replace("-", "_"): other for other in names}
    close = get_close_matches(name[:_LONGEST_QUOTE].casefold().replace("-", "_"), by_folded, n=1, cutoff=0.6)
    return by_folded[close[0]] if close else None
