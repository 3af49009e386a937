"""`Losses`: what workers had set aside whose journal is gone for good counts as spent."""

from __future__ import annotations

import asyncio
import logging
import random
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from gateway.errors import GatewayError
from gateway.services.budgets.books import Books, Counters
from gateway.store.audit import MASTER_ROLE, Actor, note
from gateway.store.postgres import Connection, Postgres
from gateway.store.sql import load

_log = logging.getLogger("gateway.budgets")

GATEWAY: Final = Actor("gateway", MASTER_ROLE)
# A worker is alive that either store has heard of since.
_ALIVE_S: Final = 60.0
_LOOK_EVERY_S: Final = (1800.0, 5400.0)
_FIRST_LOOK_S: Final = (5.0, 60.0)


@dataclass(frozen=True, slots=True)
class Holder:
    """A worker, and the nano-dollars that it holds by period. `settled_at`: it stopped, or its journal was copied;
    `silent_s` is since it was last heard of."""

    worker: str
    version: str
    started_at: datetime
    last_seen: datetime
    settled_at: datetime | None
    silent_s: float
    held: Mapping[int, int]

    @property
    def state(self) -> str:
        """settled, alive, or silent."""
        if self.settled_at is not None:
            return "settled"
        return "alive" if self.silent_s < _ALIVE_S else "silent"


class Losses:
    """Workers in `gateway_workers` that hold money in the counters."""

    def __init__(self, postgres: Postgres, counters: Counters) -> None:
        self._postgres = postgres
        self._counters = counters
        self._books = Books(postgres)
        self._sql = load("gateway.services.budgets", "books.sql")

    async def holders(self) -> list[Holder]:
        """All workers, those heard of last first. Raises GatewayError store_unavailable."""
        return await self._holders(None)

    async def write_off(self, worker: uuid.UUID, actor: Actor) -> Mapping[int, int]:
        """Count what a worker holds as spent, now, and free it; nano-dollars by period.

        Raises GatewayError: not_found for a worker that is not registered; conflict for one that is alive, or that
        holds nothing any more; store_unavailable.
        """
        found = await self._holders(worker)
        if not found:
            raise GatewayError("not_found", f"There is no worker with the id {worker}.")
        state = found[0].state
        if state == "settled":
            raise GatewayError("conflict", f"The worker {worker} has stopped, or its journal was copied.")
        lost = None if state == "alive" else await self._write_off(str(worker), _ALIVE_S, actor)
        if lost is None:
            raise GatewayError(
                "conflict", f"The worker {worker} is alive: a store has heard of it within {_ALIVE_S:.0f} s."
            )
        return lost

    async def write_off_silent(self, hours: int) -> int:
        """Do so for all that were not heard of for so long; how many those are. Raises GatewayError store_unavailable.

        Also frees what is left in the counters of workers that were settled: whoever wrote them off may have died then.
        """
        count = 0
        for row in await self._postgres.fetch(self._sql["silent"], hours):
            if await self._write_off(row["id"], hours * 3600.0, GATEWAY) is not None:
                count += 1
        settled = [row["id"] for row in await self._postgres.fetch(self._sql["settled_lately"])]
        for worker, held in (await self._counters.held_by(settled)).items():
            await self._free(worker, held)
        return count

    async def watch(self, hours: int) -> None:
        """Look for such workers about every hour, as long as this one lives."""
        await asyncio.sleep(random.uniform(*_FIRST_LOOK_S))
        while True:
            try:
                await self.write_off_silent(hours)
            except GatewayError as error:
                _log.info("workers whose journal is gone could not be looked for: %s", error)
            except Exception:  # a mistake of ours must not end it
                _log.exception("looking for workers whose journal is gone failed")
            await asyncio.sleep(random.uniform(*_LOOK_EVERY_S))

    async def _holders(self, worker: uuid.UUID | None) -> list[Holder]:
        rows = await self._postgres.fetch(self._sql["workers"], worker)
        held = await self._counters.held_by([row["id"] for row in rows])
        return [
            Holder(
                row["id"],
                row["version"],
                row["started_at"],
                row["last_seen"],
                row["settled_at"],
                row["silent_s"],
                _by_period(held.get(row["id"], {})),
            )
            for row in rows
        ]

    async def _write_off(self, worker: str, silent_s: float, actor: Actor) -> Mapping[int, int] | None:
        """What it held by period; None where another did it first, or it is alive."""
        heard_s = await self._counters.silent_s(worker)
        if heard_s is not None and heard_s < _ALIVE_S:
            return None  # it is cut off from the database alone

        async def write(connection: Connection) -> Mapping[str, int] | None:
            if await connection.fetchval(self._sql["claim"], worker, silent_s) is None:
                return None
            held = (await self._counters.held_by([worker])).get(worker, {})
            await self._lose(connection, worker, _by_period(held), actor)
            await connection.execute(self._sql["settle_worker"], worker)
            return held

        held = await self._postgres.in_transaction(write)
        if held is None:
            return None
        if held:
            lost = sum(held.values()) / 1e9
            _log.warning("the journal of worker %s is given up; %.9f USD that it held count as spent", worker, lost)
        await self._free(worker, held)
        return _by_period(held)

    async def _lose(self, connection: Connection, worker: str, held: Mapping[int, int], actor: Actor) -> None:
        after: dict[str, Any] = {"lost": []}
        for row in await connection.fetch(self._sql["lose"], list(held), list(held.values())):
            amount = held[row["id"]]
            lost = {"period_id": row["id"], "lost_nano_usd": row["lost_nano_usd"]}
            before = {**lost, "lost_nano_usd": row["lost_nano_usd"] - amount}
            await note(connection, actor, "lost", "budget", row["budget_id"], before, {**lost, "worker": worker})
            after["lost"].append({"budget_id": row["budget_id"], "period_id": row["id"], "nano_usd": amount})
        if held or actor != GATEWAY:
            await note(connection, actor, "written_off", "worker", worker, None, after)

    async def _free(self, worker: str, held: Mapping[str, int]) -> None:
        """Once it is settled; the counters hear the new totals at the same time."""
        for name in held:

            async def put_right(total: int, name: str = name) -> int:
                return await self._counters.put_right(name, total, [worker])

            await self._books.hold_total(_period_of(name), put_right)


def _period_of(name: str) -> int:
    return int(name.rpartition(":")[2])


def _by_period(held: Mapping[str, int]) -> dict[int, int]:
    return {_period_of(name): amount for name, amount in held.items()}
