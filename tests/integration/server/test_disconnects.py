"""Clients that go, wait, or do not read; and a gateway that is told to end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import statistics
import time
import tracemalloc

import pytest

from gateway.server.ports import PortTakenError, bind, probe
from tests.integration.server.client import Client
from tests.integration.server.requests import HELLO, get, post
from tests.integration.server.serving import Serving
from tests.integration.server.upstream import ScriptedConnection

SCRIPTED = {**HELLO, "model": "scripted"}
STREAM = {**SCRIPTED, "stream": True}
WAYS = ("plain", "chunked")


def heard_out(serving: Serving) -> Serving:
    """From now on its scripted provider is heard to the end when a client goes."""
    route = serving.routing.routes.find("scripted")
    assert route is not None
    route.targets[0].account.finishes = True
    return serving


async def begin(serving: Serving, body: object, way: str) -> tuple[Client, ScriptedConnection]:
    """A client whose request has reached the upstream."""
    client = await serving.connect()
    asking = asyncio.get_running_loop().create_task(serving.upstream.next())
    await asyncio.sleep(0)
    await client.write(post(body, way=way))
    return client, await asking


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("stage", ["before the answer", "in the stream", "half closed"])
async def test_a_client_that_goes_cancels_its_upstream_call_within_100_ms(
    either: Serving, way: str, stage: str, caplog: pytest.LogCaptureFixture
) -> None:
    taken_s = []
    for _ in range(5):
        client, connection = await begin(either, STREAM, way)
        if stage == "in the stream":
            connection.begin()
            connection.event("a")
            await client.reader.readuntil(b"\n\n")
        gone_at = time.perf_counter()
        if stage == "half closed" and either.tls is None:
            client.writer.write_eof()
        else:
            client.abort()
        async with asyncio.timeout(10):
            await connection.aborted.wait()
        taken_s.append(connection.aborted_at - gone_at)
    assert statistics.median(taken_s) < 0.1
    await either.empty()
    assert either.gate.in_flight == 0
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("way", WAYS)
async def test_an_answer_that_comes_as_the_client_goes_harms_nobody(serving: Serving, way: str) -> None:
    """The upstream's bytes may arrive between the client's end and the cancellation that follows it."""
    for body in (STREAM, SCRIPTED):
        client, connection = await begin(serving, body, way)
        client.abort()
        async with asyncio.timeout(10):
            while serving.gate.connections:
                await asyncio.sleep(0)
        connection.begin()
        if body is STREAM:
            connection.event("late")
            connection.done()
        async with asyncio.timeout(10):
            while serving.gate.in_flight:
                await asyncio.sleep(0)


async def test_clients_that_go_at_every_point_of_a_request_leave_nothing_behind(
    either: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    for way in ("plain", "chunked", "expect"):
        data = post({**HELLO, "stream": True}, way=way)
        for cut in range(0, len(data) + 1, 9):
            client = await either.connect()
            await client.write(data[:cut])
            if cut % 2:
                await asyncio.sleep(0)
            client.abort()
    await either.empty()
    assert either.gate.in_flight == 0
    assert (await either.send(post())).status == 200
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("way", WAYS)
async def test_a_stream_that_is_not_read_slows_the_upstream_and_takes_no_memory(either: Serving, way: str) -> None:
    client, connection = await begin(either, STREAM, way)
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    connection.begin()
    tracemalloc.start()
    text = "x" * 10_000
    for number in range(20_000):
        if connection.stopped:
            await asyncio.sleep(0.05)
            if connection.stopped:
                break
        connection.event(text)
        if number % 16 == 0:
            await asyncio.sleep(0)
    assert connection.stopped
    assert tracemalloc.get_traced_memory()[0] < 4_000_000
    tracemalloc.stop()
    client.writer.transport.resume_reading()  # type: ignore[attr-defined]
    async with asyncio.timeout(20):
        while connection.stopped:
            await client.reader.read(1 << 20)
    connection.done()
    rest = b""
    async with asyncio.timeout(20):
        while not rest.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n"):
            rest = (rest + await client.reader.read(1 << 20))[-100:]


@pytest.mark.parametrize("way", WAYS)
async def test_each_event_is_written_on_at_once(serving: Serving, way: str) -> None:
    client, connection = await begin(serving, STREAM, way)
    connection.begin()
    for text in ("one", "two", "three"):
        connection.event(text)
        async with asyncio.timeout(10):
            assert text.encode() in await client.reader.readuntil(b"\n\n\r\n")
    connection.done()


@pytest.mark.parametrize("way", WAYS)
async def test_a_stream_that_breaks_ends_in_an_error_event_and_the_connection_lives_on(
    serving: Serving, way: str
) -> None:
    client, connection = await begin(serving, STREAM, way)
    connection.begin()
    connection.event("a")
    assert connection.receiver is not None
    connection.receiver.on_end()
    answer = await client.read_answer()
    assert answer.status == 200
    assert b"data: [DONE]" not in answer.body
    assert b'"error"' in answer.body
    assert answer.headers["x-request-id"].encode() in answer.body
    await client.write(post())
    assert (await client.read_answer()).status == 200


async def test_draining_says_so_at_once_finishes_what_runs_and_then_refuses(either: Serving) -> None:
    streaming, connection = await begin(either, STREAM, "plain")
    slow_streaming, slow_connection = await begin(either, STREAM, "chunked")
    idle = await either.connect()
    await idle.write(post())
    assert (await idle.read_answer()).status == 200
    for each in (connection, slow_connection):
        each.begin()
        each.event("a")
    draining = asyncio.get_running_loop().create_task(either.ports.drain(2.0, 20.0))
    await asyncio.sleep(0)
    ready = await either.send(get("/readyz"))
    assert (ready.status, ready.code, ready.headers["connection"]) == (503, "draining", "close")
    late = await either.send(post())
    assert (late.status, late.headers["connection"]) == (200, "close")
    assert await idle.ends()
    with contextlib.suppress(OSError):
        refused = await either.connect()
        raise AssertionError(f"still accepted: {refused}")
    assert not draining.done()
    for each in (connection, slow_connection):
        each.event("b")
        each.done()
    for client in (streaming, slow_streaming):
        answer = await client.read_answer()
        assert answer.body.endswith(b"data: [DONE]\n\n")
        assert await client.ends()
    assert await draining
    assert not either.gate.connections


async def test_a_drain_that_takes_too_long_says_that_requests_were_cut(serving: Serving) -> None:
    for way in WAYS:
        client, _ = await begin(serving, SCRIPTED, way)
        del client
    assert not await serving.ports.drain(0.0, 0.2)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_provider_that_is_to_be_heard_out_is_and_the_drain_waits_for_it(
    either: Serving, way: str, streamed: bool
) -> None:
    client, connection = await begin(heard_out(either), {**SCRIPTED, "stream": streamed}, way)
    if streamed:
        connection.begin()
        connection.event("a")
        await client.reader.readuntil(b"\n\n")
    client.abort()
    await either.empty()
    assert either.gate.in_flight == 1
    draining = asyncio.get_running_loop().create_task(either.ports.drain(0.0, 20.0))
    await asyncio.sleep(0.2)
    assert not draining.done()
    if streamed:
        for _ in range(100):
            connection.event("x" * 10_000)
        assert not connection.stopped
        connection.done()
    else:
        connection.answer(b'{"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}')
    async with asyncio.timeout(10):
        assert await draining
    assert not connection.aborted.is_set()
    assert either.gate.in_flight == 0


@pytest.mark.parametrize("way", WAYS)
async def test_a_client_that_does_not_read_and_goes_slows_its_upstream_no_longer(serving: Serving, way: str) -> None:
    client, connection = await begin(heard_out(serving), STREAM, way)
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    connection.begin()
    async with asyncio.timeout(20):
        while not connection.stopped:
            connection.event("x" * 100_000)
            await asyncio.sleep(0)
    client.abort()
    async with asyncio.timeout(10):
        while connection.stopped or serving.gate.connections:
            await asyncio.sleep(0.01)
    connection.done()
    async with asyncio.timeout(10):
        while serving.gate.in_flight:
            await asyncio.sleep(0)
    assert not connection.aborted.is_set()


@pytest.mark.parametrize("way", WAYS)
async def test_what_goes_on_unheard_ends_with_the_gateway(serving: Serving, way: str) -> None:
    client, connection = await begin(heard_out(serving), SCRIPTED, way)
    client.abort()
    await serving.empty()
    assert not await serving.ports.drain(0.0, 0.2)
    serving.gate.close()
    async with asyncio.timeout(10):
        await connection.aborted.wait()
        while serving.gate.in_flight:
            await asyncio.sleep(0)


@pytest.mark.parametrize("way", WAYS)
async def test_a_client_that_waits_until_the_gateway_ends_is_not_waited_for(serving: Serving, way: str) -> None:
    client, connection = await begin(heard_out(serving), SCRIPTED, way)
    serving.gate.close()
    async with asyncio.timeout(10):
        await connection.aborted.wait()
        while serving.gate.in_flight:
            await asyncio.sleep(0)
    del client


async def test_ready_tells_of_the_stores(serving: Serving) -> None:
    assert (await serving.send(get("/readyz", key=None))).json == {"status": "ready"}


async def test_a_taken_port_is_told_from_a_free_one() -> None:
    port = probe("localhost", 0)
    held = bind("localhost", port, shared=False)
    for sock in held:
        sock.listen()
    with pytest.raises(PortTakenError, match=str(port)):
        probe("localhost", port)
    for sock in held:
        sock.close()
    with pytest.raises(PortTakenError):
        bind("no.such.host.invalid", 0, shared=False)


async def test_plain_text_on_a_tls_port_only_ends_that_connection(
    secure: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", secure.port)
    writer.write(post())
    async with asyncio.timeout(10):
        with contextlib.suppress(ConnectionError):
            await reader.read()
    writer.close()
    assert (await secure.send(post())).status == 200
    assert "Traceback" not in caplog.text
