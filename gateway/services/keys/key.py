"""A caller's key as the pipeline sees it: who it is and what it may use."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from gateway.store.audit import AdminRole

# What a key without `endpoints` may use. Files and the like hold data that outlives a request, so a
# key has to name them.
DEFAULT_ENDPOINTS = frozenset(
    {"chat", "completions", "embeddings", "rerank", "responses", "moderations", "images", "audio"}
)
NAMED_ENDPOINTS = frozenset({"files", "batches", "fine_tuning", "responses_stored", "uploads", "vector_stores"})
# These tell a caller only what its own key may do.
OPEN_ENDPOINTS = frozenset({"models", "key"})
DEFAULT_WORD = "default"
ENDPOINT_WORDS = DEFAULT_ENDPOINTS | NAMED_ENDPOINTS | {DEFAULT_WORD}

_VERDICTS = 256
_LONGEST_NAME = 512


class AllowList:
    """A key's `models`: exact names and globs (`*` stands for any characters, also none)."""

    __slots__ = ("_direct", "_verdicts", "entries")

    def __init__(self, entries: tuple[str, ...]) -> None:
        self.entries = entries
        self._verdicts: dict[str, bool] = {}
        # `*` alone means every declared model, not every model of every provider.
        self._direct = tuple(entry for entry in entries if "/" in entry)

    def allows(self, name: str) -> bool:
        """Is the declared model `name` on the list?"""
        verdict = self._verdicts.get(name)
        return self._decide(name, name, self.entries) if verdict is None else verdict

    def allows_direct(self, name: str) -> bool:
        """Is the undeclared `provider/model` on the list, by its name or a glob with a slash?"""
        known = "\0" + name
        verdict = self._verdicts.get(known)
        return self._decide(known, name, self._direct) if verdict is None else verdict

    def _decide(self, known: str, name: str, entries: tuple[str, ...]) -> bool:
        if len(name) > _LONGEST_NAME:
            return False
        verdict = any(name == entry or ("*" in entry and _glob(entry).fullmatch(name)) for entry in entries)
        if len(self._verdicts) >= _VERDICTS:
            self._verdicts.clear()
        self._verdicts[known] = verdict
        return verdict


def _glob(entry: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in entry.split("*")), re.DOTALL)


@dataclass(slots=True, eq=False)
class Key:
    """One virtual key, or the master key (`is_master`, with no id, team or limits of any kind).

    `organisation_id` is the team's, or without a team that of all the user's teams that have one; `line_id` is the id
    of the first key of a line of rotated ones, on which limits and budgets are set; `team_weight` is its team's share
    of a queue. `admin_role` says what the key may do as an admin (None: nothing), and nothing of what it may use.
    `models` None: all declared models. `endpoints` None: `DEFAULT_ENDPOINTS`. Times are Unix microseconds;
    `loaded_at_s` is `time.monotonic()` when the row was read.
    """

    id: str | None
    name: str
    team_id: str | None = None
    team: str | None = None
    organisation_id: str | None = None
    user_id: str | None = None
    admin_role: AdminRole | None = None
    models: AllowList | None = None
    endpoints: frozenset[str] | None = None
    expires_at_us: int | None = None
    is_master: bool = False
    loaded_at_s: float = 0.0
    line_id: str | None = None
    team_weight: float = 1.0
    _open: frozenset[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.line_id is None:
            self.line_id = self.id
        named = DEFAULT_ENDPOINTS if self.endpoints is None else self.endpoints
        if DEFAULT_WORD in named:
            named = named | DEFAULT_ENDPOINTS
        self._open = named | OPEN_ENDPOINTS

    def allows_model(self, name: str) -> bool:
        """May this key use the declared model `name`?"""
        return True if self.models is None else self.models.allows(name)

    def allows_direct(self, name: str) -> bool:
        """May this key use the undeclared `provider/model` called `name`? Only where its list says so."""
        if self.models is None:
            return self.is_master
        return self.models.allows_direct(name)

    def allows_endpoint(self, name: str) -> bool:
        """May this key use the endpoint `name`, a word of `ENDPOINT_WORDS` or `OPEN_ENDPOINTS`?"""
        return self.is_master or name in self._open
