"""PostgreSQL: a pool whose calls survive a restart of the server, and LISTEN on a session of its own.

Every failure to reach the server is `GatewayError("store_unavailable")`, never asyncpg's own; errors in
the statement or the data (unique violations and so on) stay asyncpg's, for the service to read. JSONB
columns give and take Python values.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar, cast

import asyncpg
import orjson

from gateway.errors import GatewayError
from gateway.store.listener import Callback, Listener
from gateway.store.reach import Reach
from gateway.store.sql import load
from gateway.tasks import Tasks

# A URL (postgres:// or postgresql://), or asyncpg's connect arguments: what a URL cannot say, a socket
# directory with a comma in its name, goes as {"host": …}.
Address = str | Mapping[str, Any]
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Result = TypeVar("Result")
Work: TypeAlias = Callable[[Connection], Awaitable[Result]]

_CONNECT_TIMEOUT_S = 5.0
# So long a call waits for a server that has just gone (a restart takes a fraction of that) …
_PATIENCE_S = 1.5
# … trying again this often. Once it has waited in vain, later calls try once and do not wait.
_RETRY_S = 0.05

_AWAY = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # shutting down, starting up, cancelled by a time limit
    asyncpg.InsufficientResourcesError,  # too many connections, disk full
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,  # after a fail-over: this server is no longer the primary
)
# So long a call may take that a client waits for …
REQUEST_TIMEOUT_S = 1.0
# … and so long one that nobody waits for any more, before its connection is given up.
_HAND_BACK_S = 1.0
# The server said so before it ran anything, or ended a transaction that it has rolled back.
_NOT_RUN = (asyncpg.AdminShutdownError, asyncpg.CrashShutdownError, asyncpg.CannotConnectNowError)


class _Lost(Exception):
    """The server was not reached. `ran`: may the statement have been executed?"""

    def __init__(self, cause: BaseException, *, ran: bool) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.ran = ran


@dataclass(frozen=True)
class PostgresHooks:
    """What metrics want to hear about; called synchronously, must not raise."""

    on_unavailable: Callable[[], None] = lambda: None
    on_listener_reconnect: Callable[[], None] = lambda: None


class Postgres:
    """A pool of connections to one database. Made by `await Postgres.open(…)`."""

    def __init__(
        self,
        pool: asyncpg.Pool[asyncpg.Record],
        session: Mapping[str, Any],
        hooks: PostgresHooks,
        timeout_s: float,
    ) -> None:
        self.pool = pool
        self._session = session
        self._hooks = hooks
        self._timeout_s = timeout_s
        self._sql = load(__package__)
        self._hurried = False
        self._calls: set[asyncio.Task[Any]] = set()
        self._tasks = Tasks()
        self.reach = Reach()
        self._listener = Listener(self.connect_session, self._tasks, hooks.on_listener_reconnect)

    @classmethod
    async def open(
        cls,
        address: Address,
        *,
        listen_address: Address | None = None,
        min_size: int = 1,
        max_size: int = 10,
        timeout_s: float = 5.0,
        hooks: PostgresHooks | None = None,
    ) -> Postgres:
        """Connect `min_size` connections (0: none yet) and return the pool.

        `listen_address` is a direct one for LISTEN and locks where `address` leads to a transaction
        pooler; prepared statements are then not kept. `timeout_s` limits each call, waiting for a
        free connection included. Raises GatewayError `store_unavailable` when the server is not
        reached, ValueError for an address that makes no sense.
        """
        direct = listen_address is None
        arguments = {**_arguments(address), "statement_cache_size": 256 if direct else 0}
        session = _arguments(address if listen_address is None else listen_address)
        try:
            pool = await asyncpg.create_pool(
                min_size=min_size,
                max_size=max_size,
                init=_set_codecs,
                reset=_reset,
                max_inactive_connection_lifetime=600.0,
                **arguments,
            )
        except (*_AWAY, asyncpg.InvalidCatalogNameError) as error:
            raise unavailable(error) from error
        except asyncpg.ClientConfigurationError as error:
            raise ValueError(f"database address: {error}") from None
        except ValueError:  # its text may hold a piece of the password
            raise ValueError("the database address cannot be read: is a / or @ in the password not escaped?") from None
        return cls(pool, session, hooks or PostgresHooks(), timeout_s)

    def for_requests(self) -> Postgres:
        """The same pool for those who have a client waiting: a call takes `REQUEST_TIMEOUT_S` at most unless it says
        otherwise, and after one that failed the next ones are refused at once, until the server has answered again."""
        hurried = copy.copy(self)
        hurried._hurried = True
        hurried._timeout_s = min(self._timeout_s, REQUEST_TIMEOUT_S)
        return hurried

    async def close(self) -> None:
        """End the listener and every connection; what runs gets five seconds."""
        await self._listener.close()
        await self._tasks.drain(1.0)
        try:
            async with asyncio.timeout(5.0):
                await self.pool.close()
        except (*_AWAY, asyncpg.InterfaceError):
            self.pool.terminate()

    async def connect_session(self) -> Connection:
        """Return a new connection outside the pool, direct to the server; the caller closes it."""
        connection: Connection = await asyncpg.connect(**self._session)
        await _set_codecs(connection)
        return connection

    # --- calls --------------------------------------------------------------------------------

    async def fetch(self, query: str, *args: object, timeout_s: float | None = None) -> list[asyncpg.Record]:
        """Return all rows."""
        return await self._call(lambda c: c.fetch(query, *args), timeout_s, repeatable=_reads(query))

    async def fetchrow(self, query: str, *args: object, timeout_s: float | None = None) -> asyncpg.Record | None:
        """Return the first row, or None."""
        return await self._call(lambda c: c.fetchrow(query, *args), timeout_s, repeatable=_reads(query))

    async def fetchval(self, query: str, *args: object, timeout_s: float | None = None) -> Any:
        """Return the first row's first column, or None."""
        return await self._call(lambda c: c.fetchval(query, *args), timeout_s, repeatable=_reads(query))

    async def execute(self, query: str, *args: object, timeout_s: float | None = None) -> str:
        """Run a statement and return its tag, as "UPDATE 3"."""
        return await self._call(lambda c: c.execute(query, *args), timeout_s, repeatable=_reads(query))

    async def executemany(
        self, query: str, rows: Sequence[Sequence[object]], *, timeout_s: float | None = None
    ) -> None:
        """Run a statement once for each row, all in one transaction."""
        await self._call(lambda c: c.executemany(query, rows), timeout_s, repeatable=False)

    async def in_transaction(
        self, work: Callable[[Connection], Awaitable[Result]], *, timeout_s: float | None = None
    ) -> Result:
        """Return what `work(connection)` returns, run in a transaction of its own.

        It is run again only when the server ended the first transaction before its commit was sent. The server ends one
        in which nothing happens for seconds, so that a process that hangs keeps nobody from what it has locked.
        """

        async def run(connection: Connection) -> Result:
            async with connection.transaction():
                await connection.execute(self._sql["end_when_idle"])
                return await work(connection)

        return await self._call(run, timeout_s, repeatable=False)

    @asynccontextmanager
    async def connection(self, *, timeout_s: float | None = None) -> AsyncIterator[Connection]:
        """Lend a pooled connection, for several statements or COPY; errors are mapped, nothing is repeated."""
        try:
            async with self.pool.acquire(timeout=timeout_s or self._timeout_s) as lent:
                yield cast(Connection, lent)
        except (*_AWAY, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
            if isinstance(error, asyncpg.InterfaceError) and not _closed(error):
                raise
            self._hooks.on_unavailable()
            raise unavailable(error) from error

    async def _call(self, work: Work[Result], timeout_s: float | None, *, repeatable: bool) -> Result:
        """What `work` gives, within the time limit as a whole, tries and hand-back included."""
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        if self._hurried and not self.reach.allow():
            raise GatewayError("store_unavailable", "The database did not answer just now.", retry_after_s=1.0)
        began = time.monotonic()
        patience_s = 0.0 if self.reach.away_since is not None else min(_PATIENCE_S, limit_s)
        while True:
            try:
                result = await self._within(work, began + limit_s - time.monotonic())
            except TimeoutError as error:
                if self._hurried:  # else it may be the statement that takes long
                    self.reach.fail()
                self._hooks.on_unavailable()
                raise unavailable(error) from error
            except _Lost as lost:
                too_late = time.monotonic() >= began + patience_s
                if too_late or (lost.ran and not repeatable):
                    if too_late:
                        self.reach.fail()
                    self._hooks.on_unavailable()
                    raise unavailable(lost.cause) from lost.cause
                await asyncio.sleep(_RETRY_S)
            else:
                self.reach.answer()
                return result

    async def _within(self, work: Work[Result], limit_s: float) -> Result:
        """One try, in a task of its own: of a mute server neither a rollback nor the hand-back of its connection is
        waited for. Raises TimeoutError, _Lost."""
        lent: list[Connection] = []
        task = asyncio.get_running_loop().create_task(self._once(work, limit_s, lent), name="ask the database")
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        try:
            done, _ = await asyncio.wait((task,), timeout=max(limit_s, 0.0))
        except asyncio.CancelledError:
            _abandon(task, lent)
            raise
        if not done:
            _abandon(task, lent)
            raise TimeoutError
        return task.result()

    async def _once(self, work: Work[Result], limit_s: float, lent: list[Connection]) -> Result:
        began = False
        try:
            # The time limit given here also bounds the hand-back of a connection whose server is mute.
            async with self.pool.acquire(timeout=limit_s) as connection:
                began = True
                lent.append(cast(Connection, connection))
                try:
                    return await work(lent[0])
                except asyncpg.InternalClientError:
                    # The server's farewell had come, the end of the stream not yet: nothing was sent.
                    began = False
                    connection.terminate()
                    raise
        except TimeoutError:
            raise
        except asyncpg.InterfaceError as error:
            if not _closed(error):
                raise
            raise _Lost(error, ran=began) from error
        except asyncpg.InternalClientError as error:
            raise _Lost(error, ran=began) from error
        except _NOT_RUN as error:
            raise _Lost(error, ran=False) from error
        except _AWAY as error:
            raise _Lost(error, ran=began) from error

    # --- LISTEN -------------------------------------------------------------------------------

    async def listen(self, channel: str, callback: Callback) -> None:
        """Call `callback(payload)` for each notification on `channel`, and `callback("reload")` after a gap.

        Raises GatewayError `store_unavailable` when there is no session within the time limit; the
        callback stays registered and hears `reload` when there is one.
        """
        try:
            await self._listener.listen(channel, callback, self._timeout_s)
        except (*_AWAY, asyncpg.InterfaceError) as error:
            raise unavailable(error) from error

    def listener_stale_s(self) -> float:
        """0.0 while notifications are known to arrive (or nobody listens), else seconds since they last were."""
        return self._listener.stale_s()


def unavailable(cause: BaseException) -> GatewayError:
    """Return the one error for a database that is not reached; it names the cause's kind, never an address."""
    return GatewayError("store_unavailable", f"The database is not available ({type(cause).__name__}).")


def _abandon(task: asyncio.Task[Any], lent: list[Connection]) -> None:
    """Nobody waits for this try any more: its statement is cancelled, and what hangs then loses its connection."""

    def give_up() -> None:
        if not task.done() and lent:
            lent[0].terminate()

    def forget(task: asyncio.Task[Any]) -> None:
        timer.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            task.exception()

    timer = asyncio.get_running_loop().call_later(_HAND_BACK_S, give_up)
    task.add_done_callback(forget)
    task.cancel()


def _arguments(address: Address) -> dict[str, Any]:
    given = {"dsn": address} if isinstance(address, str) else dict(address)
    if isinstance(address, str) and not address.startswith(("postgres://", "postgresql://")):
        raise ValueError("a database address begins with postgres:// or postgresql://")
    return {"timeout": _CONNECT_TIMEOUT_S, **given}


def _closed(error: asyncpg.InterfaceError) -> bool:
    # InterfaceError is also a wrong number of arguments: a programmer's mistake, to be seen as one.
    return "closed" in str(error) or "closing" in str(error)


def _reads(query: str) -> bool:
    return query.lstrip()[:6].upper() == "SELECT"


async def _set_codecs(connection: Any) -> None:
    # Binary, because COPY takes no other; the first byte is jsonb's format version.
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        format="binary",
        encoder=lambda value: b"\x01" + orjson.dumps(value),
        decoder=lambda data: orjson.loads(data[1:]),
    )


async def _reset(connection: Any) -> None:
    # asyncpg's own reset is a round trip after every call; no code here changes a session's settings.
    if connection.is_in_transaction():
        await connection.reset()
