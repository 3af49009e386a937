"""Writes of one turn of the loop, made one right after the other.

Each write to a socket wakes its reader. A busy worker that writes after every few lines of Python wakes a reader
that has gone to sleep again, each time; a burst wakes it once (docs/decisions.md). What is written waits for the
rest of its turn at most, and never behind more than a few others.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

_MOST = 32
# With so few exchanges under way there is nothing to join, and waiting would only add to the latency.
FEW = 4


class Writer(Protocol):
    """Somebody with bytes to write."""

    def write_now(self) -> None:
        """Write what is kept back; nothing, where nothing is, or the socket is gone."""


class Burst:
    """One per kind of socket and worker."""

    __slots__ = ("_loop", "_writers")

    def __init__(self) -> None:
        self._writers: list[Writer] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    def add(self, writer: Writer) -> None:
        """Have `writer` write at the end of this turn of the loop, or as soon as enough others wait."""
        writers = self._writers
        writers.append(writer)
        if len(writers) == 1:
            if self._loop is None:
                self._loop = asyncio.get_running_loop()
            self._loop.call_soon(self.flush)
        elif len(writers) >= _MOST:
            self.flush()

    def flush(self) -> None:
        """Have all that wait write now."""
        if self._writers:
            writers, self._writers = self._writers, []
            for writer in writers:
                writer.write_now()
