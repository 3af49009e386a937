"""TLS: who is trusted and who is not, and that all else works as without."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.errors import GatewayError
from gateway.upstream.connection import Origin
from gateway.upstream.pool import Pool
from tests.integration.upstream.certificates import Authority
from tests.integration.upstream.exchanges import LIMITS, begin, connected, exchange
from tests.integration.upstream.raw import OK, Peer, answering, once, serving


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def refusal(pool: Pool, origin: Origin) -> str:
    """The message of the TLS failure that connecting must end in."""
    with pytest.raises(GatewayError) as raised:
        await connected(pool, origin)
    assert raised.value.code == "upstream_tls_failed"
    assert pool.open == 0
    assert origin.name in raised.value.message
    return raised.value.message


async def test_a_trusted_server_answers_and_its_connection_is_kept(pool: Pool, authority: Authority) -> None:
    negotiated = []

    async def handler(peer: Peer) -> None:
        negotiated.append(peer.writer.get_extra_info("ssl_object").selected_alpn_protocol())
        await answering(OK)(peer)

    context = authority.server("localhost", "127.0.0.1")
    for host in ("localhost", "127.0.0.1"):
        async with serving(handler, context=context, host=host, ca_file=authority.ca_file) as server:
            for _ in range(3):
                assert (await exchange(pool, server.origin)).body == b"ok"
            assert len(server.peers) == 1
    assert negotiated == ["http/1.1", "http/1.1"]


async def test_a_certificate_for_another_host_is_refused(pool: Pool, authority: Authority) -> None:
    context = authority.server("other.example")
    async with serving(answering(OK), context=context, host="localhost", ca_file=authority.ca_file) as server:
        assert "Hostname mismatch" in await refusal(pool, server.origin)


async def test_an_address_must_be_in_the_certificate_too(pool: Pool, authority: Authority) -> None:
    context = authority.server("localhost")
    async with serving(answering(OK), context=context, ca_file=authority.ca_file) as server:
        assert "IP address mismatch" in await refusal(pool, server.origin)


async def test_an_expired_certificate_is_refused(pool: Pool, authority: Authority) -> None:
    context = authority.server("127.0.0.1", expired=True)
    async with serving(answering(OK), context=context, ca_file=authority.ca_file) as server:
        assert "expired" in await refusal(pool, server.origin)


async def test_an_unknown_authority_is_refused(pool: Pool, authority: Authority) -> None:
    async with serving(answering(OK), context=authority.server("127.0.0.1")) as server:
        await refusal(pool, server.origin)


async def test_a_client_certificate_is_shown_where_it_is_wanted(pool: Pool, authority: Authority) -> None:
    context = authority.server("127.0.0.1", asks_for_certificate=True)
    files = {"ca_file": authority.ca_file, "cert_file": authority.client()}
    async with serving(answering(OK), context=context, **files) as server:
        assert (await exchange(pool, server.origin)).body == b"ok"
        # In TLS 1.3 the server refuses after the client's handshake is done: as a lost connection.
        without = replace(server.origin, cert_file=None)
        try:
            outcome = (await exchange(pool, without)).code
        except GatewayError as error:
            outcome = error.code
        assert outcome in {"upstream_tls_failed", "upstream_reset_before_write", "upstream_reset_after_write"}


async def test_a_file_that_cannot_be_loaded_is_a_tls_failure(pool: Pool, tmp_path: Path) -> None:
    bad = tmp_path / "bad.pem"
    bad.write_text("no certificate")
    async with serving(answering(OK)) as server:
        for ca_file in (str(bad), str(tmp_path / "missing.pem")):
            await refusal(pool, Origin.parse(f"https://127.0.0.1:{server.origin.port}", ca_file=ca_file))


async def test_a_server_without_tls_is_a_tls_failure(pool: Pool) -> None:
    async def handler(peer: Peer) -> None:
        await peer.reader.read(1)
        await peer.send(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n")

    async with serving(handler) as server:
        await refusal(pool, Origin.parse(f"https://127.0.0.1:{server.origin.port}"))


async def test_a_handshake_that_stalls_is_a_connect_timeout(pool: Pool) -> None:
    async def handler(peer: Peer) -> None:
        await peer.gone()

    async with serving(handler) as server:
        with pytest.raises(GatewayError) as raised:
            await connected(
                pool, Origin.parse(f"https://127.0.0.1:{server.origin.port}"), replace(LIMITS, connect_s=0.2)
            )
        assert raised.value.code == "upstream_connect_timeout"
        assert pool.open == 0


async def test_a_renewed_ca_file_is_read_again(pool: Pool, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    old, new = Authority(tmp_path / "old"), Authority(tmp_path / "new")
    used = str(tmp_path / "used.pem")
    shutil.copy(old.ca_file, used)
    async with serving(answering(OK), context=new.server("127.0.0.1"), ca_file=used) as server:
        await refusal(pool, server.origin)
        await asyncio.sleep(0.01)
        shutil.copy(new.ca_file, used)
        assert (await exchange(pool, server.origin)).body == b"ok"


async def test_an_answer_without_length_ends_properly_only_with_close_notify(pool: Pool, authority: Authority) -> None:
    cut = asyncio.Event()

    async def handler(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nhello")
        if peer.number == 2:
            await cut.wait()
            peer.reset()

    context = authority.server("127.0.0.1")
    async with serving(handler, context=context, ca_file=authority.ca_file) as server:
        assert (await exchange(pool, server.origin)).code == "ok"
        _, recorder = await begin(pool, server.origin)
        await recorder.received(5)
        cut.set()
        assert (await recorder.finished()).code == "upstream_truncated"


async def test_surplus_and_early_close_are_noticed_over_tls_too(pool: Pool, authority: Authority) -> None:
    context = authority.server("127.0.0.1")
    async with serving(answering(OK + OK), context=context, ca_file=authority.ca_file) as server:
        assert (await exchange(pool, server.origin)).body == b"ok"
        assert pool.open == 0
    async with serving(once(OK[:-1]), context=context, ca_file=authority.ca_file) as server:
        assert (await exchange(pool, server.origin)).code == "upstream_truncated"
    async with serving(once(), context=context, ca_file=authority.ca_file) as server:
        assert (await exchange(pool, server.origin)).code == "upstream_reset_after_write"


async def test_a_large_answer_and_a_large_request_pass_over_tls(pool: Pool, authority: Authority) -> None:
    big = bytes(range(256)) * 8192

    async def handler(peer: Peer) -> None:
        while True:
            body = (await peer.request()).partition(b"\r\n\r\n")[2]
            await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)

    async with serving(handler, context=authority.server("127.0.0.1"), ca_file=authority.ca_file) as server:
        for _ in range(2):
            got = await exchange(pool, server.origin, big)
            assert (got.code, got.body == big) == ("ok", True)
        assert pool.created == 1


async def test_cancelling_a_connect_during_the_handshake_leaves_no_socket_behind(authority: Authority) -> None:
    pool = Pool(max_connections_per_origin=5, max_idle_per_origin=5, idle_timeout_s=30)
    context = authority.server("127.0.0.1")
    async with serving(answering(OK), context=context, ca_file=authority.ca_file) as server:
        (await connected(pool, server.origin)).abort()
        for steps in range(0, 60, 2):
            task = asyncio.create_task(connected(pool, server.origin))
            for _ in range(steps):
                await asyncio.sleep(0.0002)
            task.cancel()
            try:
                (await task).abort()
            except asyncio.CancelledError:
                pass
        assert (pool.open, pool.waiting) == (0, 0)
        await pool.close()
