"""The listening sockets, and how they are given up."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

from gateway.server.gate import Gate
from gateway.server.hot_lane import HotLane

_BACKLOG = 4096
# uvloop accepts one connection a turn for each handle (0.23, seen 2026-11): with one, a burst of new streams queues.
_HANDLES = 8
_POLL_S = 0.05


class PortTakenError(Exception):
    """Somebody listens on that address already."""


def bind(host: str, port: int, *, shared: bool) -> list[socket.socket]:
    """Listening sockets on every address of `host`; `shared`: other workers bind the same port (SO_REUSEPORT).

    Raises PortTakenError. A port that another gateway shares would be joined silently, so whoever starts first
    probes with a plain bind (`probe`).
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        found = socket.getaddrinfo(
            host or None, port, family=0 if host else family, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise PortTakenError(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
    made: list[socket.socket] = []
    for info in dict.fromkeys(found):
        sock = socket.socket(info[0], info[1])
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if info[0] == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            sock.bind(info[4] if port or not made else (info[4][0], made[0].getsockname()[1]))
        except OSError as error:
            sock.close()
            for other in made:
                other.close()
            raise PortTakenError(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
        sock.setblocking(False)
        made.append(sock)
    return made


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
    """What is listened on. `stop` closes the sockets, connections stay."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._servers: list[asyncio.Server] = []
        self.port = 0

    async def listen(
        self, make_lane: Callable[[], HotLane], sockets: list[socket.socket], tls: ssl.SSLContext | None
    ) -> None:
        """Accept connections on `sockets`."""
        loop = asyncio.get_running_loop()
        self.port = sockets[0].getsockname()[1]
        for sock in sockets:
            for handle in (sock, *(sock.dup() for _ in range(_HANDLES - 1))):
                self._servers.append(await loop.create_server(make_lane, sock=handle, ssl=tls, backlog=_BACKLOG))

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
        while gate.connections and gate.loop.time() < deadline:
            if not gate.in_flight:
                gate.close_idle()
            await asyncio.sleep(_POLL_S)
        return not gate.in_flight
