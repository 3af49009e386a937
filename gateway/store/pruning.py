"""Removing rows that are past their time: a batch at a time, so that nobody waits for long."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from gateway.errors import GatewayError
from gateway.store.postgres import Postgres

_log = logging.getLogger("gateway.store")


async def prune(postgres: Postgres, statement: str, batch: int) -> int:
    """Run a DELETE of at most `$1` rows, `batch` of them at a time, until it finds fewer; how many went.

    Raises GatewayError store_unavailable.
    """
    removed = 0
    while True:
        tag = await postgres.execute(statement, batch)
        count = int(tag.rpartition(" ")[2])
        removed += count
        if count < batch:
            return removed


async def prune_for_ever(work: Callable[[], Awaitable[int]], what: str, every_s: float) -> None:
    """Do `work`, which says how many it removed, now and every `every_s` seconds. `what` they are, for the log."""
    while True:
        try:
            removed = await work()
        except GatewayError as error:
            _log.warning("old %s are not removed: %s", what, error.message)
        else:
            if removed:
                _log.info("removed %d old %s", removed, what)
        await asyncio.sleep(every_s)
