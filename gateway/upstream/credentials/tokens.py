"""Keeps one bearer token fresh."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from gateway.errors import GatewayError
from gateway.tasks import Tasks

_log = logging.getLogger("gateway.upstream")

# Renewed so long before it expires, or in the last fifth of a short life; not used in its last seconds.
_RENEW_BEFORE_S = 300.0
_UNUSED_S = 30.0
# After a renewal that failed, while the old token still holds.
_RETRY_AFTER_S = 10.0


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token and how long it holds, in seconds from when it was asked for."""

    value: str
    lifetime_s: float


class TokenKeeper:
    """Hands out one token, asks for another before it expires, and uses the old one while that fails.

    `obtain` asks the token server; it raises GatewayError. However many requests wait, it runs once at a time. A
    request waits for it only where there is no token that holds. `clock` is in seconds.
    """

    def __init__(
        self,
        obtain: Callable[[], Awaitable[Token]],
        tasks: Tasks,
        *,
        name: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._obtain = obtain
        self._tasks = tasks
        self._name = name
        self._clock = clock
        self._value = ""
        self._renew_at = self._expires_at = float("-inf")
        self._renewal: asyncio.Task[None] | None = None
        self._failure: GatewayError | None = None

    async def headers(self) -> list[tuple[bytes, bytes]]:
        """The line that carries the token. Raises upstream_auth where none can be had."""
        now = self._clock()
        holds = now < self._expires_at
        if not holds or now >= self._renew_at:
            renewal = self._renew()
            if not holds:
                await asyncio.wait((renewal,))  # whoever stops waiting does not stop the others
                if self._clock() >= self._expires_at:
                    raise self._refusal()
        return [(b"authorization", b"Bearer " + self._value.encode())]

    def _renew(self) -> asyncio.Task[None]:
        if self._renewal is None or self._renewal.done():
            self._failure = None
            self._renewal = self._tasks.spawn(self._run(), name=f"token {self._name}")
        return self._renewal

    def _refusal(self) -> GatewayError:
        failure = self._failure
        if failure is None:
            return GatewayError("upstream_auth", f"No token for {self._name} could be had.")
        return GatewayError(failure.code, failure.message)  # its own for each request: an error is changed on its way

    async def _run(self) -> None:
        began = self._clock()
        try:
            token = await self._obtain()
            if token.lifetime_s <= 0 or not _usable(token.value):
                raise GatewayError("upstream_auth", f"The token server of {self._name} gave a token of no use.")
        except GatewayError as error:
            self._failure = error
            self._renew_at = self._clock() + _RETRY_AFTER_S
            _log.warning("no new token for %s: %s", self._name, error.message)
            return
        lifetime_s = token.lifetime_s
        self._value = token.value
        self._renew_at = began + lifetime_s - min(_RENEW_BEFORE_S, lifetime_s / 5)
        self._expires_at = began + lifetime_s - min(_UNUSED_S, lifetime_s / 10)


def _usable(value: str) -> bool:
    return bool(value) and value.isascii() and value.isprintable()
