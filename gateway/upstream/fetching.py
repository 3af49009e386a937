"""Fetches an image or a file by its URL, for a provider that takes no URLs.

The URL is the client's word and may lead anywhere, so it is asked with nothing that is the gateway's: no
credentials, no cookies, no redirects, no connection that somebody else used, and to no address that the address
rule forbids. What comes back is bounded in size and time while it comes, and is only taken for what its own first
bytes say that it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from typing import NoReturn
from urllib.parse import SplitResult, quote, urlsplit

from gateway.errors import GatewayError
from gateway.upstream.addresses import AddressRule
from gateway.upstream.connection import Connection, Headers, Limits, Origin, render_head
from gateway.upstream.media_types import IMAGES, declared_type, may_be, sniff
from gateway.upstream.pool import Pool

_MAX_URL_CHARACTERS = 8192
_MAX_SHOWN_CHARACTERS = 200
_MAX_HEAD_BYTES = 16_384
_CONNECT_S = 5.0
# What stays as it is in a path or query: everything that RFC 3986 lets stand there, and escapes that are made already.
_UNTOUCHED = "/?%:@!$&'()*+,;=~-._[]"
_PLAIN_CODINGS = ("", "identity")


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """`max_bytes` of one answer; `total_s` for all of it, waiting for a turn included; `at_once` in one worker."""

    max_bytes: int = 20_971_520
    total_s: float = 15.0
    at_once: int = 8


class Fetcher:
    """One worker's fetches. `proxy` is as in `Origin.parse`: None for the direct way, and never by itself."""

    def __init__(
        self, pool: Pool, rule: AddressRule, limits: FetchLimits | None = None, *, proxy: str | None = None
    ) -> None:
        self._pool = pool
        self._rule = rule
        self._limits = limits = limits or FetchLimits()
        self._proxy = proxy
        self._turns = asyncio.Semaphore(limits.at_once)

    async def fetch(self, url: str, media_types: Collection[str] = IMAGES) -> tuple[str, bytes]:
        """The media type and the bytes behind `url`, of one of `media_types`.

        Raises GatewayError: `invalid_field` for what cannot be had or is not wanted, `address_not_allowed`, both
        naming the URL without its query; `draining`.
        """
        parts, origin = self._read(url)
        shown = _shown(parts)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._limits.total_s
        try:
            async with asyncio.timeout_at(deadline), self._turns:
                download = await self._download(parts, origin, media_types, deadline)
        except TimeoutError:
            _refuse(shown, f"it did not come within {self._limits.total_s:g} s")
        except GatewayError as error:
            self._explain(shown, error)
        if download.refusal is not None:
            _refuse(shown, download.refusal)
        if download.error is not None:
            self._explain(shown, download.error)
        body = b"".join(download.pieces)
        media_type = sniff(body, download.declared)
        if media_type is None or media_type not in media_types:
            _refuse(shown, f"it is none of {', '.join(sorted(media_types))}")
        return media_type, body

    def _read(self, url: str) -> tuple[SplitResult, Origin]:
        if len(url) > _MAX_URL_CHARACTERS:
            raise GatewayError("invalid_field", "A URL of an image or a file is too long.")
        url = url.strip()
        try:
            parts = urlsplit(url)
        except ValueError:
            parts = None
        if parts is None or not url.isprintable():
            raise GatewayError("invalid_field", "The URL of an image or a file cannot be read.")
        shown = _shown(parts)
        if parts.scheme not in ("http", "https"):
            _refuse(shown, "only http and https URLs are fetched")
        if "@" in parts.netloc:
            _refuse(shown, "a URL with a user name or a password is not fetched")
        try:
            return parts, Origin.parse(url, proxy=self._proxy, rule=self._rule)
        except ValueError as error:
            _refuse(shown, str(error))

    async def _download(
        self, parts: SplitResult, origin: Origin, media_types: Collection[str], deadline: float
    ) -> _Download:
        total_s = self._limits.total_s
        limits = Limits(
            connect_s=min(_CONNECT_S, total_s),
            first_byte_s=total_s,
            idle_s=total_s,
            total_s=total_s,
            max_head_bytes=_MAX_HEAD_BYTES,
            max_body_bytes=self._limits.max_bytes,
        )
        # A new connection, and none that is kept: nobody else's request ever shares one with a stranger's server.
        connection = await self._pool.connect(origin, limits, deadline)
        download = _Download(connection, media_types)
        connection.send(_head(parts, origin, media_types), b"", download, limits, deadline)
        try:
            await download.waiter
        finally:
            download.give_up()
        return download

    def _explain(self, shown: str, error: GatewayError) -> NoReturn:
        """Raise what the client may know: of its URL, not of the gateway's network."""
        if error.code == "draining":
            raise error
        if error.code == "address_not_allowed":
            raise GatewayError(
                "address_not_allowed", f"{shown} cannot be fetched: its host does not lead to a public address."
            ) from None
        reason = {
            "upstream_answer_too_large": f"it is larger than {self._limits.max_bytes} bytes",
            "upstream_total_timeout": f"it did not come within {self._limits.total_s:g} s",
            "upstream_truncated": "its server broke off",
            "upstream_bad_answer": "its server does not speak proper HTTP",
        }.get(error.code, "its server cannot be reached")
        _refuse(shown, reason)


