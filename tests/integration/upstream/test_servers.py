"""Against servers that people run: nginx and aiohttp."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiohttp import web

from gateway.upstream.connection import Origin, render_head
from gateway.upstream.pool import Pool
from tests.integration.upstream.certificates import Authority
from tests.integration.upstream.exchanges import LIMITS, Recorder, connected, exchange
from tests.integration.upstream.nginx import NGINX, nginx

needs_nginx = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")


async def get(pool: Pool, origin: Origin, path: bytes, *headers: tuple[bytes, bytes]) -> Recorder:
    connection = await connected(pool, origin)
    recorder = Recorder()
    head = render_head(b"GET", path, [(b"host", origin.host_header), *headers])
    connection.send(head, b"", recorder, LIMITS, asyncio.get_running_loop().time() + 20)
    return await recorder.finished()


@needs_nginx
@pytest.mark.parametrize("tls", [False, True])
async def test_nginx_serves_many_requests_on_few_connections(pool: Pool, tmp_path: Path, *, tls: bool) -> None:
    authority = Authority(tmp_path)
    (tmp_path / "big").write_bytes(bytes(range(256)) * 20_000)
    rules = """
    default_type application/json;
    location = /v1/x { return 200 '{"id": "x"}'; }
    location = /none { return 204; }
    location = /moved { return 302 /elsewhere; }
    """
    certificate = authority.server_files("127.0.0.1") if tls else None
    async with nginx(tmp_path, rules, certificate=certificate) as port:
        scheme, ca_file = ("https", authority.ca_file) if tls else ("http", None)
        origin = Origin.parse(f"{scheme}://127.0.0.1:{port}", ca_file=ca_file)
        for _ in range(10):
            results = await asyncio.gather(*(exchange(pool, origin) for _ in range(20)))
            assert {(got.code, got.status, got.body) for got in results} == {("ok", 200, b'{"id": "x"}')}
        assert pool.created <= 20
        assert (await get(pool, origin, b"/big")).body == (tmp_path / "big").read_bytes()
        assert (await get(pool, origin, b"/none")).status == 204
        moved = await get(pool, origin, b"/moved")
        assert (moved.code, moved.status) == ("ok", 302)  # redirects are answers, not orders
        assert (await get(pool, origin, b"/missing")).status == 404
        assert pool.created <= 20


@needs_nginx
async def test_connections_that_nginx_ends_cost_no_request(pool: Pool, tmp_path: Path) -> None:
    rules = "keepalive_requests 3; keepalive_timeout 1s; location / { return 200 ok; }"
    async with nginx(tmp_path, rules) as port:
        origin = Origin.parse(f"http://127.0.0.1:{port}")
        for _ in range(10):
            assert (await exchange(pool, origin)).code == "ok"
        assert pool.created == 4  # nginx says connection: close on every third answer
        await asyncio.sleep(1.3)
        assert pool.open == 0  # its end was seen while idle
        assert (await exchange(pool, origin)).code == "ok"


@needs_nginx
async def test_nginx_refuses_an_upload_early_and_is_heard(pool: Pool, tmp_path: Path) -> None:
    async with nginx(tmp_path, "client_max_body_size 1k; location / { return 200 ok; }") as port:
        origin = Origin.parse(f"http://127.0.0.1:{port}")
        got = await exchange(pool, origin, b"x" * 5000)
        assert (got.code, got.status) == ("ok", 413)
        assert pool.open == 0


@needs_nginx
async def test_nginx_slowed_down_is_read_as_it_comes(pool: Pool, tmp_path: Path) -> None:
    (tmp_path / "drip").write_bytes(b"y" * 60_000)
    async with nginx(tmp_path, "limit_rate 60k;") as port:
        got = await get(pool, Origin.parse(f"http://127.0.0.1:{port}"), b"/drip")
        assert got.body == b"y" * 60_000
        assert len(got.pieces) > 1


async def test_aiohttp_streams_answers_100_continue_and_echoes_uploads(pool: Pool) -> None:
    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for number in range(5):
            await response.write(b"data: %d\n\n" % number)
            await asyncio.sleep(0.01)
        return response

    async def echo(request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    application = web.Application(client_max_size=1 << 26)
    application.router.add_get("/stream", stream)
    application.router.add_post("/v1/x", echo)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        origin = Origin.parse(f"http://127.0.0.1:{runner.addresses[0][1]}")
        for _ in range(2):
            got = await get(pool, origin, b"/stream")
            assert (got.code, got.body) == ("ok", b"".join(b"data: %d\n\n" % number for number in range(5)))
            assert len(got.pieces) >= 4
            assert (b"content-type", b"text/event-stream") in got.headers
        body = b"z" * 3_000_000
        assert (await exchange(pool, origin, body)).body == body
        connection = await connected(pool, origin)
        recorder = Recorder()
        lines = [(b"host", origin.host_header), (b"expect", b"100-continue"), (b"content-length", b"2")]
        head = render_head(b"POST", b"/v1/x", lines)
        connection.send(head, b"{}", recorder, LIMITS, asyncio.get_running_loop().time() + 20)
        await recorder.finished()
        assert (recorder.status, recorder.body) == (200, b"{}")
        assert pool.created == 1
    finally:
        await pool.close()
        await runner.cleanup()
