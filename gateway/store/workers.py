"""The workers that there are, in `gateway_workers`: who is alive, and who may still hold something."""

from __future__ import annotations

import asyncio
import logging
import uuid
from typing import Final

from gateway.errors import GatewayError
from gateway.store.postgres import Postgres
from gateway.store.sql import load

_log = logging.getLogger("gateway.store")

_BEAT_S: Final = 3.0
# One that was not heard of for longer holds nothing that others have to wait for.
_GONE_S: Final = 10.0


class WorkerRegister:
    """This worker's row, and a look at the others'. `worker` is the id of its journal."""

    def __init__(self, postgres: Postgres, worker: str, version: str) -> None:
        self._postgres = postgres
        self._worker = uuid.UUID(worker)
        self._version = version
        self._sql = load(__package__)
        self._holds = False
        self._ended = False
        self._lock = asyncio.Lock()

    async def beat(self) -> None:
        """Say that this worker lives, unless it has ended. Raises GatewayError where the database is away."""
        async with self._lock:  # one that is on its way must not come after the word that this worker has ended
            if not self._ended:
                await self._postgres.execute(self._sql["worker_beat"], self._worker, self._version)

    async def beat_forever(self) -> None:
        """Say so every few seconds, as long as it does; and first, forget those that have been gone for long."""
        forgotten = False
        while True:
            try:
                await self.beat()
                if not forgotten:
                    await self._postgres.execute(self._sql["forget_workers"])
                    forgotten = True
            except GatewayError as error:
                _log.debug("this worker could not be registered: %s", error)
            await asyncio.sleep(_BEAT_S)

    async def hold(self) -> None:
        """This worker is about to hold something for the first time. Raises GatewayError where the database is away."""
        if not self._holds:
            await self._postgres.execute(self._sql["worker_holds"], self._worker)
            self._holds = True

    async def settled(self, worker: str) -> None:
        """Another worker holds nothing any more: its journal was copied. Raises GatewayError."""
        await self._postgres.execute(self._sql["worker_settled"], uuid.UUID(worker))

    async def ended(self) -> None:
        """This worker holds nothing any more, and is not heard of again. Raises GatewayError."""
        self._ended = True
        async with self._lock:
            await self._postgres.execute(self._sql["worker_settled"], self._worker)

    async def holders(self) -> list[str]:
        """The other workers that have held something and did not end as they should, or live. Raises GatewayError."""
        return [str(row["id"]) for row in await self._postgres.fetch(self._sql["holding_workers"], self._worker)]

    async def others_alive(self) -> bool:
        """May another worker hold something? Raises GatewayError where the database is away."""
        return bool(await self._postgres.fetchval(self._sql["other_workers"], self._worker, _GONE_S))
