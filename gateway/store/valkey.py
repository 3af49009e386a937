"""Valkey or Redis: one client for every kind of address, with time limits and errors of ours."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from redis.asyncio import BlockingConnectionPool, Redis, RedisError, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    ConnectionError,
    MasterDownError,
    ReadOnlyError,
    TimeoutError,
)

from gateway.errors import GatewayError

Result = TypeVar("Result")

_CONNECT_TIMEOUT_S = 2.0
_SENTINEL_PORT = 26379
_AWAY = (
    OSError,
    ConnectionError,
    TimeoutError,
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    ReadOnlyError,
)


class Valkey:
    """A pool of connections to one Valkey. Made by `await Valkey.open(…)`; `.client` speaks to it."""

    def __init__(self, client: Redis, on_unavailable: Callable[[], None], sentinel: Sentinel | None = None) -> None:
        self.client = client
        self._on_unavailable = on_unavailable
        self._sentinel = sentinel

    @classmethod
    async def open(
        cls,
        address: str,
        *,
        max_connections: int = 32,
        timeout_s: float = 1.0,
        on_unavailable: Callable[[], None] = lambda: None,
    ) -> Valkey:
        """Reach the server once and return its client; see `connect`. Raises GatewayError `store_unavailable` too."""
        valkey = cls.connect(
            address, max_connections=max_connections, timeout_s=timeout_s, on_unavailable=on_unavailable
        )
        try:
            await valkey.ping()
        except BaseException:
            await valkey.close()
            raise
        return valkey

    @classmethod
    def connect(
        cls,
        address: str,
        *,
        max_connections: int = 32,
        timeout_s: float = 1.0,
        on_unavailable: Callable[[], None] = lambda: None,
    ) -> Valkey:
        """The client of a server that is reached when it is first asked something.

        `address`: `redis://`, `rediss://` (TLS), `unix://`, a socket's absolute path, or
        `redis+sentinel://[user:password@]host[:26379][,host2…]/service[/database]`, `rediss+sentinel://`
        alike. `timeout_s` limits each command; none is ever repeated by itself, since a counter would
        count twice. Raises ValueError for an address that makes no sense.
        """
        options: dict[str, Any] = {
            "socket_timeout": timeout_s,
            "socket_connect_timeout": min(_CONNECT_TIMEOUT_S, 2 * timeout_s),
            # Under protocol 3 redis-py 8 takes a pending byte for a maintenance notice, and so hands out
            # connections that the server has closed (AsyncConnectionPool.ensure_connection, read 2026-11).
            "protocol": 2,
        }
        scheme = address.partition("://")[0]
        if scheme in ("redis+sentinel", "rediss+sentinel"):
            client, sentinel = _through_sentinel(address, options, max_connections)
        elif scheme in ("redis", "rediss", "unix") or address.startswith("/"):
            client, sentinel = _direct(address, options, max_connections), None
        else:
            raise ValueError(
                "a Valkey address begins with redis://, rediss://, unix://, redis+sentinel:// or rediss+sentinel://"
            )
        return cls(client, on_unavailable, sentinel)

    async def ping(self) -> None:
        """Return when the server has answered; raises GatewayError `store_unavailable` when it does not."""
        await self.call(lambda client: client.ping())

    async def call(self, work: Callable[[Redis], Awaitable[Result]]) -> Result:
        """Return `await work(client)`; not to reach the server is GatewayError `store_unavailable`.

        What the server answers to a wrong command or a failing script stays redis-py's ResponseError.
        """
        try:
            return await work(self.client)
        except _AWAY as error:
            self._on_unavailable()
            raise GatewayError(
                "store_unavailable", f"The counter store is not available ({type(error).__name__})."
            ) from error

    async def close(self) -> None:
        """Close every connection."""
        try:
            await self.client.aclose(close_connection_pool=True)
            for sentinel in self._sentinel.sentinels if self._sentinel is not None else ():
                await sentinel.aclose(close_connection_pool=True)
        except (OSError, RedisError):
            pass  # it was gone already


def _direct(address: str, options: dict[str, Any], max_connections: int) -> Redis:
    # A burst waits for a free connection instead of failing.
    pool_options = {**options, "max_connections": max_connections, "timeout": options["socket_timeout"]}
    retry = Retry(NoBackoff(), 0)
    if address.startswith("/"):
        del pool_options["socket_connect_timeout"]
        return Redis(
            connection_pool=BlockingConnectionPool(
                connection_class=UnixDomainSocketConnection, path=address, retry=retry, **pool_options
            )
        )
    if address.startswith("unix:"):
        del pool_options["socket_connect_timeout"]
    return Redis(connection_pool=BlockingConnectionPool.from_url(address, retry=retry, **pool_options))


def _through_sentinel(address: str, options: dict[str, Any], max_connections: int) -> tuple[Redis, Sentinel]:
    parts = urlsplit(address)
    credentials, _, hosts = parts.netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    service, _, database = parts.path.strip("/").partition("/")
    if not hosts or not service or not (database or "0").isdecimal():
        raise ValueError("a Sentinel address is redis+sentinel://host:26379,host2:26379/service/database")
    tls = {"ssl": True} if parts.scheme == "rediss+sentinel" else {}
    sentinel = Sentinel(  # type: ignore[no-untyped-call]
        [_host_and_port(host) for host in hosts.split(",")],
        sentinel_kwargs={**options, **tls},
        **options,
        **tls,
    )
    client = sentinel.master_for(
        service,
        db=int(database or "0"),
        username=unquote(user) or None,
        password=unquote(password) or None,
        max_connections=max_connections,
        retry=Retry(NoBackoff(), 0),
    )
    return client, sentinel


def _host_and_port(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, str(_SENTINEL_PORT)
    if not host or not port.isdecimal():
        raise ValueError(f"not host:port in the Sentinel address: {text}")
    return host.strip("[]"), int(port)
