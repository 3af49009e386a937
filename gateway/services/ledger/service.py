"""The service: the worker's own journal, the loop that copies it, and the adoption of dead workers' journals."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.errors import GatewayError
from gateway.services.ledger.adopter import Adopter
from gateway.services.ledger.bound import Bound, OnFull
from gateway.services.ledger.copier import RETRYABLE, Copier
from gateway.services.ledger.entry import END_COLUMNS, Entry, whole_row
from gateway.services.ledger.journal import Fsync, Journal
from gateway.services.ledger.months import Months
from gateway.services.ledger.settlements import NoSettlements, Settlements, whole
from gateway.store.postgres import Postgres, unavailable
from gateway.tasks import Tasks

_log = logging.getLogger("gateway.ledger")

# A start and an end record take about 600 bytes.
_READ_BYTES_PER_ROW: Final = 640
_LEAST_READ_BYTES: Final = 1 << 16
_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 5.0
_MONTHS_INTERVAL_S: Final = 86_400.0
_MONTHS_RETRY_S: Final = 60.0
_PREPARE_INTERVAL_S: Final = 0.05
_FLUSH_POLL_S: Final = 0.01
MIN_SEGMENT_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class LedgerOptions:
    """How the ledger writes and copies. The package's story says what each `fsync` mode survives.

    `max_journal_mb` bounds what is not copied yet, of one worker; beyond it `on_journal_full` says whether attempts are
    refused or go unrecorded. Rows and roll-ups before so many whole months are deleted; None keeps them.
    """

    segment_mb: float = 16.0
    fsync: Fsync = "interval"
    fsync_interval_ms: int = 1000
    copy_interval_ms: int = 100
    batch_rows: int = 1000
    statement_timeout_s: float = 30.0
    adopt_interval_s: float = 5.0
    months_ahead: int = 2
    max_journal_mb: float = 1024.0
    on_journal_full: OnFull = "refuse"
    retention_months: int | None = None
    rollup_retention_months: int | None = None


class Ledger:
    """Made by `await Ledger.open(…)`, in the process that uses it (a fork would share the journal's lock).

    `start(entry)`, `end(entry)` and `await sync()` are its journal's own: see `Journal`.
    """

    def __init__(self, directory: Path, postgres: Postgres, options: LedgerOptions, settlements: Settlements) -> None:
        self._directory = directory
        self._options = options
        self._settlements = settlements
        self._journal = Journal(
            directory,
            segment_bytes=max(_bytes(options.segment_mb), MIN_SEGMENT_BYTES),
            fsync=options.fsync,
            bound=Bound(_bytes(options.max_journal_mb), options.on_journal_full),
        )
        self._copier = Copier(postgres, directory, timeout_s=options.statement_timeout_s)
        self._adopter = Adopter(
            directory,
            self._journal.directory,
            self._copier,
            settlements,
            batch_rows=options.batch_rows,
            failed=self._failed,
        )
        self._months = Months(
            postgres,
            months_ahead=options.months_ahead,
            retention_months=options.retention_months,
            rollup_retention_months=options.rollup_retention_months,
            timeout_s=options.statement_timeout_s,
        )
        self._tasks = Tasks()
        self._background: list[asyncio.Task[None]] = []
        self._wake = asyncio.Event()
        self._handled_rows = 0
        self._read_bytes = max(options.batch_rows * _READ_BYTES_PER_ROW, _LEAST_READ_BYTES)
        self.start = self._journal.start  # bound here: a call less per attempt
        self.end = self._journal.end
        self.sync = self._journal.sync
        self.copy_failures = 0

    @classmethod
    async def open(
        cls,
        directory: Path,
        postgres: Postgres,
        options: LedgerOptions | None = None,
        settlements: Settlements | None = None,
    ) -> Ledger:
        """Open this worker's journal under `directory` (made where missing) and begin to copy and to adopt.

        The database need not be there. `settlements` may hear of dead workers' journals at once.
        Raises GatewayError(journal_unavailable) where the journal cannot be made.
        """
        try:
            ledger = cls(directory, postgres, options or LedgerOptions(), settlements or NoSettlements())
        except OSError as error:
            raise GatewayError(
                "journal_unavailable", f"The usage journal in {directory} cannot be made: {error.strerror or error}."
            ) from error
        spawn = ledger._tasks.spawn
        ledger._background = [
            spawn(ledger._prepare_forever(), name="ledger-prepare"),
            spawn(ledger._copy_forever(), name="ledger-copy"),
            spawn(ledger._adopter.run(ledger._options.adopt_interval_s), name="ledger-adopt"),
            spawn(ledger._keep_months(), name="ledger-months"),
        ]
        if ledger._options.fsync != "never":
            ledger._background.append(spawn(ledger._sync_forever(), name="ledger-sync"))
        return ledger

    def on_unwritable(self, told: Callable[[str, str], None]) -> None:
        """Have `told` called with the directory and the reason when the journal cannot be written any more."""
        self._journal.on_unwritable = lambda reason: told(str(self._directory), reason)

    @property
    def journal_id(self) -> str:
        """A UUID that names this worker's journal, now and once it is dead."""
        return self._journal.directory.name

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

    @property
    def refused_attempts(self) -> int:
        """Attempts that a full journal refused."""
        return self._journal.bound.refused_attempts

    @property
    def dropped_rows(self) -> int:
        """Attempts that were not recorded: the journal was full and is not to refuse them."""
        return self._journal.bound.dropped_rows

    @property
    def adopted_journals(self) -> int:
        """Dead workers' journals that this process brought into the database."""
        return self._adopter.journals

    @property
    def unknown_rows(self) -> int:
        """Attempts in them that had begun and not ended."""
        return self._adopter.unknown_rows

    @property
    def torn_records(self) -> int:
        """Records in them that their worker died in."""
        return self._adopter.torn_records

    @property
    def garbage_bytes(self) -> int:
        """Bytes in them that are no records, now set aside."""
        return self._adopter.garbage_bytes

    # --- what no journal has ------------------------------------------------------------------------

    async def record(self, entries: Sequence[Entry]) -> None:
        """Have attempts that are over in the database, now and not by way of the journal; those that are there stay.

        For whoever would write them again after a death. The counters of budgets are not told. A cost below zero gives
        back what budgets were charged. Raises GatewayError store_unavailable.
        """
        try:
            await self._copier.copy([whole_row(entry) for entry in entries], END_COLUMNS)
        except RETRYABLE as error:
            if isinstance(error, GatewayError):
                raise
            raise unavailable(error) from error

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
        """Stop. The journal is deleted where all is copied and ended, and that was noted, else left for whoever starts
        next."""
        for task in self._background:
            task.cancel()
        await self._tasks.drain(self._options.statement_timeout_s)
        if self._options.fsync != "never":
            with contextlib.suppress(OSError):
                await self._journal.sync()
        self._journal.close(keep=not await self._note_end())

    async def _note_end(self) -> bool:
        """Say that nothing is left of this worker, before its journal goes: who finds none cannot say it."""
        if self._journal.lag_bytes or self._journal.open_attempts:
            return False
        try:
            await self._settlements.ended()
        except Exception as error:
            self._failed("noting that this worker has ended", error)
            return False
        return True

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
        rows, position = segment.next_rows(self._options.batch_rows, self._read_bytes)
        receipt = await self._copier.copy(rows, END_COLUMNS)
        segment.copied = position
        self._handled_rows += len(rows)
        # Once for each position, with all rows before it: those that an earlier try brought into the database, whose
        # commit was not heard of, too.
        if receipt:
            self._settlements.copied(self.journal_id, whole(receipt))
        return len(rows) == self._options.batch_rows or self._journal.lag_bytes >= self._read_bytes

    def _failed(self, what: str, error: Exception) -> None:
        """Count and log; what is no failure of the database or the disk is a mistake of ours, shown in full."""
        self.copy_failures += 1
        known = isinstance(error, RETRYABLE)
        _log.warning("%s failed (%s: %s); trying again", what, type(error).__name__, error, exc_info=not known)

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

    async def _keep_months(self) -> None:
        while True:
            try:
                await self._months.keep()
            except Exception as error:
                self._failed("making and dropping months' partitions", error)
                await asyncio.sleep(_MONTHS_RETRY_S)
            else:
                await asyncio.sleep(_MONTHS_INTERVAL_S)


def _bytes(mebibytes: float) -> int:
    return int(mebibytes * (1 << 20))
