"""Opens a connection: address look-up, TCP, the proxy's tunnel, TLS. Every failure has its own code.

Where the origin has an address rule, every address that its host resolves to must keep it, and it is to these
addresses, never to a second look-up's, that the socket is connected. Behind a forward proxy it is the proxy that
connects: the host is looked up and checked here first, and the proxy is then asked for the host by name, for its
own rules go by names. That stops every host that is inside by its name or its ordinary records; it cannot stop one
that resolves differently for the proxy, so a proxy on whose network private upstreams can be reached needs the
same rule itself.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Sequence
from typing import cast

import aiohappyeyeballs
from aiohappyeyeballs import AddrInfoType

from gateway.errors import GatewayError
from gateway.upstream.connection import Connection
from gateway.upstream.exchange import failure
from gateway.upstream.origin import Origin
from gateway.upstream.proxy import Tunnel, TunnelRefused
from gateway.upstream.tls import TlsContexts

# RFC 8305: how long to wait for one address before the next is tried beside it.
_ATTEMPT_DELAY_S = 0.25


async def open_connection(connection: Connection, contexts: TlsContexts) -> None:
    """Connect `connection` to its origin. On failure and on cancellation no socket is left open.

    Raises GatewayError `upstream_connect_failed`, `upstream_proxy_failed`, `upstream_tls_failed` or
    `address_not_allowed`.
    """
    origin, proxy = connection.origin, connection.origin.proxy
    if proxy is None:
        addresses = await _look_up(origin.host, origin.port, origin, "upstream_connect_failed")
        _check(origin, addresses)
        wire = await _dial(addresses, _protocol(connection), origin, "upstream_connect_failed")
    else:
        if origin.rule is not None:
            _check(origin, await _look_up(origin.host, origin.port, origin, "upstream_connect_failed"))
        tunnel = Tunnel()
        addresses = await _look_up(proxy.host, proxy.port, origin, "upstream_proxy_failed")
        wire = await _dial(addresses, tunnel, origin, "upstream_proxy_failed")
    try:
        if proxy is not None:
            await _pass_proxy(wire, tunnel, connection, contexts)
        if origin.tls:
            context = await _context(contexts, origin, "upstream_tls_failed")
            connection.attach(await _secure(connection.transport, _protocol(connection), context, origin.host, origin))
        if connection.closed:
            raise failure("upstream_connect_failed", origin.name, "it hung up or spoke first")
    except BaseException:
        wire.abort()
        raise


def _protocol(connection: Connection) -> asyncio.Protocol:
    # It has all of a protocol's methods, but no base that is Python's: a compiled class cannot have one.
    return cast("asyncio.Protocol", connection)


async def _look_up(host: str, port: int, origin: Origin, code: str) -> Sequence[AddrInfoType]:
    try:
        return await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise _unreachable(origin, code, error) from None


def _check(origin: Origin, addresses: Sequence[AddrInfoType]) -> None:
    """All addresses must be allowed: a host that is both outside and inside is not to be tried its way in."""
    if origin.rule is None:
        return
    for *_, where in addresses:
        reason = origin.rule.refusal(origin.host, str(where[0]))
        if reason is not None:
            raise failure("address_not_allowed", origin.name, f"it leads to an address that is not allowed ({reason})")


async def _dial(
    addresses: Sequence[AddrInfoType], protocol: asyncio.Protocol, origin: Origin, code: str
) -> asyncio.Transport:
    loop = asyncio.get_running_loop()
    try:
        connected = await aiohappyeyeballs.start_connection(
            addresses, happy_eyeballs_delay=_ATTEMPT_DELAY_S, interleave=1, loop=loop
        )
        try:
            _keep_alive(connected)
            transport, _ = await loop.create_connection(lambda: protocol, sock=connected)
        except BaseException:
            connected.close()
            raise
    except (OSError, UnicodeError) as error:
        raise _unreachable(origin, code, error) from None
    return transport


def _unreachable(origin: Origin, code: str, error: OSError | UnicodeError) -> GatewayError:
    reason = getattr(error, "strerror", None) or type(error).__name__
    whom = "its proxy cannot be reached" if code == "upstream_proxy_failed" else "cannot connect"
    return failure(code, origin.name, f"{whom} ({reason})")


def _keep_alive(connected: socket.socket) -> None:
    # A model may think for minutes: probes keep NAT tables and load balancers from forgetting the connection, and
    # find a peer that vanished. (Linux has all three options; others keep their defaults.)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


async def _pass_proxy(wire: asyncio.Transport, tunnel: Tunnel, connection: Connection, contexts: TlsContexts) -> None:
    """From here on `connection` talks through the proxy, in a tunnel where the origin wants TLS."""
    origin, proxy = connection.origin, connection.origin.proxy
    assert proxy is not None
    transport = wire
    if proxy.scheme == "https":
        context = await _context(contexts, Origin("https", proxy.host, proxy.port), "upstream_proxy_failed")
        try:
            transport = await _secure(wire, tunnel, context, proxy.host, origin)
        except GatewayError as error:
            raise GatewayError("upstream_proxy_failed", error.message) from None
    if origin.tls:
        host = f"[{origin.host}]" if ":" in origin.host else origin.host
        try:
            await tunnel.open(transport, f"{host}:{origin.port}".encode("ascii"), proxy.authorization)
        except TunnelRefused as error:
            reason = f"the proxy {proxy.name} did not open a tunnel: {error}"
            raise failure("upstream_proxy_failed", origin.name, reason) from None
    transport.set_protocol(_protocol(connection))
    connection.connection_made(wire)
    connection.attach(transport)


async def _context(contexts: TlsContexts, origin: Origin, code: str) -> ssl.SSLContext:
    try:
        return await contexts.get(origin.ca_file, origin.cert_file, origin.key_file)
    except OSError as error:
        reason = getattr(error, "reason", None) or error.strerror or type(error).__name__
        raise failure(code, origin.name, f"a certificate or key file cannot be loaded ({reason})") from None


async def _secure(
    transport: asyncio.Transport, protocol: asyncio.Protocol, context: ssl.SSLContext, host: str, origin: Origin
) -> asyncio.Transport:
    loop = asyncio.get_running_loop()
    try:
        secured = await loop.start_tls(transport, protocol, context, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        reason = f"its certificate is not accepted ({error.verify_message})"
        raise failure("upstream_tls_failed", origin.name, reason) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or type(error).__name__
        raise failure("upstream_tls_failed", origin.name, f"the TLS handshake failed ({reason})") from None
    return cast("asyncio.Transport", secured)
