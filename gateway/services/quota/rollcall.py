"""Which workers may hold money that the counters do not know of, for they were lost. Until those are heard of, or their
journals are copied, nobody can tell what is left of a budget."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from redis.exceptions import RedisError

from gateway.errors import GatewayError
from gateway.services.quota.counter import MONEY
from gateway.services.quota.exchange import TAG, WORKERS_KEY, money_key
from gateway.services.quota.scripts import Scripts
from gateway.store.valkey import Valkey

_log = logging.getLogger("gateway.quota")

_FRESH_S: Final = 0.2
_LOOK_EVERY_S: Final = 1.0


class Rollcall:
    """`holders` gives the other workers that have begun to hold money, and of which the database does not know that
    they ended: they live, or their journal was neither copied nor given up.

    One of them is absent where it has not spoken since the counters began anew; whoever speaks tells first what it
    holds. `awaited` are those that were absent at the last two looks.
    """

    def __init__(self, valkey: Valkey, holders: Callable[[], Awaitable[Sequence[str]]]) -> None:
        self._scripts = Scripts(valkey)
        self._holders = holders
        self._lock = asyncio.Lock()
        self._known: Sequence[str] = ()
        self._known_for = ""
        self._known_at = 0.0
        self._looked_for: Sequence[str] = ()
        self.awaited: Sequence[str] = ()

    async def absent(self, name: str, epoch: str) -> Sequence[str]:
        """Those whose lease of the money counter called `name` may be unknown to it. Raises GatewayError.

        What the database says of a worker afterwards, it says of one that holds nothing, or that speaks in this epoch.
        """
        workers = await self._holders_in(epoch)
        if not workers:
            return ()
        counter = f"{TAG}{epoch}:{MONEY}:{name}"
        return await self._ask([WORKERS_KEY, counter, *(money_key(epoch, each) for each in workers)], workers)

    async def _holders_in(self, epoch: str) -> Sequence[str]:
        """As they are now, or were a moment ago in this very epoch: many counters are opened at a time."""
        async with self._lock:
            if epoch != self._known_for or time.monotonic() - self._known_at > _FRESH_S:
                asked_at = time.monotonic()
                self._known = await self._holders()
                self._known_for, self._known_at = epoch, asked_at
            return self._known

    async def _ask(self, keys: list[str], workers: Sequence[str]) -> Sequence[str]:
        try:
            answer = await self._scripts.run("absent", keys, list(workers))
        except RedisError as error:
            raise GatewayError("store_unavailable", f"Valkey cannot say who has spoken: {error}.") from error
        return [worker.decode() for worker in answer]

    async def watch(self) -> None:
        """Look every second, as long as this worker lives, and say once whom budgets wait for."""
        while True:
            try:
                await self.look()
            except GatewayError as error:
                _log.debug("it cannot be said which workers are waited for: %s", error)
            await asyncio.sleep(_LOOK_EVERY_S)

    async def look(self) -> None:
        """Find out whom budgets wait for. Raises GatewayError."""
        workers = await self._holders()
        now = await self._ask([WORKERS_KEY], workers) if workers else ()
        self._note([worker for worker in now if worker in self._looked_for])
        self._looked_for = now

    def _note(self, awaited: Sequence[str]) -> None:
        if fresh := [worker for worker in awaited if worker not in self.awaited]:
            _log.warning(
                "the counters were lost and what these workers hold is not known: %s. Hard budgets that were spent "
                "of before are closed until their journals are copied, or given up: see `budgets write-off`",
                ", ".join(fresh),
            )
        elif self.awaited and not awaited:
            _log.warning("hard budgets wait for no worker any more")
        self.awaited = awaited
