"""A worker's own journal: `start` and `end` are one copy into mapped memory each, without a system call."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal
from uuid import uuid4

from gateway.errors import GatewayError
from gateway.services.ledger.bound import Bound
from gateway.services.ledger.entry import END_MARGIN_BYTES, Entry, bounded_end_record, end_record, start_record
from gateway.services.ledger.segment import Segment

_log = logging.getLogger("gateway.ledger")

Fsync = Literal["never", "interval", "always"]
LOCK_NAME: Final = "lock"
_RETRY_AFTER_FAILURE_S: Final = 1.0
_CREATE_TRIES: Final = 20


def lock(directory: Path) -> int | None:
    """Take a worker's directory: the descriptor that holds the lock, or None where its worker (or another) lives.

    The lock goes with the process, however it ends. Raises FileNotFoundError where the directory is gone.
    """
    path = directory / LOCK_NAME
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever held the lock before may have removed the journal meanwhile.
        if os.stat(path).st_ino == os.fstat(fd).st_ino:
            return fd
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return None


def _make_directory(parent: Path) -> tuple[Path, int]:
    """A new locked directory. One that somebody adopted between its making and its locking is left to them."""
    for _ in range(_CREATE_TRIES):
        directory = parent / str(uuid4())
        directory.mkdir(mode=0o700, parents=True)
        with contextlib.suppress(FileNotFoundError):
            if (fd := lock(directory)) is not None:
                return directory, fd
    raise OSError(f"no journal directory could be locked under {parent}")


class Journal:
    """Appends records for one process; not safe across threads or forks (open it in the worker itself)."""

    def __init__(self, parent: Path, *, segment_bytes: int, fsync: Fsync, bound: Bound | None = None) -> None:
        """Raises OSError where the directory or the first segment cannot be made. `bound`: none by default."""
        self._segment_bytes = segment_bytes
        self._fsync = fsync
        self.bound = bound or Bound()
        self.directory, self._lock_fd = _make_directory(parent)
        self.segments: deque[Segment] = deque()
        self._open: set[Entry] = set()
        self._reserved = 0
        self._number = 0
        self._spare: Segment | None = None
        self._failed_at = -_RETRY_AFTER_FAILURE_S
        self._closed = False
        self._sync_running: asyncio.Future[None] | None = None
        self._sync_next: asyncio.Future[None] | None = None
        self.ended_rows = 0
        self.creation_failures = 0
        self._failing = False
        # Called once when no file can be made any more, with the reason; and again only after one could be made.
        self.on_unwritable: Callable[[str], None] = lambda reason: None
        try:
            self._current = self._create(segment_bytes)
        except OSError:
            self._leave()
            raise
        self.segments.append(self._current)

    @property
    def open_attempts(self) -> int:
        """Attempts started and not ended."""
        return len(self._open)

    def start(self, entry: Entry) -> None:
        """Write down that `entry` is about to be sent and set aside room for its end.

        Raises GatewayError(journal_unavailable) where there is no room: then nothing may be sent. Where the bound says
        that a full journal drops rows, it counts this one, and `end` will do nothing; an indispensable one is refused.
        """
        record = start_record(entry)
        size = len(record)
        reserve = size + END_MARGIN_BYTES
        current = self._current
        if current.written + size + reserve + self._reserved > current.capacity:
            if self._is_full(size + reserve):
                self.bound.note_attempt(self.directory, droppable=not entry.indispensable)
                return
            current = self._rotate(size + reserve)
        position = current.written
        current.map[position : position + size] = record
        current.written = position + size
        self._reserved += reserve
        entry.offset = position
        entry.reserved_bytes = reserve
        self._open.add(entry)

    def end(self, entry: Entry) -> None:
        """Write the attempt's row. Never fails for an entry that was started; a second call does nothing."""
        if entry not in self._open:
            return
        record = end_record(entry)
        if len(record) > entry.reserved_bytes:
            record = bounded_end_record(entry)
        self._open.discard(entry)
        self._reserved -= entry.reserved_bytes
        current = self._current
        position = current.written
        after = position + len(record)
        current.map[position:after] = record
        current.written = after
        self.ended_rows += 1

    def _is_full(self, wanted: int) -> bool:
        # What is wholly copied is about to go.
        kept = sum(segment.capacity for segment in self.segments if segment.copied < segment.written)
        return self.bound.is_exceeded(kept + max(self._segment_bytes, 4 * (2 * self._reserved + wanted)))

    def _rotate(self, wanted: int) -> Segment:
        """Go on in a new segment. The open starts move along, so that the old one can go once it is copied."""
        if self._closed:
            raise GatewayError("journal_unavailable", "The usage journal is closed.")
        needed = 2 * self._reserved + wanted
        try:
            fresh = self._take(needed)
        except OSError as error:
            self._note_failure(error)
            raise _unwritable() from error
        self._failing = False
        old = self._current
        old_map = old.map
        for entry in self._open:
            size = entry.reserved_bytes - END_MARGIN_BYTES
            fresh.map[fresh.written : fresh.written + size] = old_map[entry.offset : entry.offset + size]
            entry.offset = fresh.written
            fresh.written += size
        self.segments.append(fresh)
        self._current = fresh
        old.close()
        return fresh

    def _take(self, needed: int) -> Segment:
        spare, self._spare = self._spare, None
        if spare is not None and spare.capacity >= 2 * needed:
            return spare
        if spare is not None:
            spare.remove()
        if time.monotonic() - self._failed_at < _RETRY_AFTER_FAILURE_S:
            raise _unwritable()
        # Four times: what is carried over stays the smaller part of what is written.
        return self._create(max(self._segment_bytes, 4 * needed))

    def _note_failure(self, error: OSError) -> None:
        self.creation_failures += 1
        self._failed_at = time.monotonic()
        reason = error.strerror or str(error)
        _log.critical("a journal segment cannot be made in %s: %s", self.directory, reason)
        if not self._failing:
            self._failing = True
            self.on_unwritable(reason)

    def _create(self, capacity: int) -> Segment:
        self._number += 1
        return self._create_numbered(self._number, capacity)

    def _create_numbered(self, number: int, capacity: int) -> Segment:
        return Segment.create(self.directory, number, capacity, durable=self._fsync != "never")

    async def prepare(self) -> None:
        """Keep little of the segment in memory and have the next one ready before it is needed.

        To be called often; where the disk is full, it tries again.
        """
        self._current.release()
        if self._spare is not None or self._closed or self._is_full(0):
            return
        if self._current.written + self._reserved < self._current.capacity // 4:
            return
        if time.monotonic() - self._failed_at < _RETRY_AFTER_FAILURE_S:
            return
        self._number += 1
        try:
            spare = await asyncio.to_thread(self._create_numbered, self._number, self._segment_bytes)
        except OSError as error:
            self._note_failure(error)
            return
        self._failing = False
        if self._closed:
            spare.remove()
        else:
            self._spare = spare

    async def sync(self) -> None:
        """Return when everything written before the call is on disk; calls that wait share one fdatasync.

        With `fsync: always` the end of a request awaits this before its last byte. Raises OSError.
        """
        loop = asyncio.get_running_loop()
        if self._sync_running is None:
            self._sync_running = loop.run_in_executor(None, self._sync_files)
            self._sync_running.add_done_callback(self._sync_done)
            await asyncio.shield(self._sync_running)
            return
        # The one that runs may have begun before the caller's record was written: wait for the next.
        if self._sync_next is None:
            self._sync_next = loop.create_future()
        await asyncio.shield(self._sync_next)

    def _sync_done(self, finished: asyncio.Future[None]) -> None:
        self._sync_running = None
        waiting, self._sync_next = self._sync_next, None
        if not finished.cancelled() and (error := finished.exception()) is not None:
            _log.error("the journal in %s cannot be synced: %s", self.directory, error)
        if waiting is None:
            return
        self._sync_running = asyncio.get_running_loop().run_in_executor(None, self._sync_files)
        self._sync_running.add_done_callback(lambda done: _settle(waiting, done))
        self._sync_running.add_done_callback(self._sync_done)

    def _sync_files(self) -> None:
        for segment in tuple(self.segments):
            segment.sync()

    async def drop_copied(self) -> None:
        """Delete the segments before the current one that are wholly in the database."""
        if len(self.segments) > 1 and self._fsync != "never" and self.segments[0].copied == self.segments[0].written:
            # The carried starts must be on disk before the originals go.
            await self.sync()
        while len(self.segments) > 1 and self.segments[0].copied == self.segments[0].written:
            await asyncio.to_thread(self.segments.popleft().remove)  # takes milliseconds

    @property
    def lag_bytes(self) -> int:
        """Bytes written that are not yet in the database (or known to need no copying)."""
        return sum(segment.written - segment.copied for segment in self.segments)

    def close(self, *, keep: bool = False) -> None:
        """Let go of the journal: deleted where nothing in it is needed any more, else, or to `keep` it, left to be
        adopted."""
        if self._closed:
            return
        self._closed = True
        done = not keep and not self._open and self.lag_bytes == 0
        # From here on `start` refuses and `end` does nothing: who adopts the journal closes what is open.
        self._open = set()
        self._current.capacity = 0
        for segment in (*self.segments, *([self._spare] if self._spare else ())):
            if done or segment.written == 0:
                segment.remove()
            else:
                segment.close()
        if done:
            self._leave()
        else:
            os.close(self._lock_fd)

    def _leave(self) -> None:
        with contextlib.suppress(OSError):
            (self.directory / LOCK_NAME).unlink()
            self.directory.rmdir()
        os.close(self._lock_fd)


def _unwritable() -> GatewayError:
    return GatewayError("journal_unavailable", "The usage journal cannot be written.")


def _settle(waiting: asyncio.Future[None], done: asyncio.Future[None]) -> None:
    if waiting.done():
        return
    if done.cancelled():
        waiting.cancel()
    elif (error := done.exception()) is not None:
        waiting.set_exception(error)
        waiting.exception()  # nobody may be left to read it
    else:
        waiting.set_result(None)
