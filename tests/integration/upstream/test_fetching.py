"""Remote images and files over real sockets: what is taken, and all that is not."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.upstream.addresses import AddressRule
from gateway.upstream.fetching import Fetcher, FetchLimits
from gateway.upstream.media_types import FILES
from gateway.upstream.pool import Pool
from tests.integration.upstream.certificates import Authority
from tests.integration.upstream.raw import Handler, Peer, answering, once, serving
from tests.integration.upstream.test_proxies import ForwardProxy

PNG = b"\x89PNG\r\n\x1a\n" + b"pixels" * 40
INSIDE = AddressRule.of(["127.0.0.1"])
LIMITS = FetchLimits(max_bytes=4000, total_s=5.0)


def answer(body: bytes, media_type: str = "image/png", status: str = "200 OK", extra: str = "") -> bytes:
    lines = f"HTTP/1.1 {status}\r\ncontent-type: {media_type}\r\n{extra}content-length: {len(body)}\r\n\r\n"
    return lines.encode() + body


async def refused(fetcher: Fetcher, url: str) -> GatewayError:
    with pytest.raises(GatewayError) as raised:
        await fetcher.fetch(url)
    assert raised.value.status == 400
    return raised.value


@pytest.fixture
def fetcher(pool: Pool) -> Fetcher:
    return Fetcher(pool, INSIDE, LIMITS)


async def test_an_image_is_fetched_with_nothing_of_the_gateways_own(pool: Pool, fetcher: Fetcher) -> None:
    heads: list[bytes] = []

    async def handler(peer: Peer) -> None:
        heads.append(await peer.reader.readuntil(b"\r\n\r\n"))
        await peer.send(answer(PNG))

    async with serving(handler) as server:
        url = f"http://{server.origin.name}/cat ü.png?sig=s3cret%2F&x=[1]#part"
        assert await fetcher.fetch(url) == ("image/png", PNG)
        assert await fetcher.fetch(url) == ("image/png", PNG)
        assert len(server.peers) == 2  # a connection of its own each
    lines = heads[0].split(b"\r\n")
    assert lines[0] == b"GET /cat%20%C3%BC.png?sig=s3cret%2F&x=[1] HTTP/1.1"
    names = {line.partition(b":")[0] for line in lines[1:] if line}
    assert names == {b"host", b"user-agent", b"accept", b"accept-encoding", b"connection"}
    assert pool.idle == 0


async def test_a_file_in_chunks_is_fetched_where_files_are_wanted(fetcher: Fetcher) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    async with serving(once(head, b"5\r\n%PDF-\r\n", b"3\r\n1.7\r\n", b"0\r\n\r\n")) as server:
        assert await fetcher.fetch(f"http://{server.origin.name}/a", FILES) == ("application/pdf", b"%PDF-1.7")


async def test_an_image_called_by_another_images_name_is_what_it_is(fetcher: Fetcher) -> None:
    async with serving(once(answer(PNG, "image/jpg"))) as server:
        assert (await fetcher.fetch(f"http://{server.origin.name}/a"))[0] == "image/png"


@pytest.mark.parametrize(
    ("handler", "words"),
    [
        (once(answer(b"", status="302 Found", extra="location: http://169.254.169.254/\r\n")), "redirects"),
        (once(answer(b"gone", status="404 Not Found")), "status 404"),
        (once(answer(b"", status="204 No Content")), "status 204"),
        (once(answer(PNG, "text/html")), "none of image/gif"),
        (once(answer(b"<html>", "image/png")), "none of image/gif"),
        (once(answer(b"%PDF-1.7", "application/octet-stream")), "none of image/gif"),
        (once(answer(PNG, extra="content-encoding: gzip\r\n")), "compressed"),
        (once(answer(PNG + b"x" * 5000)), "larger than 4000 bytes"),
        (once(b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\n\r\n", *[PNG] * 20), "larger than 4000 bytes"),
        (once(answer(PNG)[:-9]), "broke off"),
        (once(b"SSH-2.0\r\n"), "proper HTTP"),
        (once(), "cannot be reached"),
    ],
)
async def test_what_is_not_wanted_is_refused_by_its_url(
    pool: Pool, fetcher: Fetcher, handler: Handler, words: str
) -> None:
    async with serving(handler) as server:
        error = await refused(fetcher, f"http://{server.origin.name}/cat.png?sig=s3cret")
        assert error.code == "invalid_field"
        assert f"http://{server.origin.name}/cat.png?… cannot be fetched: " in error.message
        assert words in error.message
        assert "s3cret" not in error.message
    assert pool.idle == 0


async def test_a_body_that_drips_ends_with_the_time_limit(pool: Pool) -> None:
    gone = asyncio.Event()

    async def drip(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\n\r\n" + PNG)
        try:
            while True:
                peer.writer.write(b"x")
                await peer.writer.drain()
                await asyncio.sleep(0.02)
        except ConnectionError:
            gone.set()

    async with serving(drip) as server:
        fetcher = Fetcher(pool, INSIDE, FetchLimits(max_bytes=1_000_000, total_s=0.3))
        assert "within 0.3 s" in (await refused(fetcher, f"http://{server.origin.name}/a")).message
        async with asyncio.timeout(5):
            await gone.wait()


async def test_a_caller_that_goes_leaves_no_connection(pool: Pool, fetcher: Fetcher) -> None:
    asked = asyncio.Event()

    async def silent(peer: Peer) -> None:
        await peer.request()
        asked.set()
        await peer.gone()

    async with serving(silent) as server:
        task = asyncio.get_running_loop().create_task(fetcher.fetch(f"http://{server.origin.name}/a"))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert pool.open == 0


async def test_only_so_many_are_fetched_at_once(pool: Pool) -> None:
    under_way = most = 0

    async def handler(peer: Peer) -> None:
        nonlocal under_way, most
        await peer.request()
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.02)
        under_way -= 1
        await peer.send(answer(PNG))

    async with serving(handler) as server:
        fetcher = Fetcher(pool, INSIDE, FetchLimits(at_once=2))
        url = f"http://{server.origin.name}/a"
        await asyncio.gather(*(fetcher.fetch(url) for _ in range(8)))
    assert most == 2


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://a.example/x", "only http and https"),
        ("file:///etc/passwd", "only http and https"),
        ("//a.example/x", "only http and https"),
        ("http://user:hunter2@127.0.0.1/", "user name"),
        ("http://hunter2@127.0.0.1/", "user name"),
        ("http://", "no host"),
        ("http://a:0/", "port"),
        ("http://a:99999/", ""),
        ("http://[::1", "cannot be read"),
        ("http://a\n.example/", "cannot be read"),
        ("http://a.example/\ud800", "cannot be read"),
        ("http://a.example/" + "x" * 9000, "too long"),
        ("http://" + "é" * 300 + ".example/", "not a valid name"),
    ],
)
async def test_what_is_no_url_to_fetch_is_refused(fetcher: Fetcher, url: str, words: str) -> None:
    error = await refused(fetcher, url)
    assert error.code == "invalid_field"
    assert words in error.message
    assert "hunter2" not in error.message
    assert len(error.message) < 600


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "169.254.169.254", "0.0.0.0"]
)
async def test_the_gateways_own_network_is_not_reached(pool: Pool, host: str) -> None:
    async with serving(answering(answer(PNG))) as server:
        error = await refused(Fetcher(pool, AddressRule(), LIMITS), f"http://{host}:{server.origin.port}/a?b=c")
        assert error.code == "address_not_allowed"
        assert error.message.endswith("/a?… cannot be fetched: its host does not lead to a public address.")
        assert not server.peers


@pytest.mark.parametrize("spelling", ["2130706433", "0x7f.1", "017700000001", "127.1"])
async def test_odd_spellings_of_loopback_are_resolved_before_they_are_judged(pool: Pool, spelling: str) -> None:
    async with serving(answering(answer(PNG))) as server:
        error = await refused(Fetcher(pool, AddressRule(), LIMITS), f"http://{spelling}:{server.origin.port}/a")
        assert error.code in ("address_not_allowed", "invalid_field")
        assert not server.peers


async def test_the_environments_proxy_is_used_only_where_it_is_asked_for(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests: list[bytes] = []

    async def relay(peer: Peer) -> None:
        requests.append(await peer.request())
        await peer.send(answer(PNG))

    async with serving(relay) as proxy:
        monkeypatch.setenv("http_proxy", f"http://{proxy.origin.name}")
        monkeypatch.setenv("no_proxy", "")
        rule = AddressRule.of(["192.0.2.1", "127.0.0.1"])
        url = "http://192.0.2.1/cat.png"
        assert await Fetcher(pool, rule, LIMITS, proxy="env").fetch(url) == ("image/png", PNG)
        assert requests[0].startswith(b"GET http://192.0.2.1/cat.png HTTP/1.1\r\n")
        # What the proxy would reach is judged first.
        error = await refused(Fetcher(pool, INSIDE, LIMITS, proxy="env"), url)
        assert error.code == "address_not_allowed"
        assert len(requests) == 1


async def test_an_https_image_through_a_proxys_tunnel(
    pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", authority.ca_file)
    tunnels = ForwardProxy()
    async with serving(tunnels) as proxy, serving(once(answer(PNG)), context=authority.server("127.0.0.1")) as server:
        fetcher = Fetcher(pool, INSIDE, LIMITS, proxy=f"http://{proxy.origin.name}")
        assert await fetcher.fetch(f"https://{server.origin.name}/a") == ("image/png", PNG)
        assert len(tunnels.heads) == 1


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=40), st.sampled_from(["", "http://", "https://[", "http://127.0.0.1:1/", "http://a@"]))
async def test_any_text_is_fetched_or_refused(pool: Pool, text: str, prefix: str) -> None:
    error = await refused(Fetcher(pool, AddressRule(), FetchLimits(total_s=0.5)), prefix + re.sub(r"\w", "", text))
    assert error.code in ("invalid_field", "address_not_allowed")
