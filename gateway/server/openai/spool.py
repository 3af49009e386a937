"""A body kept until it is known where it goes: in memory while it is small, else in a file without a name."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

from gateway.errors import GatewayError

Result = TypeVar("Result")

_BATCH_BYTES = 524_288
_READ_BYTES = 262_144


class Spool:
    """At most `max_bytes`, the first `memory_bytes` of them in memory, the others in a file under `directory`.

    The file is unlinked the moment it is made, so that it goes with this process, however that ends. To be closed
    by whoever made it.
    """

    def __init__(self, directory: Path, *, max_bytes: int, memory_bytes: int) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._memory_bytes = memory_bytes
        self._tail = bytearray()
        self._file = -1
        self._in_file = 0

    @property
    def size(self) -> int:
        """Bytes kept."""
        return self._in_file + len(self._tail)

    @property
    def on_disk(self) -> bool:
        """Has it outgrown its memory?"""
        return self._file >= 0

    async def write(self, data: bytes) -> None:
        """Keep more. Raises body_too_large over the limit, overloaded where the disk is full."""
        if self.size + len(data) > self._max_bytes:
            raise GatewayError(
                "body_too_large",
                f"The form is larger than {self._max_bytes} bytes (passthrough.spool_max_mb) and names its model"
                " only behind its files; put the field 'model' first.",
            )
        self._tail += data
        # In the file's days memory is only what is gathered for one write.
        if len(self._tail) > (_BATCH_BYTES if self.on_disk else self._memory_bytes):
            gathered, self._tail = bytes(self._tail), bytearray()
            try:
                await _in_thread(self._append, gathered)
            except OSError as error:
                raise GatewayError("overloaded", f"The body cannot be kept: {error.strerror or 'no room'}.") from None

    def _append(self, data: bytes) -> None:
        if self._file < 0:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._directory) as made:
                self._file = os.dup(made.fileno())
        view = memoryview(data)
        while view:
            written = os.write(self._file, view)
            self._in_file += written
            view = view[written:]

    async def read(self, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes [start, end), in pieces."""
        while start < min(end, self._in_file):
            wanted = min(_READ_BYTES, min(end, self._in_file) - start)
            data = await _in_thread(os.pread, self._file, wanted, start)
            if not data:
                raise GatewayError("internal_error", "The gateway lost a part of the body.")
            start += len(data)
            yield data
        if start < end:
            yield bytes(self._tail[start - self._in_file : end - self._in_file])

    def close(self) -> None:
        """Let go of memory and file."""
        self._tail = bytearray()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
            self._in_file = 0


async def _in_thread(work: Callable[..., Result], *arguments: Any) -> Result:
    """Run `work` in a thread; a cancelled caller waits for it, for it must not be left at work on a closed file."""
    running = asyncio.get_running_loop().run_in_executor(None, work, *arguments)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait((running,))
        raise
