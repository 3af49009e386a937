"""The float64 slots that one worker writes, in a mapped file with a list of its series beside it.

`<name>.bin` holds the slots, zeroed and allocated in full at the start (so that a full disk is an error
then, never a SIGBUS later). `<name>.keys` names them: a header line, then `[slot, metric, [labels]]` a
line, written before the slot is first used. The owner holds an exclusive flock on the .bin file for
life: whoever finds it free knows that the owner is dead. `name` has a random part, so it is never reused.
"""

from __future__ import annotations

import fcntl
import logging
import mmap
import os
import re
import secrets
from pathlib import Path

import orjson

from gateway.metrics.table import FINGERPRINT, SCRATCH_SLOTS, TOTAL_SLOTS

_log = logging.getLogger("gateway.metrics")

SLOT_BYTES = 8
KEYS_HEADER = orjson.dumps(["gateway-metrics", FINGERPRINT]) + b"\n"


class Slots:
    """A row of floats, handed out in runs, each run to one series, which alone writes it."""

    def __init__(self, values: memoryview[float], keys_fd: int | None = None, lock_fd: int | None = None) -> None:
        self.values = values
        self.series: list[tuple[int, str, tuple[str, ...]]] = []
        self._keys_fd = keys_fd
        self._lock_fd = lock_fd
        self._next = 0
        self._keys_bytes = len(KEYS_HEADER)

    @classmethod
    def in_memory(cls) -> Slots:
        """Slots that no other process reads."""
        return cls(memoryview(bytearray(TOTAL_SLOTS * SLOT_BYTES)).cast("d"))

    @classmethod
    def in_file(cls, directory: Path, worker: str) -> Slots:
        """New files for `worker` under `directory`; the caller holds the directory's lock.

        Raises ValueError for a worker name outside [A-Za-z0-9_-], OSError when the files cannot be made.
        """
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", worker):
            raise ValueError(f"not a worker name: {worker!r}")
        stem = directory / f"{worker}.{secrets.token_hex(6)}"
        size = TOTAL_SLOTS * SLOT_BYTES
        try:
            keys_fd = os.open(f"{stem}.keys", os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)
            os.write(keys_fd, KEYS_HEADER)
            fd = os.open(f"{stem}.bin", os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
            fcntl.flock(fd, fcntl.LOCK_EX)
            os.posix_fallocate(fd, 0, size)
        except OSError:
            Path(f"{stem}.bin").unlink(missing_ok=True)
            Path(f"{stem}.keys").unlink(missing_ok=True)
            raise
        return cls(memoryview(mmap.mmap(fd, size)).cast("d"), keys_fd, fd)

    def add(self, metric: str, labels: tuple[str, ...], width: int) -> int | None:
        """The first of `width` new slots for a series; None where it could not be listed (disk full)."""
        at = self._next
        if at + width > TOTAL_SLOTS - SCRATCH_SLOTS or not self._list(at, metric, labels):
            return None
        self._next = at + width
        self.series.append((at, metric, labels))
        return at

    @property
    def scratch(self) -> int:
        """Slots that nobody reads, for a series that could not be listed."""
        return TOTAL_SLOTS - SCRATCH_SLOTS

    def _list(self, at: int, metric: str, labels: tuple[str, ...]) -> bool:
        if self._keys_fd is None:
            return True
        line = orjson.dumps([at, metric, labels]) + b"\n"
        try:
            if os.write(self._keys_fd, line) == len(line):
                self._keys_bytes += len(line)
                return True
            os.ftruncate(self._keys_fd, self._keys_bytes)
        except OSError:
            _log.warning("a metric's series could not be listed", exc_info=True)
        return False

    def close(self) -> None:
        """Give the lock back: the file counts as a dead worker's, so later increments may be lost.

        The mapping stays, for children are still held by code that is ending.
        """
        if self._lock_fd is not None and self._keys_fd is not None:
            fcntl.flock(self._lock_fd, fcntl.LOCK_UN)  # mmap holds a duplicate: closing alone would not unlock
            os.close(self._lock_fd)
            os.close(self._keys_fd)
            self._lock_fd = self._keys_fd = None
