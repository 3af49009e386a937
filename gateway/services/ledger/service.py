"""The service: the worker's own journal, the loop that copies it, and the adoption of dead workers' journals."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.errors import GatewayError
from gateway.services.ledger.adoption import Orphan, find_orphan
from gateway.services.ledger.copier import RETRYABLE, Copier
from gateway.services.ledger.entry import END, END_COLUMNS, PREFIX_BYTES
from gateway.services.ledger.journal import Fsync, Journal
from gateway.services.ledger.segment import Segment
from gateway.store.postgres import Postgres
from gateway.tasks import Tasks

_log = logging.getLogger("gateway.ledger")

# A start and an end record take about 600 bytes.
_READ_BYTES_PER_ROW: Final = 640
_LEAST_READ_BYTES: Final = 1 << 16
_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 5.0
_PARTITIONS_INTERVAL_S: Final = 86_400.0
_PARTITIONS_RETRY_S: Final = 60.0
_PREPARE_INTERVAL_S: Final = 0.05
_FLUSH_POLL_S: Final = 0.01
MIN_SEGMENT_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class LedgerOptions:
    """How the ledger writes and copies. The package's story says what each `fsync` mode survives."""

    segment_mb: float = 16.0
    fsync: Fsync = "interval"
    fsync_interval_ms: int = 1000
    copy_interval_ms: int = 100
    batch_rows: int = 1000
    statement_timeout_s: float = 30.0
    adopt_interval_s: float = 5.0
    months_ahead: int = 2


