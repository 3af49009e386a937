"""An upstream that sends exactly the bytes a test wants, when it wants."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from gateway.upstream.connection import Origin

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Peer:
    """The server's side of one connection; `number` counts connections from 1."""

    def __init__(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.number = number
        self.reader = reader
        self.writer = writer

    async def request(self) -> bytes:
        """The next whole request; raises IncompleteReadError when the client has hung up."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]) if b"content-length" in head else 0
        return head + await self.reader.readexactly(length)

    async def send(self, *pieces: bytes) -> None:
        """Write pieces, each a packet of its own."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            if len(pieces) > 1:
                await asyncio.sleep(0.002)

    def reset(self) -> None:
        """Close with RST: what the peer has not read is lost."""
        self.writer.transport.abort()

    async def gone(self) -> None:
        """Wait until the client has closed."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(65536):
                pass


Handler = Callable[[Peer], Awaitable[None]]


class RawServer:
    """`origin` leads to it; `peers` has every connection it got, `requests` counts what `answering` read."""

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self.peers: list[Peer] = []
        self.requests: list[bytes] = []


@asynccontextmanager
async def serving(
    handler: Handler,
    *,
    context: ssl.SSLContext | None = None,
    host: str = "127.0.0.1",
    ca_file: str | None = None,
    cert_file: str | None = None,
    proxy: str | None = None,
) -> AsyncIterator[RawServer]:
    """Run `handler` for every connection; when it returns the connection is closed."""
    running: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        peer = Peer(len(server.peers) + 1, reader, writer)
        server.peers.append(peer)
        try:
            await handler(peer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            running.discard(task)
            writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    port = listener.sockets[0].getsockname()[1]
    scheme = "https" if context else "http"
    server = RawServer(
        Origin.parse(f"{scheme}://{host}:{port}", ca_file=ca_file, cert_file=cert_file, proxy=proxy),
    )
    try:
        yield server
    finally:
        listener.close()
        for task in tuple(running):
            task.cancel()
        for peer in server.peers:
            peer.writer.transport.abort()
        if running:
            await asyncio.wait(tuple(running), timeout=5)
        await asyncio.sleep(0)


def answering(*pieces: bytes) -> Handler:
    """Answer every request on a connection with these bytes, each piece a packet, and keep it open."""

    async def handler(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(*pieces)

    return handler


def once(*pieces: bytes) -> Handler:
    """Answer one request with these bytes, then close."""

    async def handler(peer: Peer) -> None:
        await peer.request()
        await peer.send(*pieces)

    return handler
