"""Waiting for a provider's or target's limit, team by team."""

from __future__ import annotations

import asyncio
from typing import Final

from gateway.services.keys.key import Key
from gateway.services.quota.fair_queue import FairQueue, Outcome, TryTake
from gateway.upstream.target import Target

_MASTER: Final = "master"


class Queues:
    """One queue for each target whose limit somebody waits for, in this worker. A request waits `timeout_s` at most (0:
    not at all), `max_waiting` of them at one target. Teams take turns by their weight; a key without a team stands for
    itself."""

    def __init__(self, timeout_s: float, max_waiting: int) -> None:
        self._timeout_s = timeout_s
        self._max_waiting = max_waiting
        self._queues: dict[str, FairQueue] = {}

    async def take(self, key: Key, target: Target, cost: int, try_take: TryTake) -> Outcome:
        """Wait until `try_take` takes the units, `cost` of them. Raises what it raises."""
        if not self._timeout_s:
            return "late"
        queue = self._queues.get(target.name)
        if queue is None:
            queue = self._queues[target.name] = FairQueue(self._max_waiting)
        deadline = asyncio.get_running_loop().time() + self._timeout_s
        try:
            return await queue.take(key.team_id or key.id or _MASTER, key.team_weight, cost, try_take, deadline)
        finally:
            if not queue:
                self._queues.pop(target.name, None)

    def waiting(self, target: Target) -> bool:
        """Does anybody wait for this target?"""
        return target.name in self._queues

    def ready(self, target: Target) -> None:
        """Units of this target's limits have come back."""
        queue = self._queues.get(target.name)
        if queue is not None:
            queue.ready()