class _Download:
    """Receives one answer. `refusal` says why what came is not wanted, `error` why nothing more came."""

    __slots__ = ("_connection", "_media_types", "declared", "error", "pieces", "refusal", "waiter")

    def __init__(self, connection: Connection, media_types: Collection[str]) -> None:
        self._connection: Connection | None = connection
        self._media_types = media_types
        self.waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.pieces: list[bytes] = []
        self.declared = ""
        self.error: GatewayError | None = None
        self.refusal: str | None = None

    def on_head(self, status: int, headers: Headers) -> None:
        """Decide by the head whether the body is worth having."""
        named = dict(reversed(headers))
        self.declared = declared_type(named.get(b"content-type", b""))
        if 300 <= status < 400:
            self.refusal = "it leads on to another URL, and redirects are not followed"
        elif status != 200:
            self.refusal = f"its server answered with status {status}"
        elif named.get(b"content-encoding", b"").lower().decode("latin-1") not in _PLAIN_CODINGS:
            self.refusal = "it came compressed, which was not asked for"
        elif not any(may_be(self.declared, wanted) for wanted in self._media_types):
            self.refusal = f"it is none of {', '.join(sorted(self._media_types))}"
        if self.refusal is not None:
            self.give_up()
            self._wake()

    def on_body(self, data: bytes) -> None:
        """More of it; the connection counts the bytes."""
        self.pieces.append(data)

    def on_end(self) -> None:
        """All of it is here."""
        self._connection = None
        self._wake()

    def on_failure(self, error: GatewayError) -> None:
        """It will not come."""
        self._connection = None
        self.error = error
        self._wake()

    def give_up(self) -> None:
        """Close the connection if the answer is still on its way."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()

    def _wake(self) -> None:
        if not self.waiter.done():
            self.waiter.set_result(None)


def _head(parts: SplitResult, origin: Origin, media_types: Collection[str]) -> bytes:
    path = quote(parts.path or "/", safe=_UNTOUCHED)
    query = "?" + quote(parts.query, safe=_UNTOUCHED) if parts.query else ""
    return render_head(
        b"GET",
        (path + query).encode("ascii"),
        [
            (b"host", origin.host_header),
            (b"user-agent", b"kubechat-gateway"),
            (b"accept", ", ".join(sorted(media_types)).encode("ascii")),
            (b"accept-encoding", b"identity"),
            (b"connection", b"close"),
        ],
    )


def _shown(parts: SplitResult) -> str:
    """A URL for a message: without user name, password, query and fragment."""
    host = parts.netloc.rpartition("@")[2]
    text = f"{parts.scheme}://{host}{parts.path}{'?…' if parts.query else ''}"
    return text if len(text) <= _MAX_SHOWN_CHARACTERS else f"{text[:_MAX_SHOWN_CHARACTERS]}…"


def _refuse(shown: str, reason: str) -> NoReturn:
    raise GatewayError("invalid_field", f"{shown} cannot be fetched: {reason}.")
