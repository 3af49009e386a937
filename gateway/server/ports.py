"""The listening sockets, and how they are given up."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from gateway.server.gate import Gate
from gateway.server.hot_lane import HotLane

_BACKLOG = 4096
# uvloop accepts one connection a turn for each handle (0.23, seen 2026-11): with one, a burst of new streams queues.
_HANDLES = 8
_POLL_S = 0.05
_SHUTDOWN_S = 2.0
_ABSENT = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})


class PortTakenError(Exception):
    """Somebody listens on that address already."""


def bind(host: str, port: int, *, shared: bool) -> list[socket.socket]:
    """Listening sockets on every address of `host`; `shared`: other workers bind the same port (SO_REUSEPORT).

    Raises PortTakenError. A port that another gateway shares would be joined silently, so whoever starts first
    probes with a plain bind (`probe`).
    """
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise PortTakenError(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
    made: list[socket.socket] = []
    absent: OSError | None = None
    for family, address in dict.fromkeys((info[0], info[4]) for info in found):
        try:
            wanted = (address[0], made[0].getsockname()[1]) if made and not port else address
            made.append(_bound(family, wanted, shared=shared))
        except OSError as error:
            if error.errno in _ABSENT:  # `localhost` names ::1 also where IPv6 is switched off
                absent = error
                continue
            for other in made:
                other.close()
            raise PortTakenError(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
    if not made:
        raise PortTakenError(f"cannot listen on {host}:{port}: {absent and absent.strerror}")
    return made


def _bound(family: int, address: Any, *, shared: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def probe(host: str, port: int) -> int:
    """The port that can be had: `port` itself, or a free one for 0. Raises PortTakenError."""
    sockets = bind(host, port, shared=False)
    taken: int = sockets[0].getsockname()[1]
    for sock in sockets:
        sock.close()
    return taken


def server_tls(cert_file: Path, key_file: Path, client_ca_file: Path | None) -> ssl.SSLContext:
    """TLS for our port. Raises OSError or ssl.SSLError for files that are not what they should be."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(cert_file, key_file)
    context.set_alpn_protocols(["http/1.1"])
    if client_ca_file is not None:
        context.load_verify_locations(client_ca_file)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


class Ports:
    """What is listened on. `stop` closes the sockets, connections stay. `port` is the first one's."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._servers: list[asyncio.Server] = []
        self.port = 0

    async def listen(
        self, make_lane: Callable[[], HotLane], sockets: list[socket.socket], tls: ssl.SSLContext | None
    ) -> None:
        """Accept connections on `sockets`."""
        loop = asyncio.get_running_loop()
        self.port = self.port or sockets[0].getsockname()[1]
        options: dict[str, Any] = {}
        if tls is not None:  # a handshake is part of what the head's time limit is for
            handshake_s = self._gate.limits.head_timeout_s
            options = {"ssl": tls, "ssl_handshake_timeout": handshake_s, "ssl_shutdown_timeout": _SHUTDOWN_S}
        # A lane has all of a protocol's methods, but no base that is Python's: a compiled class cannot have one.
        make = cast("Callable[[], asyncio.Protocol]", make_lane)
        for sock in sockets:
            for handle in (sock, *(sock.dup() for _ in range(_HANDLES - 1))):
                self._servers.append(await loop.create_server(make, sock=handle, backlog=_BACKLOG, **options))

    async def stop(self) -> None:
        """Refuse new connections from now on."""
        for server in self._servers:
            server.close()
        self._servers.clear()

    async def drain(self, grace_s: float, timeout_s: float) -> bool:
        """Unready at once, closed after the grace, empty within the time; False where requests were still under way."""
        gate = self._gate
        gate.draining = True
        await asyncio.sleep(grace_s)
        await self.stop()
        deadline = gate.loop.time() + timeout_s
        gate.close_idle()
        while (gate.connections or gate.in_flight) and gate.loop.time() < deadline:
            await asyncio.sleep(_POLL_S)
            gate.close_idle()
        return not gate.busy and not gate.in_flight  # requests may outlive their connections
