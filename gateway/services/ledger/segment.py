"""One file of a journal: preallocated, mapped while it is written, lines of records followed by zero bytes."""

from __future__ import annotations

import errno
import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.services.ledger.entry import end_row, is_intact

SUFFIX: Final = ".journal"
_ZEROS: Final = bytes(1 << 20)
_NO_FALLOCATE: Final = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})


@dataclass(slots=True, eq=False)
class Segment:
    """A segment that is being written or waits for the copier. Positions are bytes from the file's beginning.

    `map` is open while records are appended. `fd` is -1 while a full segment waits for its turn: when the database is
    away for long there are many.
    """

    path: Path
    number: int
    capacity: int
    fd: int
    map: mmap.mmap
    written: int = 0
    copied: int = 0
    synced: int = 0
    released: int = 0

    @classmethod
    def create(cls, directory: Path, number: int, capacity: int, *, durable: bool) -> Segment:
        """A new segment whose every block is allocated, so that writing to it cannot fail. Raises OSError (ENOSPC).

        `durable`: its name, too, is on disk when this returns.
        """
        path = directory / f"{number:06d}{SUFFIX}"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            _allocate(fd, capacity)
            mapped = mmap.mmap(fd, capacity)
            if durable:
                os.fsync(fd)
                _sync_directory(directory)
        except BaseException:
            os.close(fd)
            path.unlink()
            raise
        return cls(path, number, capacity, fd, mapped)

    def read(self, position: int, size: int) -> bytes:
        """Up to `size` bytes of what was written from `position` on. Raises OSError."""
        if self.fd < 0:
            self.fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        return os.pread(self.fd, min(size, self.written - position), position)

    def next_rows(self, limit: int, read_bytes: int) -> tuple[list[bytes], int]:
        """Up to `limit` rows that were not copied, and the position behind the last record that was looked at."""
        lines = self.read(self.copied, read_bytes).split(b"\n")
        lines.pop()  # what follows the last newline: nothing, or a record cut by the read
        rows = []
        position = self.copied
        for line in lines:
            position += len(line) + 1
            row = end_row(line)
            if row is not None:
                rows.append(row)
                if len(rows) == limit:
                    break
        return rows, position

    def release(self) -> None:
        """Take pages that were written out of this process's memory; the file keeps them."""
        end = self.written & ~(mmap.ALLOCATIONGRANULARITY - 1)
        if not self.map.closed and end - self.released >= len(_ZEROS):
            self.map.madvise(mmap.MADV_DONTNEED, self.released, end - self.released)
            self.released = end

    def sync(self) -> None:
        """Have what was written so far on disk; from any thread. Raises OSError."""
        written = self.written
        if self.synced >= written:
            return
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:  # copied and removed meanwhile: nothing in it is needed any more
            return
        try:
            os.fdatasync(fd)
        finally:
            os.close(fd)
        self.synced = written

    def close(self) -> None:
        """Nothing more is written; the file stays."""
        self.map.close()
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def remove(self) -> None:
        """Delete the file: everything in it is in the database."""
        self.close()
        self.path.unlink(missing_ok=True)


def _allocate(fd: int, size: int) -> None:
    try:
        os.posix_fallocate(fd, 0, size)
    except OSError as error:
        if error.errno not in _NO_FALLOCATE:
            raise
    except AttributeError:  # macOS
        pass
    else:
        return
    for position in range(0, size, len(_ZEROS)):
        zeros = _ZEROS[: size - position]
        if os.pwrite(fd, zeros, position) < len(zeros):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _sync_directory(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@dataclass(slots=True)
class Line:
    """A piece of a dead worker's segment: an intact record, or (`intact` false) bytes that are none.

    `tail` marks a broken piece at the very end of what was written: the record that the worker died in.
    """

    data: bytes
    intact: bool
    tail: bool = False


def scan(path: Path) -> Iterator[Line]:
    """Everything in a segment but zero bytes, in order, whatever its state. Raises OSError."""
    if path.stat().st_size == 0:
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        position = 0
        while (end := mapped.find(b"\n", position)) >= 0:
            data = mapped[position:end].lstrip(b"\0")
            position = end + 1
            if data:
                yield Line(data, is_intact(data))
        if rest := mapped[position:].strip(b"\0"):
            yield Line(rest, intact=False, tail=True)


def segments_of(directory: Path) -> list[Path]:
    """The segment files in a worker's directory, oldest first."""
    return sorted(path for path in directory.glob(f"*{SUFFIX}") if path.is_file())
