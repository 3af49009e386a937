"""An upstream that goes away, at every stage, and one that cannot be reached."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace

import pytest

from gateway.errors import GatewayError, Sent
from gateway.upstream.connection import Origin
from gateway.upstream.pool import Pool
from tests.integration.upstream.exchanges import LIMITS, Recorder, begin, connected, exchange, head_for, until
from tests.integration.upstream.raw import Peer, once, serving


def deadline() -> float:
    return asyncio.get_running_loop().time() + 20


async def test_a_refused_connection_is_a_failure_to_connect(pool: Pool) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        origin = Origin.parse(f"http://127.0.0.1:{unused.getsockname()[1]}")
        with pytest.raises(GatewayError) as raised:
            await pool.connect(origin, LIMITS, deadline())
    assert raised.value.code == "upstream_connect_failed"
    assert raised.value.failure.sent is Sent.NO
    assert origin.name in raised.value.message
    assert pool.open == 0


async def test_a_name_that_cannot_be_resolved_is_a_failure_to_connect(pool: Pool) -> None:
    with pytest.raises(GatewayError) as raised:
        await pool.connect(Origin.parse(f"http://{'a' * 70}.example"), LIMITS, deadline())
    assert raised.value.code == "upstream_connect_failed"


async def test_a_host_that_does_not_answer_is_a_connect_timeout(pool: Pool) -> None:
    with socket.socket() as full:  # a listener whose queue is full drops further connection requests
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        queued = [socket.socket() for _ in range(3)]
        for one in queued:
            one.setblocking(False)
            one.connect_ex(address)
        origin = Origin.parse(f"http://127.0.0.1:{address[1]}")
        with pytest.raises(GatewayError) as raised:
            await pool.connect(origin, replace(LIMITS, connect_s=0.2), deadline())
        for one in queued:
            one.close()
    assert raised.value.code == "upstream_connect_timeout"


async def test_the_calls_deadline_bounds_connecting_too(pool: Pool) -> None:
    with pytest.raises(GatewayError) as raised:
        await pool.connect(Origin.parse("http://127.0.0.1:9"), LIMITS, asyncio.get_running_loop().time() - 1)
    assert raised.value.code == "upstream_connect_timeout"
    assert raised.value.failure.sent is Sent.NO


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"", "upstream_reset_after_write"),
        (b"HTTP", "upstream_reset_after_write"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n", "upstream_reset_after_write"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "upstream_reset_after_write"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", "upstream_truncated"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n1234", "upstream_truncated"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "upstream_truncated"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n123", "upstream_truncated"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n12345\r\n", "upstream_truncated"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n12345\r\n0\r\n", "upstream_truncated"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n12345\r\n0\r\nx: y\r\n", "upstream_truncated"),
    ],
)
async def test_an_early_close_is_named_by_how_far_the_answer_was(pool: Pool, answer: bytes, code: str) -> None:
    async with serving(once(answer)) as server:
        got = await exchange(pool, server.origin)
        assert got.code == code
        assert server.origin.name in str(got.error)
        assert pool.open == 0


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"", "upstream_reset_after_write"),
        (b"HTTP/1.1 200 OK\r\n\r\nhello", "upstream_truncated"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello", "upstream_truncated"),
    ],
)
async def test_a_reset_is_a_failure_also_where_a_close_would_be_the_end(pool: Pool, answer: bytes, code: str) -> None:
    seen = asyncio.Event()

    async def handler(peer: Peer) -> None:
        await peer.request()
        if answer:
            await peer.send(answer)
            await seen.wait()
        raw = peer.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        peer.reset()

    async with serving(handler) as server:
        _, recorder = await begin(pool, server.origin)
        if answer:
            await recorder.received(5)
        seen.set()
        assert (await recorder.finished()).code == code


async def test_a_connection_that_died_after_it_was_taken_fails_as_not_written(pool: Pool) -> None:
    async def handler(peer: Peer) -> None:
        await asyncio.sleep(0)  # closes at once

    async with serving(handler) as server:
        connection = await connected(pool, server.origin)
        await until(lambda: connection.closed)
        recorder = Recorder()
        connection.send(head_for(server.origin, 2), b"{}", recorder, LIMITS, deadline())
        assert not recorder.over  # never from within send
        await recorder.finished()
    assert recorder.code == "upstream_reset_before_write"
    assert recorder.error is not None
    assert recorder.error.failure.sent is Sent.NO
    assert pool.open == 0


async def test_an_answer_that_came_before_its_request_is_never_taken_for_one(pool: Pool) -> None:
    taken = asyncio.Event()

    async def handler(peer: Peer) -> None:
        await taken.wait()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison")
        await peer.gone()

    async with serving(handler) as server:
        connection = await connected(pool, server.origin)
        taken.set()
        await until(lambda: connection.closed)
        recorder = Recorder()
        connection.send(head_for(server.origin, 2), b"{}", recorder, LIMITS, deadline())
        await recorder.finished()
        assert recorder.code == "upstream_reset_before_write"
        assert recorder.pieces == []


async def test_a_server_that_speaks_first_is_no_upstream(pool: Pool) -> None:
    async def handler(peer: Peer) -> None:
        await peer.send(b"220 mail.example ESMTP\r\n")
        await peer.gone()

    async with serving(handler) as server:
        try:
            code = (await exchange(pool, server.origin)).code
        except GatewayError as error:
            code = error.code
        assert code in {"upstream_connect_failed", "upstream_reset_before_write", "upstream_bad_answer"}
        assert pool.open == 0


async def test_an_aborted_exchange_hears_nothing_more_and_closes_its_socket_at_once(pool: Pool) -> None:
    closed = asyncio.Event()

    async def handler(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n12345")
        await peer.gone()
        closed.set()

    async with serving(handler) as server:
        connection, recorder = await begin(pool, server.origin)
        await recorder.received(5)
        connection.abort()
        assert pool.open == 0
        async with asyncio.timeout(2):
            await closed.wait()
        assert not recorder.over
        connection.abort()  # harmless


async def test_closing_the_pool_fails_what_still_goes_on_and_refuses_more(pool: Pool) -> None:
    async def handler(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n12345")
        await peer.gone()

    async with serving(handler) as server:
        _, recorder = await begin(pool, server.origin)
        await recorder.received(5)
        await pool.close()
        assert recorder.code == "upstream_truncated"
        with pytest.raises(GatewayError) as raised:
            await pool.connect(server.origin, LIMITS, deadline())
        assert raised.value.code == "draining"
