"""What stands between the ledger and PostgreSQL in its tests: a socket that can be cut, and a waiting loop."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

_SOCKET = ".s.PGSQL.5432"


class Cable:
    """Passes bytes between a socket of its own and PostgreSQL's, until it is cut."""

    def __init__(self, target: Mapping[str, Any], directory: Path) -> None:
        self._target = Path(target["host"]) / _SOCKET
        self._path = directory / _SOCKET
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self.address = {**target, "host": str(directory)}

    async def mend(self) -> None:
        """Let connections through."""
        self._server = await asyncio.start_unix_server(self._accept, str(self._path))

    async def cut(self, *, refuse: bool = True) -> None:
        """Break every connection in the middle of whatever it carries; `refuse`: and take no new ones."""
        if refuse and self._server is not None:
            self._server.close()
            self._server = None
            self._path.unlink(missing_ok=True)
        for writer in tuple(self._writers):
            writer.transport.abort()
        if refuse:
            await asyncio.gather(*self._pumps, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_unix_connection(str(self._target))
        for source, sink in ((reader, there_writer), (there_reader, writer)):
            self._writers.add(sink)
            pump = asyncio.get_running_loop().create_task(self._pump(source, sink))
            self._pumps.add(pump)
            pump.add_done_callback(self._pumps.discard)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65_536):
                sink.write(data)
                await sink.drain()
        sink.transport.abort()
        self._writers.discard(sink)


@contextlib.asynccontextmanager
async def cable(target: Mapping[str, Any], directory: Path) -> AsyncIterator[Cable]:
    """A cable that carries, and is gone at the end."""
    made = Cable(target, directory)
    await made.mend()
    try:
        yield made
    finally:
        await made.cut()


async def until(condition: Callable[[], bool], *, timeout_s: float = 30.0) -> None:
    """Return when `condition()` holds. Raises AssertionError when it does not within a generous time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.01)
