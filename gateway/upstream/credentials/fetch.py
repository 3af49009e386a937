"""The way to a token server: one small request, its whole answer, over the gateway's pool."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol
from urllib.parse import urlsplit

from gateway.errors import GatewayError
from gateway.upstream.addresses import AddressRule
from gateway.upstream.attempt import WholeAnswer
from gateway.upstream.connection import Limits, Origin, render_head
from gateway.upstream.pool import Pool

_LIMITS = Limits(connect_s=10.0, first_byte_s=10.0, idle_s=10.0, total_s=20.0, max_body_bytes=1 << 20)


class Fetch(Protocol):
    """Sends one request and gives back status and body, whatever the status is."""

    async def __call__(
        self, method: str, url: str, headers: Sequence[tuple[str, str]], body: bytes
    ) -> tuple[int, bytes]:
        """Raises GatewayError where no whole answer came."""


class PoolFetch:
    """Fetches over connections of `pool`, redirects not followed.

    `proxy` is as in `Origin.parse`, `rule` limits the addresses that a host may lead to (None: any).
    """

    def __init__(
        self, pool: Pool, *, proxy: str | None = "env", rule: AddressRule | None = None, limits: Limits = _LIMITS
    ) -> None:
        self._pool = pool
        self._proxy = proxy
        self._rule = rule
        self._limits = limits

    async def __call__(
        self, method: str, url: str, headers: Sequence[tuple[str, str]], body: bytes
    ) -> tuple[int, bytes]:
        """Status and body. Raises GatewayError: an `upstream_*` code, or invalid_request for what is no URL."""
        try:
            origin = Origin.parse(url, proxy=self._proxy, rule=self._rule)
            parts = urlsplit(url)
        except ValueError as error:
            raise GatewayError("invalid_request", f"The token server's URL cannot be used: {error}.") from None
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        head = render_head(
            method.encode("ascii", "replace"),
            target.encode("ascii", "replace"),
            [
                (b"host", origin.host_header),
                (b"accept-encoding", b"identity"),
                *((name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers),
                (b"content-length", b"%d" % len(body)),
            ],
        )
        return await self._exchange(origin, head, body)

    async def _exchange(self, origin: Origin, head: bytes, body: bytes) -> tuple[int, bytes]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._limits.total_s
        connection = self._pool.take(origin) or await self._pool.connect(origin, self._limits, deadline)
        answer = WholeAnswer(loop)
        connection.send(head, body, answer, self._limits, deadline)
        try:
            await answer.waiter
        except BaseException:
            if not answer.ended:
                connection.abort()
            raise
        if answer.error is not None:
            raise answer.error
        return answer.status, answer.body
