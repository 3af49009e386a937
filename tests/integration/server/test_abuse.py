"""Raw sockets that misbehave, on both lanes: each gets a clean refusal or an end, and nobody else notices."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

import pytest

from tests.integration.server.client import Client
from tests.integration.server.requests import CHAT, HELLO, get, post
from tests.integration.server.serving import SMALL, Serving

QUICK = replace(SMALL, head_timeout_s=0.5, body_timeout_s=0.5, idle_timeout_s=0.5, write_timeout_s=1.0)
SECRET = "sk-very-secret"
LANES = ("", "?slow")


@pytest.fixture(autouse=True)
def nothing_is_logged(caplog: pytest.LogCaptureFixture) -> object:
    """No traceback and no byte of a bad request ever reaches the log."""
    yield
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert not told
    assert SECRET not in caplog.text


def head(*lines: str, path: str = CHAT, line: str | None = None) -> bytes:
    first = line or f"POST {path} HTTP/1.1"
    return "\r\n".join([first, "host: gateway", f"authorization: Bearer {SECRET}", *lines, "", ""]).encode("latin-1")


async def refused(serving: Serving, data: bytes) -> tuple[int, str]:
    """Status and code of the refusal of `data`, after which the connection ends and the server still serves."""
    client = await serving.connect()
    await client.write(data)
    answer = await client.read_answer()
    assert answer.headers["connection"] == "close"
    assert SECRET not in answer.body.decode()
    assert await client.ends()
    await client.close()
    assert (await serving.send(post())).status == 200
    return answer.status, answer.code


@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["a: b"] * 41, (431, "headers_too_large")),
        (["x: " + "y" * 9000], (431, "headers_too_large")),
        (["content-length: 5", "content-length: 5"], (400, "invalid_http")),
        (["content-length: 5", "content-length: 6"], (400, "invalid_http")),
        (["content-length: 5, 5"], (400, "invalid_http")),
        (["content-length: 5", "transfer-encoding: chunked"], (400, "invalid_http")),
        (["transfer-encoding: chunked", "content-length: 5"], (400, "invalid_http")),
        (["content-length: +5"], (400, "invalid_http")),
        (["content-length: -5"], (400, "invalid_http")),
        (["content-length: 0x5"], (400, "invalid_http")),
        (["content-length: 5 5"], (400, "invalid_http")),
        (["content-length:"], (400, "invalid_http")),
        (["content-length: 99999999999999999999"], (400, "invalid_http")),
        (["transfer-encoding: gzip"], (400, "invalid_http")),
        (["transfer-encoding: gzip, chunked"], (400, "invalid_http")),
        (["transfer-encoding: chunked, identity"], (400, "invalid_http")),
        (["transfer-encoding: chunked", "transfer-encoding: chunked"], (400, "invalid_http")),
        (["transfer-encoding: \x0bchunked"], (400, "invalid_http")),
        (["transfer-encoding : chunked"], (400, "invalid_http")),
        (["host: other", "content-length: 2"], (400, "invalid_http")),
        (["x: a", " folded"], (400, "invalid_http")),
        (["x: a\0b"], (400, "invalid_http")),
        (["x\0: b"], (400, "invalid_http")),
        (["x y: b"], (400, "invalid_http")),
        ([": b"], (400, "invalid_http")),
        (["x: a\rb"], (400, "invalid_http")),
        (["x: a\nb: c"], (400, "invalid_http")),
        (["expect: nonsense", "content-length: 2"], (417, "expectation_failed")),
    ],
    ids=str,
)
async def test_a_bad_head_is_refused(serving: Serving, lines: list[str], expected: tuple[int, str], lane: str) -> None:
    assert await refused(serving, head(*lines, path=CHAT + lane)) == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x7f" * 200, (400, "invalid_http")),
        (b"\0\0\0\0", (400, "invalid_http")),
        (b"\xff\xfe\r\n\r\n", (400, "invalid_http")),
        (b"hello\r\n\r\n", (400, "invalid_http")),
        (b"GET /healthz HTTP/1.1\nhost: a\n\n", (400, "invalid_http")),
        (b"GET /healthz HTTP/1.1\nhost: a\r\n\r\n", (400, "invalid_http")),
        (b"GET /healthz\r\n\r\n", (400, "invalid_http")),
        (b"GET /healthz HTTP/2.0\r\nhost: a\r\n\r\n", (400, "invalid_http")),
        (b"GET /healthz HTTP/1.9\r\nhost: a\r\n\r\n", (400, "invalid_http")),
        (b"GET /healthz RTSP/1.0\r\nhost: a\r\n\r\n", (400, "invalid_http")),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, "invalid_http")),
        (b"post " + CHAT.encode() + b" HTTP/1.1\r\n\r\n", (400, "invalid_http")),
        (b"POST " + CHAT.encode() + b" HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", (400, "invalid_http")),
        (b"GET /" + b"a" * 2100 + b" HTTP/1.1\r\nhost: a\r\n\r\n", (414, "url_too_long")),
        (b"GET /" + b"a" * 100_000, (414, "url_too_long")),
        (
            b"POST /v1/chat/completions?" + b"a" * 2100 + b" HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}",
            (414, "url_too_long"),
        ),
        (b"GET / HTTP/1.1\r\nx: " + b"a" * 100_000, (431, "headers_too_large")),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 100_000, (431, "headers_too_large")),
        (b"GET /\xff HTTP/1.1\r\nhost: a\r\n\r\n", (400, "invalid_http")),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_what_is_no_request_is_refused(serving: Serving, data: bytes, expected: tuple[int, str]) -> None:
    assert await refused(serving, data) == expected


@pytest.mark.parametrize(
    "path",
    [
        "/%",
        "/%ff",
        "/%ed%a0%80",
        "/%00",
        "//",
        "/..",
        "/v1/models/%2e%2e",
        "/a?%ff=%00",
        "*",
        "http://x/y",
        "http://[",
        "/#a",
    ],
)
async def test_an_odd_path_is_just_unknown(serving: Serving, path: str) -> None:
    answer = await serving.send(get(path))
    assert answer.status in (400, 404)
    assert answer.code in ("unknown_path", "model_not_found", "invalid_http")


async def test_a_url_of_just_the_limit_is_served(serving: Serving) -> None:
    path = CHAT + "?" + "a" * (SMALL.max_url_bytes - len(CHAT) - 1)
    assert (await serving.send(post(path=path))).status == 200
    assert (await serving.send(post(path=path + "a"))).code == "url_too_long"


async def test_as_many_headers_as_allowed_are_served(serving: Serving) -> None:
    for way in ("plain", "query"):
        fits = tuple((f"x-{number}", "y") for number in range(SMALL.max_headers - 4))
        assert (await serving.send(post(headers=fits, way=way))).status == 200
        assert (await serving.send(post(headers=(*fits, ("x", "y")), way=way))).code == "headers_too_large"


@pytest.mark.parametrize(
    "body",
    [
        b"zz\r\n",
        b"-1\r\n",
        b"+2\r\n{}\r\n0\r\n\r\n",
        b"0x2\r\n{}\r\n0\r\n\r\n",
        b" 2\r\n{}\r\n0\r\n\r\n",
        b"2\n{}\n0\n\n",
        b"2\r\n{}\n0\r\n\r\n",
        b"2\r\n{}xx0\r\n\r\n",
        b"2\r\n{}\r\n\r\n",
        b"ffffffffffffffffffffff\r\n",
        b"2;" + b"x" * 3000 + b"\r\n{}\r\n0\r\n\r\n",
        b"2\r\n{}\r\n0\r\n" + b"x: y\r\n" * 5000 + b"\r\n",
        b"2\r\n{}\r\n0\r\ncontent-length: 9\r\n\r\n",
        b"2\r\n{}\r\n0\r\nno colon\r\n\r\n",
        b"2\r\n{}\r\n0\r\nx: \0\r\n\r\n",
        b"2;a=\r\r\n{}\r\n0\r\n\r\n",
        b"",
    ],
    ids=lambda value: str(value[:20]),
)
@pytest.mark.parametrize("together", [True, False])
async def test_bad_chunks_are_refused(serving: Serving, body: bytes, together: bool) -> None:
    client = await serving.connect()
    start = head("content-type: application/json", "transfer-encoding: chunked")
    if together:
        await client.write(start + (body or b"\r\n"))
    else:
        await client.write(start)
        await serving.send(get("/healthz"))
        await client.write(body or b"\r\n")
    answer = await client.read_answer()
    assert (answer.status, answer.code) == (400, "invalid_http")
    assert await client.ends()


async def test_chunk_extensions_and_trailers_are_passed_over(serving: Serving) -> None:
    raw = b'{"model":"demo","messages":[{"role":"user","content":"x"}]}'
    chunked = b"%x;a=b;c\r\n%b\r\n0;d\r\nx-trailer: 1\r\n\r\n" % (len(raw), raw)
    data = post(b"", way="chunked")
    client = await serving.connect()
    await client.write(data[: data.index(b"\r\n\r\n") + 4] + chunked + post())
    assert (await client.read_answer()).status == 200
    assert (await client.read_answer()).status == 200


@pytest.mark.parametrize("way", ["plain", "query"])
async def test_an_announced_body_over_the_limit_is_refused_unread(serving: Serving, way: str) -> None:
    data = post(b"", way=way).replace(b"content-length: 0", b"content-length: 999999999")
    assert await refused_early(serving, data) == "body_too_large"


@pytest.mark.parametrize("way", ["plain", "query", "chunked"])
async def test_a_body_over_the_limit_is_refused_and_the_answer_arrives(either: Serving, way: str) -> None:
    client = await either.connect()
    writing = asyncio.get_running_loop().create_task(client.write(post(b" " * 3_000_000, way=way)))
    answer = await client.read_answer()
    assert (answer.status, answer.code) == (413, "body_too_large")
    client.abort()
    await writing


async def refused_early(serving: Serving, data: bytes) -> str:
    client = await serving.connect()
    await client.write(data)
    answer = await client.read_answer()
    assert answer.headers["connection"] == "close"
    client.abort()
    return answer.code


async def test_slow_heads_and_bodies_are_ended_and_told_why(either: Serving) -> None:
    either.gate.limits = QUICK
    whole = post()
    cuts = {
        "head": whole[:20],
        "unfinished head": whole[: whole.index(b"\r\n\r\n") + 2],
        "body": whole[:-5],
        "no body": whole[: whole.index(b"\r\n\r\n") + 4],
        "slow lane's body": post(way="query")[:-5],
        "chunked": post(way="chunked")[:-9],
        "expect": post(way="expect")[: post(way="expect").index(b"\r\n\r\n") + 4],
    }
    clients = {name: await either.connect() for name in cuts}
    for name, client in clients.items():
        await client.write(cuts[name])
    for name, client in clients.items():
        answer = await client.read_answer()
        assert (answer.status, answer.code) == (408, "request_timeout"), name
        client.abort()
    await either.empty()


async def test_a_body_that_trickles_is_ended_in_the_end(serving: Serving) -> None:
    serving.gate.limits = replace(SMALL, body_timeout_s=0.3)
    for way in ("plain", "query"):
        client = await serving.connect()
        data = post(b" " * 1000, way=way)
        start = data.index(b"\r\n\r\n") + 4
        await client.write(data[:start])
        answering = asyncio.get_running_loop().create_task(client.read_answer())
        for _ in range(200):
            await client.write(b" ")
            await asyncio.sleep(0.05)
            if answering.done():
                break
        assert (await answering).code == "request_timeout"
        client.abort()


async def test_an_idle_connection_is_closed_without_a_word(either: Serving) -> None:
    either.gate.limits = QUICK
    fresh = await either.connect()
    used = await either.connect()
    await used.write(get("/healthz"))
    assert (await used.read_answer()).status == 200
    hot = await either.connect()
    await hot.write(post())
    assert (await hot.read_answer()).status == 200
    for client in (fresh, used, hot):
        assert await client.ends()
    await either.empty()


async def test_over_the_connection_cap_new_ones_are_refused_and_old_ones_served(serving: Serving) -> None:
    serving.gate.limits = replace(SMALL, max_connections=3)
    clients = [await serving.connect() for _ in range(3)]
    for client in clients:
        await client.write(post())
        assert (await client.read_answer()).status == 200
    refused_one = await serving.connect()
    answer = await refused_one.read_answer()
    assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "overloaded", "1")
    await clients[0].close()
    await refused_one.close()
    await until(lambda: len(serving.gate.connections) < 3)
    assert (await serving.send(post())).status == 200


async def test_a_flood_of_refused_connections_is_cut_short(serving: Serving) -> None:
    serving.gate.limits = replace(SMALL, max_connections=0)
    clients: list[Client] = []
    for _ in range(400):
        clients.append(await serving.connect())
    await asyncio.sleep(0.05)
    assert len(serving.gate.connections) <= 258
    for client in clients:
        client.abort()


async def until(true: object) -> None:
    async with asyncio.timeout(10):
        while not true():  # type: ignore[operator]
            await asyncio.sleep(0.01)


async def test_empty_lines_before_a_request_are_passed_over_but_do_not_keep_a_connection(serving: Serving) -> None:
    client = await serving.connect()
    await client.write(b"\r\n\r\n" + post() + b"\r\n" + post())
    assert (await client.read_answer()).status == 200
    assert (await client.read_answer()).status == 200
    serving.gate.limits = QUICK
    ending = asyncio.get_running_loop().create_task(client.ends())
    for _ in range(100):
        await client.write(b"\r\n")
        await asyncio.sleep(0.05)
        if ending.done():
            break
    assert await ending


async def test_a_client_that_never_reads_a_large_answer_is_cut_off(either: Serving) -> None:
    either.gate.limits = QUICK
    for way in ("plain", "query"):
        client = await either.connect()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        asking = asyncio.get_running_loop().create_task(either.upstream.next())
        await client.write(post({**HELLO, "model": "scripted"}, way=way))
        (await asking).answer(b'{"x":"' + b"y" * 20_000_000 + b'"}')
        await either.empty()
        client.abort()


async def test_a_client_that_reads_slowly_gets_all_of_its_answer(serving: Serving) -> None:
    """Slow is not stuck: the limit is on silence, also after `connection: close`."""
    serving.gate.limits = QUICK
    for way in ("plain", "query"):
        client = await serving.connect()
        asking = asyncio.get_running_loop().create_task(serving.upstream.next())
        await client.write(post({**HELLO, "model": "scripted"}, headers=(("connection", "close"),), way=way))
        size = 12_000_000
        (await asking).answer(b'{"x":"' + b"y" * size + b'"}')
        reader = client.reader
        await reader.readuntil(b"\r\n\r\n")
        got = 0
        while got < size + 8:
            data = await reader.read(1 << 20)
            assert data, got
            got += len(data)
            if got < size // 2:
                await asyncio.sleep(0.3)
        assert got == size + 8
        client.abort()


async def test_a_bug_in_a_handler_is_an_internal_error_without_its_details(
    serving: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await serving.send(get("/bug"))
    assert (answer.status, answer.code) == (500, "internal_error")
    assert "secret detail" not in answer.body.decode()
    assert "secret detail" in caplog.text
    caplog.clear()
