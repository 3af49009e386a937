"""Answers through a real socket, cut and joined as networks do."""

from __future__ import annotations

import asyncio

import pytest

from gateway.upstream.pool import Pool
from tests.integration.upstream.exchanges import exchange
from tests.integration.upstream.raw import OK, Peer, answering, once, serving
from tests.unit.upstream.test_answer import ANSWERS, BAD


@pytest.mark.parametrize("name", ANSWERS)
async def test_an_answer_is_read_over_and_over_on_one_connection(pool: Pool, name: str) -> None:
    raw, status, headers, body = ANSWERS[name]
    async with serving(answering(raw)) as server:
        for _ in range(5):
            got = await exchange(pool, server.origin)
            assert (got.code, got.status, got.headers, got.body) == ("ok", status, headers, body)
        assert (pool.created, pool.reused, pool.idle) == (1, 4, 1)


@pytest.mark.parametrize("name", ["length", "chunked with extensions and trailers", "interim answers first"])
async def test_an_answer_in_two_packets_cut_at_any_byte_is_the_same(pool: Pool, name: str) -> None:
    raw, status, headers, body = ANSWERS[name]
    places = iter(range(1, len(raw)))

    async def handler(peer: Peer) -> None:
        while True:
            await peer.request()
            place = next(places)
            await peer.send(raw[:place], raw[place:])

    async with serving(handler) as server:
        for place in range(1, len(raw)):
            got = await exchange(pool, server.origin)
            assert (got.code, got.status, got.headers, got.body) == ("ok", status, headers, body), place


async def test_an_answer_sent_byte_by_byte_is_the_same(pool: Pool) -> None:
    raw, status, headers, body = ANSWERS["chunked with extensions and trailers"]
    async with serving(answering(*[raw[i : i + 1] for i in range(len(raw))])) as server:
        got = await exchange(pool, server.origin)
        assert (got.code, got.status, got.headers, got.body) == ("ok", status, headers, body)


async def test_each_read_is_pushed_on_at_once(pool: Pool) -> None:
    go = asyncio.Event()

    async def handler(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n")
        await go.wait()
        await peer.send(b"3\r\ntwo\r\n5\r\nthree\r\n0\r\n\r\n")

    async with serving(handler) as server:
        task = asyncio.create_task(exchange(pool, server.origin))
        await asyncio.sleep(0.05)
        assert not task.done()
        go.set()
        got = await task
        assert got.pieces == [b"one", b"twothree"]


async def test_an_answer_without_length_ends_with_its_connection(pool: Pool) -> None:
    async with serving(once(b"HTTP/1.1 200 OK\r\n\r\nhello ", b"world")) as server:
        got = await exchange(pool, server.origin)
        assert (got.code, got.body) == ("ok", b"hello world")
        assert pool.open == 0


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_answer_is_a_failure_and_ends_its_connection(pool: Pool, name: str) -> None:
    async with serving(answering(BAD[name])) as server:
        got = await exchange(pool, server.origin)
        assert got.code == "upstream_bad_answer"
        assert server.origin.name in str(got.error)
        assert pool.open == 0


async def test_a_head_over_the_limit_is_a_failure(pool: Pool) -> None:
    head = b"HTTP/1.1 200 OK\r\n" + b"".join(b"x-%d: y\r\n" % i for i in range(100_000)) + b"\r\n"
    async with serving(answering(head)) as server:
        got = await exchange(pool, server.origin)
        assert got.code == "upstream_answer_too_large"


async def test_a_megabyte_in_one_header_is_a_failure(pool: Pool) -> None:
    async with serving(answering(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 1_000_000 + b"\r\n\r\n" + OK)) as server:
        got = await exchange(pool, server.origin)
        assert got.code == "upstream_answer_too_large"
