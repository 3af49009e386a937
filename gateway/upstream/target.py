"""Whom to call: a configured provider (an account) and one model at it (a target), worked out ahead of any request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from gateway.upstream.connection import Connection, Limits, Origin, render_head
from gateway.upstream.health import Breaker
from gateway.upstream.pool import Pool
from gateway.wire.openai import ENDPOINTS, Endpoint, Variations


class Line(Protocol):
    """Where connections come from: the pool for an origin, or the demo provider."""

    def take(self) -> Connection | None:
        """A connection that is ready now."""

    async def connect(self, limits: Limits, deadline: float) -> Connection:
        """A new one; `deadline` is on the loop's clock. Raises GatewayError."""


class PoolLine:
    """The pool's connections to one origin."""

    __slots__ = ("_origin", "_pool")

    def __init__(self, pool: Pool, origin: Origin) -> None:
        self._pool = pool
        self._origin = origin

    def take(self) -> Connection | None:
        """An idle connection, if there is one."""
        return self._pool.take(self._origin)

    async def connect(self, limits: Limits, deadline: float) -> Connection:
        """A new connection. Raises GatewayError."""
        return await self._pool.connect(self._origin, limits, deadline)


class Account:
    """One provider as configured: where it is and what it wants to see in a request's head.

    `headers` carry its credentials, so an account is never shown or logged; `base_path` goes before every path.
    """

    __slots__ = (
        "_lines",
        "base_path",
        "base_url",
        "limits",
        "line",
        "local",
        "name",
        "name_header",
        "type",
        "variations",
    )

    def __init__(
        self,
        *,
        name: str,
        type: str,
        base_url: str,
        base_path: str,
        host: bytes,
        headers: Mapping[str, str],
        line: Line,
        limits: Limits,
        variations: Variations,
        local: bool,
    ) -> None:
        self.name = name
        self.name_header = printable(name)
        self.type = type
        self.base_url = base_url
        self.base_path = base_path
        self.line = line
        self.limits = limits
        self.variations = variations
        self.local = local
        self._lines = [
            (b"host", host),
            (b"accept-encoding", b"identity"),
            *((key.lower().encode(), value.encode("latin-1")) for key, value in headers.items()),
        ]

    def begin_head(self, method: str, path: str, *extra: tuple[bytes, bytes]) -> bytes:
        """A request head without its final empty line, so that more header lines can follow.

        Raises GatewayError (invalid_request) for a path that would break out of its line.
        """
        target = (self.base_path + path).encode("latin-1", "replace")
        return render_head(method.encode("ascii", "replace"), target, [*self._lines, *extra])[:-2]


class Target:
    """Where a route may send a request: one model at one account."""

    __slots__ = (
        "_heads",
        "account",
        "breaker",
        "limits",
        "line",
        "model",
        "model_header",
        "name",
        "priority",
        "provider",
        "provider_header",
        "variations",
        "weight",
    )

    def __init__(
        self, account: Account, model: str, breaker: Breaker, limits: Limits, *, weight: float = 1.0, priority: int = 0
    ) -> None:
        self.account = account
        self.provider = account.name
        self.provider_header = account.name_header
        self.model = model
        self.model_header = printable(model)
        self.name = f"{account.name}/{model}"
        self.breaker = breaker
        self.limits = limits
        self.line = account.line
        self.variations = account.variations
        self.weight = weight
        self.priority = priority
        self._heads = {
            endpoint: account.begin_head("POST", endpoint.upstream_path, (b"content-type", b"application/json"))
            for endpoint in ENDPOINTS
        }

    def head(self, endpoint: Endpoint, forwarded: bytes, length: int) -> bytes:
        """The whole request head for a body of `length` bytes; `forwarded` are header lines of the client's."""
        return b"%b%bcontent-length: %d\r\n\r\n" % (self._heads[endpoint], forwarded, length)


def printable(name: str) -> bytes:
    """`name` as a header value: what is not printable ASCII becomes a question mark."""
    return bytes(octet if 32 <= octet < 127 else 63 for octet in name.encode("ascii", "replace"))
