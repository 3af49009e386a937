"""Brings dead workers' journals into the database and has done with them."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from pathlib import Path

from gateway.services.ledger.adoption import Orphan, find_orphan
from gateway.services.ledger.copier import Copier
from gateway.services.ledger.settlements import Settlements, fresh

_log = logging.getLogger("gateway.ledger")


class Adopter:
    """Looks under `directory` again and again, never at the journal `own`; `failed` hears what went wrong."""

    def __init__(
        self,
        directory: Path,
        own: Path,
        copier: Copier,
        settlements: Settlements,
        *,
        batch_rows: int,
        failed: Callable[[str, Exception], None],
    ) -> None:
        self._directory = directory
        self._own = own
        self._copier = copier
        self._settlements = settlements
        self._batch_rows = batch_rows
        self._failed = failed
        self._copied: set[str] = set()
        self.journals = 0
        self.unknown_rows = 0
        self.torn_records = 0
        self.garbage_bytes = 0

    async def run(self, interval_s: float) -> None:
        """As long as the worker lives."""
        while True:
            try:
                await self._adopt_all()
            except Exception as error:
                self._failed("looking for journals of dead workers", error)
            await asyncio.sleep(interval_s * random.uniform(0.8, 1.2))

    async def _adopt_all(self) -> None:
        skip = {self._own}
        while (orphan := find_orphan(self._directory, skip=skip)) is not None:
            skip.add(orphan.directory)
            try:
                await self._replay(orphan)
                await self._bury(orphan)
            finally:
                orphan.release()

    async def _replay(self, orphan: Orphan) -> None:
        """Have all of it in the database. What could not be buried the last time is not read again."""
        journal_id = orphan.directory.name
        if journal_id in self._copied:
            return
        unknown = 0
        batches = orphan.batches(self._batch_rows)
        while (batch := await asyncio.to_thread(next, batches, None)) is not None:
            # Of what was there already its worker may have told.
            if settled := fresh(await self._copier.copy(batch.rows, batch.columns)):
                self._settlements.copied(journal_id, settled)
            unknown += len(batch.rows) if batch.unknown else 0
        self._copied.add(journal_id)
        self.unknown_rows += unknown
        self.torn_records += orphan.torn_records
        self.garbage_bytes += orphan.garbage_bytes
        _log.warning("copied the journal %s of a dead worker; %d attempts unknown", journal_id, unknown)

    async def _bury(self, orphan: Orphan) -> None:
        """Say that it is copied, then remove it: whoever finds it after a death in between says it again."""
        try:
            await self._settlements.adopted(orphan.directory.name)
        except Exception as error:
            self._failed("settling what a dead worker held", error)
            return
        orphan.remove()
        self._copied.discard(orphan.directory.name)
        self.journals += 1
