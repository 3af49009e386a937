"""Tags and end users as they get into the ledger: bounded in number, hashed where that is asked for."""

from __future__ import annotations

import hmac
import re
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from gateway.services.keys.key import Key
from gateway.wire.dialect import Document
from gateway.wire.reporting import HEADER, read_tags, read_user

OTHER: Final = "other"
_HASH_CHARS: Final = 32
_HASH: Final = re.compile(f"[0-9a-f]{{{_HASH_CHARS}}}")
_NOTHING: Final[tuple[str, tuple[str, ...]]] = ("", ())
_DAY_S: Final = 86_400
# What a worker remembers of all teams together, some 100 bytes each; beyond that it begins anew before the day ends.
_MOST_NAMES: Final = 500_000


class Reporting:
    """Says for each request what to write of its end user and its tags.

    `hash_key`, where it is given, makes of every user the first 128 bits of its HMAC-SHA256, in hex: equal ones stay
    equal, and nobody without the gateway's secret can tell or try out who it is. Of each team, or of each key without
    one, a worker reports the first `max_tags` tags and `max_users` users of a day (UTC) under their names, and all
    later ones as `other`.
    """

    def __init__(
        self,
        *,
        max_tags: int,
        max_users: int,
        hash_key: bytes | None = None,
        clock: Callable[[], float] = time.time,
        most_names: int = _MOST_NAMES,
    ) -> None:
        self._max_tags = max_tags
        self._max_users = max_users
        self._hash_key = hash_key
        self._clock = clock
        self._most_names = max(most_names, 2 * (max_tags + max_users))
        self._day_ends = 0.0
        self._names = 0
        # By holder. Hashes of names: a name that shares one with another is reported although it is one too many.
        self._tags: dict[str, set[int]] = defaultdict(set)
        self._users: dict[str, set[int]] = defaultdict(set)

    @property
    def hashes(self) -> bool:
        """Are end users hashed?"""
        return self._hash_key is not None

    def end_user(self, document: Mapping[str, object]) -> str:
        """Whom the request is for, hashed where that is asked for, whatever number there is; "" where it names nobody.

        Raises GatewayError(invalid_field).
        """
        return self._written(read_user(document))

    def asked_for(self, user: str) -> str:
        """Whom an administrator means by `user`: the name that callers give, or the hash that is shown of it."""
        return user if self._hash_key is not None and _HASH.fullmatch(user) else self._written(user)

    def names(self, document: Mapping[str, Any]) -> dict[str, str]:
        """What a request, well-formed or not, has for its end user, and what is written in its place; none where names
        are written as they are."""
        if self._hash_key is None:
            return {}
        metadata = document.get("metadata")
        given = (document.get("user"), metadata.get("user_id") if isinstance(metadata, dict) else None)
        return {_text(value): self._written(_text(value)) for value in given if value}

    def hidden(self, document: Document) -> Document:
        """A request, or what echoes it, with hashes in the place of its end user where that is asked for."""
        names = self.names(document)
        if not names:
            return document
        shown = dict(document)
        if user := shown.get("user"):
            shown["user"] = names[_text(user)]
        metadata = shown.get("metadata")
        if isinstance(metadata, dict) and (user := metadata.get("user_id")):
            shown["metadata"] = {**metadata, "user_id": names[_text(user)]}
        return shown

    def _written(self, user: str) -> str:
        if not user or self._hash_key is None:
            return user
        return hmac.digest(self._hash_key, user.encode("utf-8", "surrogatepass"), "sha256").hex()[:_HASH_CHARS]

    def of(
        self, headers: Mapping[bytes, bytes], document: Mapping[str, object], key: Key
    ) -> tuple[str, tuple[str, ...]]:
        """The end user and the tags to write down of a request of `key`. Raises GatewayError(invalid_field)."""
        header = headers.get(HEADER)
        if header is None and "user" not in document and "metadata" not in document:
            return _NOTHING
        now = self._clock()
        if now >= self._day_ends or self._names >= self._most_names:
            self._forget(now)
        holder = key.team_id or key.line_id or ""
        if header is None and "metadata" not in document:
            user = self.end_user(document)
            return (self._known(self._users[holder], user, self._max_users), ()) if user else _NOTHING
        tags, user = read_tags(header, document), self.end_user(document)
        if not tags and not user:
            return _NOTHING
        kept = tuple(dict.fromkeys([self._known(self._tags[holder], tag, self._max_tags) for tag in tags]))
        return self._known(self._users[holder], user, self._max_users), kept

    def _forget(self, now: float) -> None:
        self._day_ends = (now // _DAY_S + 1) * _DAY_S
        self._names = 0
        self._tags.clear()
        self._users.clear()

    def _known(self, seen: set[int], name: str, most: int) -> str:
        known_as = hash(name)
        if not name or known_as in seen:
            return name
        if len(seen) >= most:
            return OTHER
        seen.add(known_as)
        self._names += 1
        return name


def _text(value: object) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
