"""Back-pressure both ways: a slow client slows the upstream, a slow upstream slows the upload; memory stays flat."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.upstream.connection import Connection, Limits
from gateway.upstream.pool import Pool
from tests.integration.upstream.certificates import Authority
from tests.integration.upstream.exchanges import LIMITS, Recorder, begin, connected, exchange, head_for
from tests.integration.upstream.raw import OK, Peer, answering, serving

PIECE = b"x" * 65536
TOTAL = 64 * 1024 * 1024


class Flood:
    """Sends TOTAL bytes as fast as they are taken; `sent` is how many were."""

    def __init__(self) -> None:
        self.sent = 0

    async def __call__(self, peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % TOTAL)
        while self.sent < TOTAL:
            await peer.send(PIECE)
            self.sent += len(PIECE)
        await peer.gone()


class Counter(Recorder):
    """Counts the body's bytes without keeping them."""

    def __init__(self) -> None:
        super().__init__()
        self.size = 0

    def on_body(self, data: bytes) -> None:
        self.size += len(data)
        self.changed.set()


async def still(flood: Flood) -> int:
    """Wait until no more is taken, and return how much was."""
    async with asyncio.timeout(10):
        before = -1
        while before != flood.sent:
            before = flood.sent
            await asyncio.sleep(0.2)
    return before


@pytest.mark.parametrize("tls", [False, True])
async def test_a_paused_receiver_stops_the_upstream_and_memory_stays_flat(
    pool: Pool, tmp_path: Path, *, tls: bool
) -> None:
    authority = Authority(tmp_path)
    flood = Flood()
    context = authority.server("127.0.0.1") if tls else None
    async with serving(flood, context=context, ca_file=authority.ca_file if tls else None) as server:
        connection = await connected(pool, server.origin)
        counter = Counter()
        deadline = asyncio.get_running_loop().time() + 60
        connection.send(head_for(server.origin, 2), b"{}", counter, LIMITS, deadline)
        while not counter.size:
            await counter.changed.wait()
            counter.changed.clear()
        connection.pause_reading()
        seen = counter.size
        sent = await still(flood)
        assert sent < TOTAL // 2  # the rest waits at the sender: what is between fits in socket buffers
        assert counter.size - seen <= 1 << 20  # at most what had been read and decrypted already
        connection.resume_reading()
        await counter.finished()
        assert (counter.code, counter.size) == ("ok", TOTAL)


class Upload:
    """Reads an upload as slowly as it is told and answers when it has all of it."""

    def __init__(self, *, hold: bool = False) -> None:
        self.go = asyncio.Event()
        self.size = 0
        if not hold:
            self.go.set()

    async def __call__(self, peer: Peer) -> None:
        while True:
            head = await peer.reader.readuntil(b"\r\n\r\n")
            length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
            await self.go.wait()
            while length:
                data = await peer.reader.read(min(length, 65536))
                length -= len(data)
                self.size += len(data)
                if not data:
                    return
            await peer.send(OK)


async def upload(connection: Connection, total: int, recorder: Recorder, limits: Limits = LIMITS) -> int:
    """Stream `total` bytes and return how many were written before the exchange ended."""
    head = head_for(connection.origin, total)
    connection.send_head(head, recorder, limits, asyncio.get_running_loop().time() + limits.total_s)
    written = 0
    async with asyncio.timeout(20):
        while written < total and not recorder.over:
            connection.write(PIECE)
            written += len(PIECE)
            await connection.drain()
    connection.finish()
    return written


@pytest.mark.parametrize("tls", [False, True])
async def test_an_upload_is_streamed_and_its_connection_kept(pool: Pool, tmp_path: Path, *, tls: bool) -> None:
    authority = Authority(tmp_path)
    context = authority.server("127.0.0.1") if tls else None
    server_upload = Upload()
    async with serving(server_upload, context=context, ca_file=authority.ca_file if tls else None) as server:
        for count in (1, 2):
            recorder = Recorder()
            await upload(await connected(pool, server.origin), 16 * len(PIECE), recorder)
            assert (await recorder.finished()).body == b"ok"
            assert server_upload.size == count * 16 * len(PIECE)
        assert pool.created == 1


