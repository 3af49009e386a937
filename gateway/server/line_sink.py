"""Lines to stderr that never block the gateway and never break it."""

from __future__ import annotations

import asyncio
import os
import select
import socket
import stat
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from gateway.metrics import Counter

# A write of at most this many bytes to a pipe is never mixed with another process's (POSIX's PIPE_BUF).
_ATOMIC_BYTES: Final = 4096
_RETRY_S: Final = 0.05


class LineSink:
    """A file descriptor that is written without waiting, once a tick of the loop for all lines of the tick.

    What a slow reader does not take is kept, up to `max_bytes`; lines beyond that are dropped and counted
    in `dropped`, and so are those that the descriptor refuses (closed, reader gone, disk full). The
    descriptor is duplicated, and its flags are left alone: others write to it too.
    """

    def __init__(self, fd: int, dropped: Counter, *, max_bytes: int = 1 << 20) -> None:
        self._dropped = dropped
        self._max_bytes = max_bytes
        self._lines: deque[bytes] = deque()
        self._bytes = 0
        self._rest = b""
        self._scheduled = False
        self._flushing = False
        # Reentrant: the garbage collector may log in the midst of anything.
        self._lock = threading.RLock()
        self._send, self._batch_bytes, self._close = _opened(fd, max_bytes)

    def write(self, line: bytes) -> None:
        """Queue `line` (with its newline); it leaves at the end of the loop's tick. For the loop's thread."""
        if self._queued(line) and not self._scheduled:
            self._schedule()

    def write_now(self, line: bytes) -> None:
        """Write `line` at once where the reader takes it; from any thread."""
        if self._queued(line):
            self.flush()

    def flush(self) -> bool:
        """Write what waits, as far as the reader takes it. True when nothing is left."""
        with self._lock:
            if self._flushing:
                return True  # called from within: the outer call goes on
            self._flushing = True
            try:
                return self._drain()
            finally:
                self._flushing = False

    def close(self) -> None:
        """Write what the reader takes now, drop the rest, give the descriptor's duplicate back."""
        with self._lock:
            self.flush()
            self._drop_all()
            self._close()
            self._send, self._close = _refuse, _nothing

    def _queued(self, line: bytes) -> bool:
        with self._lock:
            if self._bytes >= self._max_bytes:
                self._dropped.inc()
                return False
            self._lines.append(line)
            self._bytes += len(line)
            return True

    def _drain(self) -> bool:
        while self._rest or self._lines:
            batch = self._rest or self._next_batch()
            try:
                self._rest = batch[self._send(batch) :]
            except BlockingIOError:
                self._rest = batch
                return False
            except OSError:
                self._rest = batch
                self._drop_all()
        return True

    def _next_batch(self) -> bytes:
        lines = [self._lines.popleft()]
        size = len(lines[0])
        while self._lines and size + len(self._lines[0]) <= self._batch_bytes:
            lines.append(self._lines.popleft())
            size += len(lines[-1])
        self._bytes -= size
        return b"".join(lines)

    def _drop_all(self) -> None:
        self._dropped.inc(len(self._lines) + self._rest.count(b"\n"))
        self._lines.clear()
        self._bytes = 0
        self._rest = b""

    def _schedule(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.flush()
            return
        self._scheduled = True
        loop.call_soon(self._tick, loop)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self._scheduled = not self.flush()
        if self._scheduled:
            loop.call_later(_RETRY_S, self._tick, loop)


_Send = Callable[[bytes], int]
_Close = Callable[[], None]


def _opened(fd: int, max_bytes: int) -> tuple[_Send, int, _Close]:
    """How to write to `fd` without waiting, how much at once, and how to let go of it."""
    try:
        mode = os.fstat(fd).st_mode
    except OSError:
        return _refuse, max_bytes, _nothing
    if stat.S_ISSOCK(mode):
        sock = socket.socket(fileno=os.dup(fd))
        return (lambda batch: sock.send(batch, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)), max_bytes, sock.close
    if stat.S_ISREG(mode):
        return _to_fd(os.dup(fd), max_bytes)
    try:
        # A description of our own: O_NONBLOCK on the inherited one would hit the shell and other workers.
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        return _to_fd(os.open(f"/proc/self/fd/{fd}", flags), _ATOMIC_BYTES)
    except OSError:  # another user's pipe, or no /proc
        return _to_fd_when_writable(os.dup(fd))


def _to_fd(fd: int, batch_bytes: int) -> tuple[_Send, int, _Close]:
    return (lambda batch: os.write(fd, batch)), batch_bytes, (lambda: os.close(fd))


def _to_fd_when_writable(fd: int) -> tuple[_Send, int, _Close]:
    """For a blocking pipe: while it polls as writable it takes 4,096 bytes without waiting."""
    poll = select.poll()
    poll.register(fd, select.POLLOUT)

    def send(batch: bytes) -> int:
        if not poll.poll(0):
            raise BlockingIOError
        return os.write(fd, batch[:_ATOMIC_BYTES])

    return send, _ATOMIC_BYTES, (lambda: os.close(fd))


def _refuse(_: bytes) -> int:
    raise OSError("the descriptor is closed")


def _nothing() -> None:
    """There is nothing to close."""
