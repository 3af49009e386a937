"""Each time limit has its own name, and none fires that should not."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from gateway.upstream.connection import Connection
from gateway.upstream.pool import Pool
from tests.integration.upstream.exchanges import LIMITS, Recorder, begin, exchange, until
from tests.integration.upstream.raw import OK, Peer, answering, serving

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


async def silent(peer: Peer) -> None:
    await peer.request()
    await peer.gone()


async def stalling(peer: Peer) -> None:
    await peer.request()
    await peer.send(HEAD + b"5\r\nhello\r\n")
    await peer.gone()


async def dripping(peer: Peer) -> None:
    await peer.request()
    await peer.send(HEAD)
    for _ in range(8):
        await asyncio.sleep(0.1)
        await peer.send(b"1\r\nx\r\n")
    await peer.send(b"0\r\n\r\n")


async def test_an_upstream_that_never_answers_meets_the_limit_for_the_first_byte(pool: Pool) -> None:
    async with serving(silent) as server:
        got = await exchange(pool, server.origin, limits=replace(LIMITS, first_byte_s=0.2))
        assert got.code == "upstream_first_byte_timeout"
        assert pool.open == 0


async def test_a_head_that_drips_in_does_not_extend_the_limit_for_the_first_byte(pool: Pool) -> None:
    async def handler(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n")
        while True:
            await peer.send(b"x: y\r\n")
            await asyncio.sleep(0.02)

    async with serving(handler) as server:
        async with asyncio.timeout(4):
            got = await exchange(pool, server.origin, limits=replace(LIMITS, first_byte_s=0.2, total_s=10))
        assert got.code == "upstream_first_byte_timeout"


async def test_interim_answers_do_not_extend_the_limit_for_the_first_byte(pool: Pool) -> None:
    async def handler(peer: Peer) -> None:
        await peer.request()
        while True:
            await peer.send(b"HTTP/1.1 102 Processing\r\n\r\n")
            await asyncio.sleep(0.02)

    async with serving(handler) as server:
        async with asyncio.timeout(4):
            got = await exchange(pool, server.origin, limits=replace(LIMITS, first_byte_s=0.2, total_s=10))
        assert got.code == "upstream_first_byte_timeout"


async def test_silence_in_mid_answer_meets_the_idle_limit(pool: Pool) -> None:
    async with serving(stalling) as server:
        got = await exchange(pool, server.origin, limits=replace(LIMITS, idle_s=0.2))
        assert (got.code, got.body) == ("upstream_idle_timeout", b"hello")


async def test_a_slow_drip_meets_no_idle_limit(pool: Pool) -> None:
    async with serving(dripping) as server:
        got = await exchange(pool, server.origin, limits=replace(LIMITS, first_byte_s=0.6, idle_s=0.6))
        assert (got.code, got.body) == ("ok", b"x" * 8)


async def test_a_slow_drip_meets_the_limit_of_the_whole_call(pool: Pool) -> None:
    async with serving(dripping) as server:
        got = await exchange(pool, server.origin, limits=replace(LIMITS, total_s=0.3))
        assert got.code == "upstream_total_timeout"
        assert 0 < len(got.body) < 8


async def test_no_idle_limit_fires_while_the_receiver_has_paused(pool: Pool) -> None:
    async def handler(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD + b"5\r\nhello\r\n", b"5\r\nworld\r\n0\r\n\r\n")

    async with serving(handler) as server:
        connection, recorder = await begin(pool, server.origin, limits=replace(LIMITS, idle_s=0.15))
        await recorder.received(5)
        connection.pause_reading()
        await asyncio.sleep(0.6)
        assert not recorder.over
        connection.resume_reading()
        assert (await recorder.finished()).code == "ok"


async def test_the_limit_of_the_whole_call_fires_while_paused(pool: Pool) -> None:
    async with serving(stalling) as server:
        connection, recorder = await begin(pool, server.origin, limits=replace(LIMITS, total_s=0.3))
        await recorder.received(5)
        connection.pause_reading()
        assert (await recorder.finished()).code == "upstream_total_timeout"


async def test_after_a_pause_the_idle_limit_counts_again(pool: Pool) -> None:
    async with serving(stalling) as server:
        connection, recorder = await begin(pool, server.origin, limits=replace(LIMITS, idle_s=0.2))
        await recorder.received(5)
        connection.pause_reading()
        await asyncio.sleep(0.3)
        connection.resume_reading()
        assert (await recorder.finished()).code == "upstream_idle_timeout"


async def test_limits_are_kept_for_every_exchange_of_a_connection(pool: Pool) -> None:
    async def handler(peer: Peer) -> None:
        for _ in range(3):
            await peer.request()
            await peer.send(OK)
        await peer.request()
        await peer.gone()

    async with serving(handler) as server:
        limits = replace(LIMITS, first_byte_s=0.3)
        for _ in range(3):
            await asyncio.sleep(0.2)
            assert (await exchange(pool, server.origin, limits=limits)).code == "ok"
        assert (await exchange(pool, server.origin, limits=limits)).code == "upstream_first_byte_timeout"


async def test_idle_connections_are_closed_after_their_time_and_no_timer_stays() -> None:
    pool = Pool(max_connections_per_origin=5, max_idle_per_origin=5, idle_timeout_s=0.3)
    async with serving(answering(OK)) as server:
        assert (await exchange(pool, server.origin)).code == "ok"
        assert pool.idle == 1
        await until(lambda: not pool.open)
        assert pool.idle == 0
        assert not pool.sweeping
        assert (await exchange(pool, server.origin)).code == "ok"
        await pool.close()


async def test_a_receiver_may_pause_and_the_next_exchange_reads_on(pool: Pool) -> None:
    class Pausing(Recorder):
        connection: Connection

        def on_body(self, data: bytes) -> None:
            super().on_body(data)
            self.connection.pause_reading()  # the answer ends within the same read

    async with serving(answering(OK)) as server:
        connection, warm = await begin(pool, server.origin)
        await warm.finished()
        taken = pool.take(server.origin)
        assert taken is connection
        recorder = Pausing()
        recorder.connection = taken
        head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"
        taken.send(head, b"", recorder, LIMITS, asyncio.get_running_loop().time() + 9)
        assert (await recorder.finished()).code == "ok"
        assert (await exchange(pool, server.origin)).code == "ok"
        assert pool.created == 1