@pytest.mark.parametrize("tls", [False, True])
async def test_an_upload_waits_for_an_upstream_that_does_not_read(pool: Pool, tmp_path: Path, *, tls: bool) -> None:
    authority = Authority(tmp_path)
    context = authority.server("127.0.0.1") if tls else None
    server_upload = Upload(hold=True)
    async with serving(server_upload, context=context, ca_file=authority.ca_file if tls else None) as server:
        connection = await connected(pool, server.origin)
        recorder = Recorder()
        task = asyncio.create_task(upload(connection, TOTAL, recorder))
        await asyncio.sleep(0.3)
        assert not task.done()
        assert connection.transport.get_write_buffer_size() < 1 << 20
        server_upload.go.set()
        assert await task == TOTAL
        assert (await recorder.finished()).code == "ok"
        assert server_upload.size == TOTAL


async def test_an_upload_that_the_upstream_never_takes_meets_the_idle_limit(pool: Pool) -> None:
    async with serving(Upload(hold=True)) as server:
        recorder = Recorder()
        limits = replace(LIMITS, idle_s=0.3)
        written = await upload(await connected(pool, server.origin), TOTAL, recorder, limits)
        assert written < TOTAL
        assert recorder.code == "upstream_idle_timeout"


async def test_a_client_that_uploads_slowly_is_not_held_against_the_upstream(pool: Pool) -> None:
    async with serving(Upload()) as server:
        connection = await connected(pool, server.origin)
        recorder = Recorder()
        limits = replace(LIMITS, idle_s=0.2, first_byte_s=0.2)
        head = head_for(server.origin, 10)
        connection.send_head(head, recorder, limits, asyncio.get_running_loop().time() + 9)
        for _ in range(2):
            await asyncio.sleep(0.5)
            connection.write(b"12345")
            await connection.drain()
        connection.finish()
        assert (await recorder.finished()).code == "ok"


async def test_an_upstream_that_refuses_half_an_upload_is_heard_and_its_connection_closed(pool: Pool) -> None:
    async def handler(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.send(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno")
        await peer.gone()

    async with serving(handler) as server:
        connection = await connected(pool, server.origin)
        recorder = Recorder()
        connection.send_head(head_for(server.origin, 10), recorder, LIMITS, asyncio.get_running_loop().time() + 9)
        connection.write(b"12345")
        await recorder.finished()
        assert (recorder.code, recorder.status, recorder.body) == ("ok", 413, b"no")
        assert pool.open == 0
        connection.write(b"67890")  # too late, and harmless
        await connection.drain()
        connection.finish()


async def test_an_upstream_that_dies_in_mid_upload_ends_the_wait_of_the_uploader(pool: Pool) -> None:
    async def handler(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.1)
        peer.reset()

    async with serving(handler) as server:
        recorder = Recorder()
        async with asyncio.timeout(5):
            written = await upload(await connected(pool, server.origin), TOTAL, recorder)
        assert written < TOTAL
        assert recorder.code == "upstream_reset_after_write"


async def test_an_abort_ends_the_wait_of_the_uploader(pool: Pool) -> None:
    async with serving(Upload(hold=True)) as server:
        connection = await connected(pool, server.origin)
        connection.send_head(head_for(server.origin, TOTAL), Recorder(), LIMITS, asyncio.get_running_loop().time() + 9)
        for _ in range(200):
            connection.write(PIECE)
        waiting = asyncio.create_task(connection.drain())
        await asyncio.sleep(0.02)
        assert not waiting.done()
        connection.abort()
        async with asyncio.timeout(2):
            await waiting


async def test_a_large_body_is_sent_whole(pool: Pool) -> None:
    async with serving(answering(OK)) as server:
        for size in (65536, 65537, 5_000_000):
            assert (await exchange(pool, server.origin, b"y" * size)).code == "ok"
        assert pool.created == 1


async def test_a_body_over_its_limit_ends_the_exchange_early(pool: Pool) -> None:
    flood = Flood()
    async with serving(flood) as server:
        _, recorder = await begin(pool, server.origin, limits=replace(LIMITS, max_body_bytes=1 << 20))
        assert (await recorder.finished()).code == "upstream_answer_too_large"
        assert flood.sent < TOTAL
