"""Asking the database who holds a token: one query at a time, for all that wait."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from gateway.services.keys.key import Key
from gateway.services.keys.snapshot import Snapshot
from gateway.tasks import Tasks

UNKNOWN = "invalid_api_key"
UNAVAILABLE = "key_store_unavailable"
OVERLOADED = "overloaded"
REVOKED = "revoked"
DISABLED = "disabled_api_key"

_TRIES = 3


class KeyStoreAway(Exception):
    """The database could not be asked, or did not answer in time."""


class Row(NamedTuple):
    """What the database says of a token: the key, and why it is refused if it is."""

    key: Key
    refusal: str | None


class Verdict(NamedTuple):
    """The answer for one token: a key, or why there is none."""

    key: Key | None
    refusal: str = UNKNOWN


class _Question(NamedTuple):
    key_hash: bytes
    answer: asyncio.Future[Verdict]


class Lookups:
    """Look-ups of tokens that are not warm.

    At most one query runs; it asks for up to `batch` tokens at once, and what comes meanwhile waits
    for the next. So many callers with one key make one query, and a flood of unknown keys holds one
    connection; beyond `most_waiting` tokens it is refused (`overloaded`).
    """

    def __init__(
        self,
        read: Callable[[list[bytes]], Awaitable[Mapping[bytes, Row]]],
        snapshot: Snapshot,
        tasks: Tasks,
        *,
        batch: int = 256,
        most_waiting: int = 4096,
    ) -> None:
        self._read = read
        self._snapshot = snapshot
        self._tasks = tasks
        self._batch = batch
        self._most_waiting = most_waiting
        self._waiting: dict[str, _Question] = {}
        self._asked: dict[str, _Question] = {}
        self._running = False
        self.queries = 0

    async def find(self, token: str, key_hash: bytes) -> Verdict:
        """The verdict on `token`; `OVERLOADED` when too many wait already, `UNAVAILABLE` when there is no answer."""
        question = self._waiting.get(token) or self._asked.get(token)
        if question is None:
            if len(self._waiting) >= self._most_waiting:
                return Verdict(None, OVERLOADED)
            question = _Question(key_hash, asyncio.get_running_loop().create_future())
            self._waiting[token] = question
            if not self._running:
                self._running = True
                self._tasks.spawn(self._run(), name="key look-ups")
        # A caller that goes away must not take the answer from the others.
        return await asyncio.shield(question.answer)

    async def _run(self) -> None:
        try:
            while self._waiting:
                tokens = list(self._waiting)[: self._batch]
                self._asked = {token: self._waiting.pop(token) for token in tokens}
                try:
                    await self._answer(self._asked)
                except KeyStoreAway:
                    self._give_up(self._asked)
        finally:
            self._running = False
            self._give_up(self._asked)
            self._give_up(self._waiting)

    def _give_up(self, questions: dict[str, _Question]) -> None:
        for question in questions.values():
            if not question.answer.done():
                question.answer.set_result(Verdict(None, UNAVAILABLE))
        questions.clear()

    async def _answer(self, questions: dict[str, _Question]) -> None:
        """Answer all; a row that changed while it was read is read again, and at last used but not kept."""
        open_tokens = list(questions)
        for tries_left in reversed(range(_TRIES)):
            watch = self._snapshot.watch()
            try:
                self.queries += 1
                rows = await self._read([questions[token].key_hash for token in open_tokens])
            finally:
                self._snapshot.unwatch(watch)
            again = []
            for token in open_tokens:
                question = questions[token]
                row = rows.get(question.key_hash)
                if row is not None and tries_left and watch.touches(row.key):
                    again.append(token)
                    continue
                if row is not None and row.refusal is None:
                    self._snapshot.keep(token, row.key, watch)
                    question.answer.set_result(Verdict(row.key))
                else:
                    code = UNKNOWN if row is None or row.refusal is None else row.refusal
                    self._snapshot.refuse(token, code, watch)
                    question.answer.set_result(Verdict(None, code))
            open_tokens = again
            if not open_tokens:
                break
        questions.clear()
