"""Proxies: which one an origin is reached through, and the CONNECT that opens a tunnel."""

from __future__ import annotations

import asyncio
import ipaddress
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}
_OPENED = re.compile(rb"HTTP/1\.[01] (\d{3})[ \r]")
_MAX_HEAD_BYTES = 16384


@dataclass(frozen=True, slots=True)
class Proxy:
    """A forward proxy. `authorization` is the value of its Proxy-Authorization header, from the URL's userinfo."""

    scheme: str
    host: str
    port: int
    authorization: bytes | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """`host:port`, for messages."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, url: str) -> Proxy:
        """Read `http://user:password@host:port`; http is assumed. Raises ValueError, which never shows the URL."""
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            host, port = parts.hostname, parts.port
        except ValueError:
            raise ValueError("the proxy's URL is malformed") from None
        if parts.scheme not in _DEFAULT_PORTS or not host:
            raise ValueError("a proxy's URL must be http://host:port or https://host:port (SOCKS is not supported)")
        authorization = None
        if parts.username is not None:
            userinfo = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            authorization = b"Basic " + b64encode(userinfo.encode())
        return cls(parts.scheme, host, port or _DEFAULT_PORTS[parts.scheme], authorization)


def proxy_for(scheme: str, host: str, port: int, environ: Mapping[str, str]) -> Proxy | None:
    """The proxy that the environment names for an origin, None for the direct way.

    Lower-case names win over upper-case ones, as in curl; loopback is never proxied, as in Go's net/http.
    Raises ValueError for a proxy URL that cannot be used.
    """
    # HTTP_PROXY in upper case is set by a request's Proxy header in CGI programs: https://httpoxy.org
    upper = () if "REQUEST_METHOD" in environ and scheme == "http" else (f"{scheme.upper()}_PROXY",)
    for name in (f"{scheme}_proxy", *upper, "all_proxy", "ALL_PROXY"):
        if url := environ.get(name, "").strip():
            exceptions = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
            return None if bypassed(host, port, exceptions) else Proxy.parse(url)
    return None


def bypassed(host: str, port: int, no_proxy: str) -> bool:
    """Does NO_PROXY (names, .suffixes, addresses, networks, each with an optional :port, or *) name this host?"""
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    for item in no_proxy.lower().split(","):
        entry = item.strip()
        if entry == "*" or (entry and _names(entry, host.lower(), port, address)):
            return True
    return False


def _names(entry: str, host: str, port: int, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None) -> bool:
    if "/" in entry:
        try:
            return address is not None and address in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    name, colon, digits = entry.rpartition(":")
    if colon and digits.isdigit() and (":" not in name or name.startswith("[")):
        if int(digits) != port:
            return False
        entry = name
    entry = entry.strip("[]")
    if address is not None:
        return _address(entry) == address
    entry = entry.removeprefix("*").removeprefix(".")
    return host == entry or host.endswith(f".{entry}")


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


class TunnelRefused(Exception):
    """The proxy did not open the tunnel; the message says why and holds nothing of the proxy's own words."""


class Tunnel(asyncio.Protocol):
    """Asks a proxy for a tunnel: `open` returns once the transport leads to the target."""

    def __init__(self) -> None:
        self._answer = bytearray()
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def open(self, transport: asyncio.WriteTransport, target: bytes, authorization: bytes | None) -> None:
        """Send CONNECT for `target` (host:port) and wait for the proxy's consent. Raises TunnelRefused."""
        credentials = b"proxy-authorization: %b\r\n" % authorization if authorization else b""
        transport.write(b"CONNECT %b HTTP/1.1\r\nhost: %b\r\n%b\r\n" % (target, target, credentials))
        await self._opened

    def data_received(self, data: bytes) -> None:
        """Collect the proxy's answer up to its blank line; nothing may come after it yet."""
        if self._opened.done():
            return  # the origin spoke before TLS began: the handshake, which now misses these bytes, will fail
        self._answer += data
        end = self._answer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._answer) > _MAX_HEAD_BYTES:
                self._refuse("its answer is too long")
            return
        match = _OPENED.match(self._answer)
        if match is None:
            self._refuse("its answer is not HTTP")
        elif not match[1].startswith(b"2"):
            self._refuse(f"it answered {match[1].decode()}")
        elif len(self._answer) != end + 4:
            self._refuse("it sent bytes of its own into the tunnel")
        else:
            self._opened.set_result(None)

    def eof_received(self) -> None:
        """The proxy hung up."""
        self._refuse("it closed the connection")

    def connection_lost(self, error: Exception | None) -> None:
        """The proxy hung up, or the opening was given up."""
        self._refuse("it closed the connection")

    def _refuse(self, reason: str) -> None:
        if not self._opened.done():
            self._opened.set_exception(TunnelRefused(reason))
            self._opened.exception()  # seen: whoever gave up before `open` waits for nothing
