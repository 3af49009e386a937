"""Journals whose worker is gone: find them, say what is in them, take them away when it is in the database."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from uuid import UUID

from gateway.services.ledger.entry import END_COLUMNS, PREFIX_BYTES, START_COLUMNS, end_row, start_row
from gateway.services.ledger.journal import LOCK_NAME, lock
from gateway.services.ledger.segment import scan, segments_of

_log = logging.getLogger("gateway.ledger")

SET_ASIDE: Final = "set-aside"


@dataclass(slots=True)
class Batch:
    """Rows for `Copier.copy`; `unknown` says that they are starts without an end."""

    columns: tuple[str, ...]
    rows: list[bytes] = field(default_factory=list)
    unknown: bool = False


class Orphan:
    """A dead worker's journal, locked by this process until `remove` or `release`."""

    def __init__(self, directory: Path, lock_fd: int) -> None:
        self.directory = directory
        self._lock_fd = lock_fd
        self.torn_records = 0
        self.garbage_bytes = 0

    def batches(self, batch_rows: int) -> Iterator[Batch]:
        """All rows to copy: ends as they are, then starts without an end, whose outcome is unknown.

        Bytes that are no record are kept in the folder `set-aside`, but for the record that the worker died in. Only
        the starts still open are held in memory. Can be run again from the beginning. Raises OSError.
        """
        self.torn_records = self.garbage_bytes = 0
        starts: dict[bytes, bytes] = {}
        batch = Batch(END_COLUMNS)
        garbage: list[bytes] = []
        for path in segments_of(self.directory):
            for line in scan(path):
                if line.tail:
                    self.torn_records += 1
                elif not line.intact:
                    garbage.append(line.data)
                else:
                    attempt = b"\t".join(line.data[PREFIX_BYTES:].split(b"\t", 2)[:2])
                    row = end_row(line.data)
                    if row is None:
                        starts[attempt] = start_row(line.data)
                        continue
                    starts.pop(attempt, None)
                    batch.rows.append(row)
                    if len(batch.rows) >= batch_rows:
                        yield batch
                        batch = Batch(END_COLUMNS)
        if batch.rows:
            yield batch
        self._set_aside(garbage)
        unknown = list(starts.values())
        for first in range(0, len(unknown), batch_rows):
            yield Batch(START_COLUMNS, unknown[first : first + batch_rows], unknown=True)

    def _set_aside(self, garbage: list[bytes]) -> None:
        if not garbage:
            return
        self.garbage_bytes = sum(map(len, garbage))
        path = self._set_aside_folder() / f"{self.directory.name}.garbage"
        path.write_bytes(b"\n".join(garbage))
        path.chmod(0o600)
        _log.error(
            "%d bytes in the journal %s are no records; they are in %s", self.garbage_bytes, self.directory, path
        )

    def _set_aside_folder(self) -> Path:
        folder = self.directory.parent / SET_ASIDE
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    def remove(self) -> None:
        """Delete the journal: everything in it is in the database. Raises OSError."""
        for path in segments_of(self.directory):
            path.unlink()
        (self.directory / LOCK_NAME).unlink(missing_ok=True)
        try:
            self.directory.rmdir()
        except OSError:
            folder = self._set_aside_folder()
            self.directory.rename(folder / self.directory.name)
            _log.warning("the journal directory %s holds foreign files; they are in %s", self.directory, folder)
        self.release()

    def release(self) -> None:
        """Let go of the lock."""
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1


def find_orphan(parent: Path, *, skip: Collection[Path]) -> Orphan | None:
    """A journal under `parent` that no living process holds, locked; None where there is none (left). Raises OSError.

    Directories that are not named by a UUID are somebody else's.
    """
    for directory in sorted(parent.iterdir()):
        if directory in skip or not _is_uuid(directory.name) or not directory.is_dir():
            continue
        with contextlib.suppress(FileNotFoundError):
            if (fd := lock(directory)) is not None:
                return Orphan(directory, fd)
    return None


def _is_uuid(name: str) -> bool:
    try:
        return str(UUID(name)) == name
    except ValueError:
        return False
