"""Several answers in one stream, each from a request of its own, with real clients at both lanes."""

from __future__ import annotations

import asyncio
import logging
import statistics
import time
import tracemalloc

import orjson
import pytest

from tests.integration.server.client import Client
from tests.integration.server.requests import HELLO, post
from tests.integration.server.serving import Serving
from tests.integration.server.upstream import ScriptedConnection

SINGLE = {**HELLO, "model": "single", "stream": True, "n": 3}
WAYS = ("plain", "chunked")


async def begin(serving: Serving, way: str) -> tuple[Client, list[ScriptedConnection]]:
    """A client whose three requests have reached the upstream, and have been answered with a head."""
    client = await serving.connect()
    known = len(serving.upstream.connections)
    await client.write(post(SINGLE, way=way))
    async with asyncio.timeout(10):
        while len(serving.upstream.connections) < known + 3:
            await asyncio.sleep(0)
    connections = serving.upstream.connections[known:]
    for connection in connections:
        connection.begin()
    return client, connections


@pytest.mark.parametrize("way", WAYS)
async def test_choices_come_as_they_are_made_and_end_together(either: Serving, way: str) -> None:
    client, connections = await begin(either, way)
    for index in (2, 0, 1):
        connections[index].event(f"from {index}")
        event = await client.reader.readuntil(b"\n\n\r\n")
        (choice,) = orjson.loads(event[event.index(b"{") :])["choices"]
        assert (choice["index"], choice["delta"]["content"]) == (index, f"from {index}")
    for connection in connections:
        connection.done()
    async with asyncio.timeout(10):
        assert (await client.reader.readuntil(b"0\r\n\r\n")).endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    assert not any(connection.aborted.is_set() for connection in connections)
    await client.write(post())
    assert (await client.read_answer()).status == 200


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("begun", [0, 1, 3])
async def test_a_client_that_goes_cancels_all_its_upstream_calls_within_100_ms(
    either: Serving, way: str, begun: int, caplog: pytest.LogCaptureFixture
) -> None:
    taken_s = []
    for _ in range(3):
        client, connections = await begin(either, way)
        for connection in connections[:begun]:
            connection.event("a")
        if begun:
            await client.reader.readuntil(b"\n\n")
        gone_at = time.perf_counter()
        client.abort()
        async with asyncio.timeout(10):
            for connection in connections:
                await connection.aborted.wait()
        taken_s.append(max(connection.aborted_at for connection in connections) - gone_at)
    assert statistics.median(taken_s) < 0.1
    await either.empty()
    async with asyncio.timeout(10):
        while either.gate.in_flight:
            await asyncio.sleep(0)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("way", WAYS)
async def test_a_stream_that_is_not_read_slows_all_its_upstreams_and_takes_no_memory(either: Serving, way: str) -> None:
    client, connections = await begin(either, way)
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    for connection in connections[:2]:
        connection.event("a")
    tracemalloc.start()
    text = "x" * 10_000
    for number in range(20_000):
        if connections[0].stopped:
            await asyncio.sleep(0.05)
            if connections[0].stopped:
                break
        connections[number % 2].event(text)
        if number % 16 == 0:
            await asyncio.sleep(0)
    assert [connection.stopped for connection in connections] == [True, True, False]
    connections[2].event("late")
    assert connections[2].stopped
    assert tracemalloc.get_traced_memory()[0] < 4_000_000
    tracemalloc.stop()
    client.writer.transport.resume_reading()  # type: ignore[attr-defined]
    async with asyncio.timeout(20):
        while any(connection.stopped for connection in connections):
            await client.reader.read(1 << 20)
    for connection in connections:
        connection.done()
    rest = b""
    async with asyncio.timeout(20):
        while not rest.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n"):
            rest = (rest + await client.reader.read(1 << 20))[-100:]


@pytest.mark.parametrize("way", WAYS)
async def test_one_that_breaks_ends_the_stream_in_an_error_event_and_the_connection_lives_on(
    serving: Serving, way: str
) -> None:
    client, connections = await begin(serving, way)
    for connection in connections:
        connection.event("a")
    broken = connections[1].receiver
    assert broken is not None
    broken.on_end()
    answer = await client.read_answer()
    assert answer.status == 200
    assert b"data: [DONE]" not in answer.body
    *_, last = answer.body.removesuffix(b"\n\n").split(b"\n\n")
    error = orjson.loads(last.removeprefix(b"data: "))["error"]
    assert (error["code"], error["request_id"]) == ("upstream_truncated", answer.headers["x-request-id"])
    assert answer.headers["x-gateway-attempts"] == "3"
    assert [connection.aborted.is_set() for connection in connections] == [True, False, True]
    await client.write(post())
    assert (await client.read_answer()).status == 200
