"""A kept connection serves the next request only after a clean exchange; no answer reaches another's request."""

from __future__ import annotations

import asyncio
import random
import socket
import time
from dataclasses import replace

import pytest

from gateway.errors import GatewayError
from gateway.upstream.connection import Connection
from gateway.upstream.pool import Pool
from tests.integration.upstream.exchanges import LIMITS, Recorder, begin, connected, exchange, head_for, until
from tests.integration.upstream.raw import OK, Peer, answering, serving

POISON = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison"


async def echoing(peer: Peer) -> None:
    """Answer each request with its own body, in one of many shapes, some of which end the connection."""
    shape = random.Random(peer.number)
    while True:
        body = (await peer.request()).partition(b"\r\n\r\n")[2]
        await asyncio.sleep(shape.random() * 0.004)
        plain = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
        chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        kind = shape.randrange(8)
        if kind == 0:
            await peer.send(plain + POISON)
        elif kind == 1:
            await peer.send(chunked + b"\r\n" + POISON)
        elif kind == 2:
            await peer.send(b"HTTP/1.1 200 OK\r\n\r\n" + body)
            return
        elif kind == 3:
            await peer.send(plain, POISON)
        elif kind == 4:
            await peer.send(chunked[:-9], chunked[-9:])
        else:
            await peer.send(plain if kind == 5 else chunked)


async def test_no_answer_reaches_another_request_whatever_is_cancelled_or_poisoned(pool: Pool) -> None:
    choice = random.Random(7)
    outcomes: dict[str, int] = {}

    async def call(number: int) -> None:
        body = b"request %d" % number
        connection, recorder = await begin(pool, server.origin, body)
        if choice.random() < 0.3:
            await asyncio.sleep(choice.random() * 0.005)
            if not recorder.over:
                connection.abort()
                outcomes["aborted"] = outcomes.get("aborted", 0) + 1
                await asyncio.sleep(0.02)
                assert not recorder.over
                return
        await recorder.finished()
        outcomes[recorder.code] = outcomes.get(recorder.code, 0) + 1
        if recorder.code == "ok":
            assert recorder.body == body
        else:  # surplus that came after the connection was offered again ends it, and whoever has it then
            assert recorder.code in {"upstream_reset_before_write", "upstream_reset_after_write"}, recorder.error

    async with serving(echoing) as server:
        for start in range(0, 600, 30):
            await asyncio.gather(*(call(number) for number in range(start, start + 30)))
    assert outcomes["ok"] > 200
    assert outcomes["aborted"] > 20
    assert pool.reused > 50


@pytest.mark.parametrize("surplus", [POISON, b"x", b"\r\n", b"HTTP/1.1 200"])
async def test_surplus_bytes_in_the_same_read_end_the_connection_not_the_answer(pool: Pool, surplus: bytes) -> None:
    async with serving(answering(OK + surplus)) as server:
        for _ in range(3):
            got = await exchange(pool, server.origin)
            assert (got.code, got.body) == ("ok", b"ok")
            assert (pool.open, pool.idle) == (0, 0)
        assert len(server.peers) == 3


@pytest.mark.parametrize("surplus", [POISON, b"x", b"\r\n"])
async def test_bytes_on_an_idle_connection_end_it_at_once(pool: Pool, surplus: bytes) -> None:
    async with serving(answering(OK)) as server:
        await exchange(pool, server.origin)
        assert pool.idle == 1
        await server.peers[0].send(surplus)
        await until(lambda: not pool.idle)
        assert pool.open == 0
        assert (await exchange(pool, server.origin)).body == b"ok"


@pytest.mark.parametrize("late", [POISON, b""])
async def test_what_waits_unread_in_an_idle_socket_is_seen_before_it_is_used(pool: Pool, late: bytes) -> None:
    async with serving(answering(OK)) as server:
        await exchange(pool, server.origin)
        assert pool.idle == 1
        if late:
            server.peers[0].writer.write(late)
        else:
            server.peers[0].writer.close()
            await asyncio.sleep(0)
        time.sleep(0.02)  # the loop must not come round to read it
        assert pool.take(server.origin) is None
        assert (await exchange(pool, server.origin)).body == b"ok"