class Ledger:
    """Made by `await Ledger.open(…)`, in the process that uses it (a fork would share the journal's lock).

    `start(entry)`, `end(entry)` and `await sync()` are its journal's own: see `Journal`.
    """

    def __init__(self, directory: Path, postgres: Postgres, options: LedgerOptions) -> None:
        self._directory = directory
        self._options = options
        self._journal = Journal(
            directory, segment_bytes=max(int(options.segment_mb * (1 << 20)), MIN_SEGMENT_BYTES), fsync=options.fsync
        )
        self._copier = Copier(postgres, directory, timeout_s=options.statement_timeout_s)
        self._tasks = Tasks()
        self._background: list[asyncio.Task[None]] = []
        self._wake = asyncio.Event()
        self._handled_rows = 0
        self._read_bytes = max(options.batch_rows * _READ_BYTES_PER_ROW, _LEAST_READ_BYTES)
        self.start = self._journal.start  # bound here: a call less per attempt
        self.end = self._journal.end
        self.sync = self._journal.sync
        self.unknown_rows = 0
        self.adopted_journals = 0
        self.torn_records = 0
        self.garbage_bytes = 0
        self.copy_failures = 0

    @classmethod
    async def open(cls, directory: Path, postgres: Postgres, options: LedgerOptions | None = None) -> Ledger:
        """Open this worker's journal under `directory` (made where missing) and begin to copy and to adopt.

        The database need not be there. Raises GatewayError(journal_unavailable) where the journal cannot be made.
        """
        try:
            ledger = cls(directory, postgres, options or LedgerOptions())
        except OSError as error:
            raise GatewayError(
                "journal_unavailable", f"The usage journal in {directory} cannot be made: {error.strerror or error}."
            ) from error
        spawn = ledger._tasks.spawn
        ledger._background = [
            spawn(ledger._prepare_forever(), name="ledger-prepare"),
            spawn(ledger._copy_forever(), name="ledger-copy"),
            spawn(ledger._adopt_forever(), name="ledger-adopt"),
            spawn(ledger._keep_partitions(), name="ledger-partitions"),
        ]
        if ledger._options.fsync != "never":
            ledger._background.append(spawn(ledger._sync_forever(), name="ledger-sync"))
        return ledger

    # --- figures for metrics ------------------------------------------------------------------

    @property
    def lag_rows(self) -> int:
        """Ends in this worker's journal that are not yet in the database."""
        return self._journal.ended_rows - self._handled_rows

    @property
    def lag_bytes(self) -> int:
        """Bytes in this worker's journal that are not yet copied."""
        return self._journal.lag_bytes

    @property
    def open_attempts(self) -> int:
        """Attempts that were started and not ended."""
        return self._journal.open_attempts

    @property
    def copied_rows(self) -> int:
        """Rows this process brought into the database, adopted ones included."""
        return self._copier.copied_rows

    @property
    def duplicate_rows(self) -> int:
        """Rows that were there already: copied again after a kill, which is harmless."""
        return self._copier.duplicate_rows

    @property
    def refused_rows(self) -> int:
        """Rows that the database refuses, now in the dead letters."""
        return self._copier.refused_rows

    @property
    def write_failures(self) -> int:
        """Times that no journal segment could be made (a full disk)."""
        return self._journal.creation_failures

    # --- draining -----------------------------------------------------------------------------

    async def flush(self, timeout_s: float) -> bool:
        """Copy what this worker's journal holds; False where that took longer than `timeout_s`.

        What is left then stays in the file and is copied after the next start.
        """
        deadline = time.monotonic() + timeout_s
        while self._journal.lag_bytes:
            if time.monotonic() >= deadline:
                return False
            self._wake.set()
            await asyncio.sleep(_FLUSH_POLL_S)
        return True

    async def close(self) -> None:
        """Stop. The journal is deleted where all is copied and ended, else left for whoever starts next."""
        for task in self._background:
            task.cancel()
        await self._tasks.drain(self._options.statement_timeout_s)
        if self._options.fsync != "never":
            with contextlib.suppress(OSError):
                await self._journal.sync()
        self._journal.close()

    # --- copying the own journal --------------------------------------------------------------

    async def _copy_forever(self) -> None:
        interval_s = self._options.copy_interval_ms / 1000
        pause_s = _FIRST_PAUSE_S
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(interval_s):
                    await self._wake.wait()
            self._wake.clear()
            try:
                await self._copy_pending()
            except Exception as error:
                self._failed("copying usage rows", error)
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            else:
                pause_s = _FIRST_PAUSE_S

    async def _copy_pending(self) -> None:
        more = True
        while more:
            more = await self._copy_batch()
            await self._journal.drop_copied()

    async def _copy_batch(self) -> bool:
        """Copy one batch; is there another full one?"""
        segment = next((each for each in self._journal.segments if each.copied < each.written), None)
        if segment is None:
            return False
        rows, position = _next_rows(segment, self._options.batch_rows, self._read_bytes)
        await self._copier.copy(rows, END_COLUMNS)
        segment.copied = position
        self._handled_rows += len(rows)
        return len(rows) == self._options.batch_rows or self._journal.lag_bytes >= self._read_bytes

    def _failed(self, what: str, error: Exception) -> None:
        """Count and log; what is no failure of the database or the disk is a mistake of ours, shown in full."""
        self.copy_failures += 1
        known = isinstance(error, RETRYABLE)
        _log.warning("%s failed (%s: %s); trying again", what, type(error).__name__, error, exc_info=not known)

    # --- dead workers' journals ---------------------------------------------------------------

    async def _adopt_forever(self) -> None:
        while True:
            try:
                await self._adopt_all()
            except Exception as error:
                self._failed("looking for journals of dead workers", error)
            await asyncio.sleep(self._options.adopt_interval_s * random.uniform(0.8, 1.2))

    async def _adopt_all(self) -> None:
        skip = frozenset((self._journal.directory,))
        while (orphan := find_orphan(self._directory, skip=skip)) is not None:
            try:
                await self._replay(orphan)
            finally:
                orphan.release()

    async def _replay(self, orphan: Orphan) -> None:
        unknown = 0
        batches = orphan.batches(self._options.batch_rows)
        while (batch := await asyncio.to_thread(next, batches, None)) is not None:
            await self._copier.copy(batch.rows, batch.columns)
            unknown += len(batch.rows) if batch.unknown else 0
        orphan.remove()
        self.adopted_journals += 1
        self.unknown_rows += unknown
        self.torn_records += orphan.torn_records
        self.garbage_bytes += orphan.garbage_bytes
        _log.warning("adopted the journal %s of a dead worker; %d attempts unknown", orphan.directory.name, unknown)

    # --- upkeep -------------------------------------------------------------------------------

    async def _prepare_forever(self) -> None:
        while True:
            await self._journal.prepare()
            await asyncio.sleep(_PREPARE_INTERVAL_S)

    async def _sync_forever(self) -> None:
        while True:
            await asyncio.sleep(self._options.fsync_interval_ms / 1000)
            with contextlib.suppress(OSError):  # logged where it happens
                await self._journal.sync()

    async def _keep_partitions(self) -> None:
        while True:
            try:
                await self._copier.ensure_partitions(self._options.months_ahead)
            except Exception as error:
                self._failed("making the next months' partitions", error)
                await asyncio.sleep(_PARTITIONS_RETRY_S)
            else:
                await asyncio.sleep(_PARTITIONS_INTERVAL_S)


def _next_rows(segment: Segment, limit: int, read_bytes: int) -> tuple[list[bytes], int]:
    """Up to `limit` rows that were not copied, and the position behind the last record that was looked at."""
    data = segment.read(segment.copied, read_bytes)
    lines = data.split(b"\n")
    lines.pop()  # what follows the last newline: nothing, or a record cut by the read
    rows = []
    position = segment.copied
    for line in lines:
        position += len(line) + 1
        if line[0] == END:
            rows.append(line[PREFIX_BYTES:])
            if len(rows) == limit:
                break
    return rows, position
