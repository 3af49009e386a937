"""The keys that this process knows, and the rules by which it forgets them. Synchronous and pure.

A row may change while an answer about it is on its way: whoever asks the database opens a `Watch`
first and gives it back with the answer, and an answer older than a change seen since is not kept.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable

from gateway.services.keys.key import Key


class Watch:
    """The changes announced since one question was sent to the database."""

    __slots__ = ("any", "everything", "ids")

    def __init__(self) -> None:
        self.ids: set[str] = set()
        self.everything = False
        self.any = False

    def touches(self, key: Key) -> bool:
        """Has anything been announced that `key` may depend on?"""
        return self.everything or not self.ids.isdisjoint((key.id, *_holders(key)))


class Snapshot:
    """Warm keys by token, least recently used first out, and refused tokens for a short while.

    `size` bounds the warm keys, `refused_size` and `refused_ttl_s` the refused ones.
    """

    def __init__(self, *, size: int, refused_size: int, refused_ttl_s: float) -> None:
        self._size = size
        self._refused_size = refused_size
        self._refused_ttl_s = refused_ttl_s
        self._warm: OrderedDict[str, Key] = OrderedDict()
        self._token_of: dict[str, str] = {}
        self._refused: OrderedDict[str, tuple[str, float]] = OrderedDict()
        self._watches: set[Watch] = set()
        # Bound once: the hot path pays for two calls, not for two attribute chains.
        self.get = self._warm.get
        self.touch = self._warm.move_to_end

    def __len__(self) -> int:
        return len(self._warm)

    @property
    def refused_count(self) -> int:
        """Refused tokens held, at most `refused_size`."""
        return len(self._refused)

    def refusal(self, token: str) -> str | None:
        """The error code with which `token` was refused a short while ago, or None."""
        entry = self._refused.get(token)
        if entry is None:
            return None
        code, until_s = entry
        if time.monotonic() < until_s:
            return code
        del self._refused[token]
        return None

    def watch(self) -> Watch:
        """Open a watch; call before the question is sent. Close it with `unwatch`."""
        watch = Watch()
        self._watches.add(watch)
        return watch

    def unwatch(self, watch: Watch) -> None:
        """End a watch; what it saw is no longer kept."""
        self._watches.discard(watch)

    def keep(self, token: str, key: Key, watch: Watch) -> bool:
        """Make `key` warm; False, and nothing kept, when it changed while the answer was on its way."""
        if watch.touches(key):
            return False
        assert key.id is not None
        self._warm[token] = key
        self._warm.move_to_end(token)
        self._token_of[key.id] = token
        if len(self._warm) > self._size:
            _, evicted = self._warm.popitem(last=False)
            self._token_of.pop(evicted.id or "", None)
        return True

    def refuse(self, token: str, code: str, watch: Watch) -> bool:
        """Remember for `refused_ttl_s` that `token` is refused; False when anything changed meanwhile.

        Anything, for a token that names no row may have been given one.
        """
        if watch.any:
            return False
        self._refused[token] = (code, time.monotonic() + self._refused_ttl_s)
        if len(self._refused) > self._refused_size:
            self._refused.popitem(last=False)
        return True

    def forget(self, key_id: str) -> None:
        """A key's row was made, changed or deleted."""
        self._changed(key_id)
        self._drop(key_id)

    def forget_holder(self, row_id: str) -> None:
        """A team, an organisation or a user was changed: its keys carry its name, and fall with it."""
        self._changed(row_id)
        for key_id in [key.id for key in self._warm.values() if row_id in _holders(key) and key.id]:
            self._drop(key_id)

    def doubt(self) -> None:
        """Anything may have changed: answers on their way are stale, what is warm stays until re-read."""
        self._refused.clear()
        for watch in self._watches:
            watch.any = watch.everything = True

    def warm_ids(self) -> list[str]:
        """The ids of all warm keys."""
        return list(self._token_of)

    def replace(self, asked: Iterable[str], found: Iterable[Key], watch: Watch) -> None:
        """After a re-read of the ids `asked`: put the keys `found` in place, drop the others.

        A key that changed since is left as it is: it was dropped then, and may have been read anew.
        """
        found_by_id = {key.id: key for key in found}
        for key_id in asked:
            token = self._token_of.get(key_id)
            if token is None:
                continue
            key = found_by_id.get(key_id)
            if key is None:
                self._drop(key_id)
            elif not watch.touches(key):
                self._warm[token] = key

    def _changed(self, row_id: str) -> None:
        self._refused.clear()
        for watch in self._watches:
            watch.any = True
            watch.ids.add(row_id)

    def _drop(self, key_id: str) -> None:
        token = self._token_of.pop(key_id, None)
        if token is not None:
            self._warm.pop(token, None)


def _holders(key: Key) -> tuple[str | None, str | None, str | None]:
    return key.team_id, key.organisation_id, key.user_id