async def test_an_idle_connection_that_the_server_closes_is_dropped(pool: Pool) -> None:
    async with serving(answering(OK)) as server:
        await exchange(pool, server.origin)
        server.peers[0].writer.close()
        await until(lambda: not pool.open)
        assert pool.idle == 0
        assert (await exchange(pool, server.origin)).body == b"ok"


async def test_a_server_that_closes_just_as_we_send_is_a_reset_never_an_answer(pool: Pool) -> None:
    async def handler(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.reader.read(1)  # the next request's first byte: hang up on it
        peer.reset()

    async with serving(handler) as server:
        for _ in range(20):
            assert (await exchange(pool, server.origin)).code == "ok"
            assert (await exchange(pool, server.origin)).code == "upstream_reset_after_write"


@pytest.mark.parametrize("close", [b"connection: close", b"Connection: Close"])
async def test_an_answer_with_connection_close_is_the_last_on_its_connection(pool: Pool, close: bytes) -> None:
    async with serving(answering(b"HTTP/1.1 200 OK\r\n" + close + b"\r\ncontent-length: 2\r\n\r\nok")) as server:
        for count in (1, 2):
            assert (await exchange(pool, server.origin)).code == "ok"
            assert (pool.open, pool.idle, pool.created) == (0, 0, count)


async def test_the_connection_used_last_is_taken_first(pool: Pool) -> None:
    async with serving(answering(OK)) as server:
        connections = [await connected(pool, server.origin) for _ in range(3)]
        for connection in connections:
            warm = Recorder()
            connection.send(head_for(server.origin, 0), b"", warm, LIMITS, asyncio.get_running_loop().time() + 9)
            await warm.finished()
        last = pool.take(server.origin)
        assert last is connections[2]
        recorder = Recorder()
        last.send(head_for(server.origin, 2), b"{}", recorder, LIMITS, asyncio.get_running_loop().time() + 9)
        await recorder.finished()
        again = pool.take(server.origin)
        assert again is last
        again.abort()
        assert (pool.open, pool.idle) == (2, 2)


async def test_no_more_connections_are_kept_idle_than_allowed() -> None:
    pool = Pool(max_connections_per_origin=10, max_idle_per_origin=2, idle_timeout_s=30)
    async with serving(answering(OK)) as server:
        connections = [await connected(pool, server.origin) for _ in range(5)]
        for connection in connections:
            recorder = Recorder()
            connection.send(head_for(server.origin, 0), b"", recorder, LIMITS, asyncio.get_running_loop().time() + 9)
            await recorder.finished()
        assert (pool.open, pool.idle) == (2, 2)
        await pool.close()


async def test_callers_wait_for_a_slot_and_get_the_connection_that_comes_free() -> None:
    pool = Pool(max_connections_per_origin=2, max_idle_per_origin=2, idle_timeout_s=30)
    async with serving(answering(OK)) as server:
        results = await asyncio.gather(*(exchange(pool, server.origin) for _ in range(20)))
        assert [got.code for got in results] == ["ok"] * 20
        assert (pool.created, pool.open, pool.waiting) == (2, 2, 0)
        assert len(server.peers) == 2
        await pool.close()


async def test_a_slot_freed_by_an_abort_goes_to_a_waiter() -> None:
    pool = Pool(max_connections_per_origin=1, max_idle_per_origin=1, idle_timeout_s=30)
    async with serving(answering(OK)) as server:
        first = await connected(pool, server.origin)
        waiter = asyncio.create_task(exchange(pool, server.origin))
        await asyncio.sleep(0.02)
        assert pool.waiting == 1
        first.abort()
        assert (await waiter).code == "ok"
        assert (pool.waiting, pool.created) == (0, 2)
        await pool.close()


@pytest.mark.parametrize("served_by", ["abort", "release"])
async def test_what_a_waiter_got_as_it_was_cancelled_goes_to_the_next(served_by: str) -> None:
    pool = Pool(max_connections_per_origin=1, max_idle_per_origin=1, idle_timeout_s=30)
    async with serving(answering(OK)) as server:
        held = await connected(pool, server.origin)
        first = asyncio.create_task(connected(pool, server.origin))
        second = asyncio.create_task(connected(pool, server.origin))
        await asyncio.sleep(0.02)
        assert pool.waiting == 2
        if served_by == "abort":
            held.abort()
        else:
            pool.release(held)
        first.cancel()  # it has been served, and has not run since
        async with asyncio.timeout(5):
            got = await second
        assert (got is held) is (served_by == "release")
        assert first.cancelled()
        got.abort()
        assert (pool.open, pool.waiting) == (0, 0)
        await pool.close()


async def test_closing_the_pool_ends_the_wait_for_a_slot() -> None:
    pool = Pool(max_connections_per_origin=1, max_idle_per_origin=1, idle_timeout_s=30)
    async with serving(answering(OK)) as server:
        await connected(pool, server.origin)
        waiter = asyncio.create_task(connected(pool, server.origin))
        await asyncio.sleep(0.02)
        await pool.close()
        with pytest.raises(GatewayError) as raised:
            await waiter
        assert raised.value.code == "draining"
        assert (pool.open, pool.waiting) == (0, 0)


async def test_small_packets_are_not_delayed_and_dead_peers_are_probed(pool: Pool) -> None:
    async with serving(answering(OK)) as server:
        wire = (await connected(pool, server.origin)).transport.get_extra_info("socket")
        assert wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert wire.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


async def test_waiting_for_a_slot_ends_with_the_connect_limit() -> None:
    pool = Pool(max_connections_per_origin=1, max_idle_per_origin=1, idle_timeout_s=30)
    async with serving(answering(OK)) as server:
        held = await connected(pool, server.origin)
        with pytest.raises(GatewayError) as raised:
            await connected(pool, server.origin, replace(LIMITS, connect_s=0.1))
        assert raised.value.code == "upstream_connect_timeout"
        assert pool.waiting == 0
        held.abort()
        assert (await exchange(pool, server.origin)).code == "ok"
        await pool.close()


async def test_cancelled_waiters_lose_no_slot_and_no_connection() -> None:
    pool = Pool(max_connections_per_origin=2, max_idle_per_origin=2, idle_timeout_s=30)
    choice = random.Random(3)

    async def call(origin_index: int) -> None:
        connection: Connection = await connected(pool, server.origin)
        recorder = Recorder()
        connection.send(head_for(server.origin, 0), b"", recorder, LIMITS, asyncio.get_running_loop().time() + 9)
        try:
            await recorder.finished()
        except asyncio.CancelledError:
            if not recorder.over:
                connection.abort()
            raise
        assert recorder.code == "ok", origin_index

    async with serving(answering(OK)) as server:
        for _ in range(10):
            tasks = [asyncio.create_task(call(index)) for index in range(20)]
            for task in choice.sample(tasks, 12):
                await asyncio.sleep(choice.random() * 0.0004)
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        assert pool.waiting == 0
        assert pool.open <= 2
        assert (await asyncio.gather(*(exchange(pool, server.origin) for _ in range(5))))[4].code == "ok"
        await pool.close()
        assert pool.open == 0


async def test_cancelling_a_connect_at_any_moment_leaves_no_socket_behind() -> None:
    pool = Pool(max_connections_per_origin=5, max_idle_per_origin=5, idle_timeout_s=30)
    async with serving(answering(OK)) as server:
        for steps in range(40):
            task = asyncio.create_task(connected(pool, server.origin))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            try:
                (await task).abort()
            except asyncio.CancelledError:
                pass
        assert (pool.open, pool.waiting) == (0, 0)
        await pool.close()
