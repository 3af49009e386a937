"""Through a proxy: a tunnel for https origins, absolute-form requests for http ones."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.errors import GatewayError, Sent
from gateway.upstream.connection import Origin
from gateway.upstream.pool import Pool
from gateway.upstream.proxy import Proxy
from tests.integration.upstream.certificates import Authority
from tests.integration.upstream.exchanges import LIMITS, connected, exchange
from tests.integration.upstream.raw import OK, Peer, RawServer, answering, serving


class ForwardProxy:
    """A CONNECT proxy; `heads` has what it was sent. `answer` is its consent or refusal."""

    def __init__(self, answer: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n") -> None:
        self.answer = answer
        self.heads: list[bytes] = []

    async def __call__(self, peer: Peer) -> None:
        head = await peer.reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        await peer.send(self.answer)
        if not self.answer.startswith(b"HTTP/1.1 2") or not self.answer.endswith(b"\r\n\r\n"):
            return
        host, port = head.split(b" ")[1].rsplit(b":", 1)
        reader, writer = await asyncio.open_connection(host.decode(), int(port))
        try:
            await asyncio.gather(_pump(peer.reader, writer), _pump(reader, peer.writer))
        finally:
            writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


def through(origin: Origin, proxy: RawServer, authorization: bytes | None = None, scheme: str = "http") -> Origin:
    return replace(origin, proxy=Proxy(scheme, proxy.origin.host, proxy.origin.port, authorization))


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def test_an_https_origin_is_reached_through_a_tunnel_that_is_kept(pool: Pool, authority: Authority) -> None:
    tunnels = ForwardProxy()
    context = authority.server("127.0.0.1")
    async with (
        serving(tunnels) as proxy,
        serving(answering(OK), context=context, ca_file=authority.ca_file) as server,
    ):
        origin = through(server.origin, proxy, b"Basic dXNlcjpwYXNz")
        for _ in range(3):
            assert (await exchange(pool, origin)).body == b"ok"
        name = server.origin.name.encode()
        assert tunnels.heads == [
            b"CONNECT %b HTTP/1.1\r\nhost: %b\r\nproxy-authorization: Basic dXNlcjpwYXNz\r\n\r\n" % (name, name)
        ]
        await pool.close()


async def test_certificates_are_checked_inside_the_tunnel(pool: Pool, authority: Authority) -> None:
    context = authority.server("other.example")
    async with (
        serving(ForwardProxy()) as proxy,
        serving(answering(OK), context=context, ca_file=authority.ca_file) as server,
    ):
        with pytest.raises(GatewayError) as raised:
            await connected(pool, through(server.origin, proxy))
        assert raised.value.code == "upstream_tls_failed"


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic\r\n\r\n", "407"),
        (b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n", "403"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "502"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\n\r\nsurplus", "bytes of its own"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 20_000, "too long"),
        (b"HTTP/1.1 20", "closed"),
        (b"", "closed"),
    ],
)
async def test_a_proxy_that_opens_no_tunnel_is_a_proxy_failure(pool: Pool, answer: bytes, shown: str) -> None:
    async with serving(ForwardProxy(answer)) as proxy:
        origin = through(Origin.parse("https://llm.example"), proxy, b"Basic c2VjcmV0")
        with pytest.raises(GatewayError) as raised:
            await connected(pool, origin)
        assert raised.value.code == "upstream_proxy_failed"
        assert raised.value.failure.sent is Sent.NO
        assert shown in raised.value.message
        assert "c2VjcmV0" not in raised.value.message
        assert pool.open == 0


async def test_a_connection_that_the_proxy_refused_is_closed_by_us(pool: Pool) -> None:
    closed = asyncio.Event()

    async def handler(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.send(b"HTTP/1.1 403 Forbidden\r\n\r\n")
        await peer.gone()
        closed.set()

    async with serving(handler) as proxy:
        with pytest.raises(GatewayError) as raised:
            await connected(pool, through(Origin.parse("https://llm.example"), proxy))
        assert raised.value.code == "upstream_proxy_failed"
        async with asyncio.timeout(5):
            await closed.wait()


async def test_a_proxy_that_cannot_be_reached_is_a_proxy_failure(pool: Pool) -> None:
    async with serving(answering()) as closed:
        pass
    with pytest.raises(GatewayError) as raised:
        await connected(pool, through(Origin.parse("https://llm.example"), closed))
    assert raised.value.code == "upstream_proxy_failed"


async def test_a_proxy_that_never_answers_is_a_connect_timeout(pool: Pool) -> None:
    async def handler(peer: Peer) -> None:
        await peer.gone()

    async with serving(handler) as proxy:
        with pytest.raises(GatewayError) as raised:
            await connected(pool, through(Origin.parse("https://llm.example"), proxy), replace(LIMITS, connect_s=0.2))
        assert raised.value.code == "upstream_connect_timeout"


async def test_an_http_origin_is_asked_for_in_absolute_form(pool: Pool) -> None:
    requests = []

    async def handler(peer: Peer) -> None:
        while True:
            requests.append(await peer.request())
            await peer.send(OK)

    async with serving(handler) as proxy:
        origin = through(Origin.parse("http://llm.example:8000/v1"), proxy, b"Basic dXNlcjpwYXNz")
        for body in (b"{}", b"x" * 100_000):
            assert (await exchange(pool, origin, body, path=b"/v1/chat")).body == b"ok"
        assert pool.created == 1
    for request, length in zip(requests, (2, 100_000), strict=True):
        lines = request.split(b"\r\n")
        assert lines[0] == b"POST http://llm.example:8000/v1/chat HTTP/1.1"
        assert b"proxy-authorization: Basic dXNlcjpwYXNz" in lines
        assert b"host: llm.example:8000" in lines
        assert len(lines[-1]) == length


async def test_a_proxy_with_tls_of_its_own_is_reached_over_tls(
    pool: Pool, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", authority.ca_file)
    context = authority.server("127.0.0.1")
    tunnels = ForwardProxy()
    async with (
        serving(tunnels, context=context) as proxy,
        serving(answering(OK), context=context, ca_file=authority.ca_file) as server,
    ):
        origin = through(server.origin, proxy, scheme="https")
        for _ in range(2):
            assert (await exchange(pool, origin)).body == b"ok"
        assert len(tunnels.heads) == 1
        await pool.close()
