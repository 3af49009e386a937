"""The counter store by every kind of address, with a real server and a real Sentinel."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import trustme
from redis.exceptions import ResponseError

from gateway.errors import GatewayError
from gateway.store.embedded import StoreAddresses
from gateway.store.embedded_valkey import valkey_program
from gateway.store.valkey import Valkey

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts valkey-server with the options given, and waits until the port takes connections."""
    processes: list[subprocess.Popen[bytes]] = []

    def run(port: int, *options: str) -> subprocess.Popen[bytes]:
        command = [str(valkey_program()), *options]
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL)
        processes.append(process)
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
            except OSError:
                assert time.monotonic() < deadline
                assert process.poll() is None
                time.sleep(0.02)
            else:
                return process

    yield run
    for process in processes:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()


async def _use(address: str) -> None:
    valkey = await Valkey.open(address)
    await valkey.ping()
    assert await valkey.client.incrby("counter", 5) == 5
    assert await valkey.call(lambda client: client.get("counter")) == b"5"
    await valkey.client.delete("counter")
    await valkey.close()


async def test_a_socket_is_reached_by_url_and_by_path(stores: StoreAddresses, valkey: Valkey) -> None:
    assert stores.valkey is not None
    await _use(stores.valkey)
    await _use(unquote(urlsplit(stores.valkey).path))


async def test_a_plain_url_with_password_and_database_works(port: int, start: Start) -> None:
    start(port, "--port", str(port), "--requirepass", "pa55word", "--save", "")
    await _use(f"redis://:pa55word@127.0.0.1:{port}/3")
    with pytest.raises(GatewayError) as caught:
        await Valkey.open(f"redis://:wrong-pa55word@127.0.0.1:{port}/3")
    assert caught.value.code == "store_unavailable"
    assert "pa55word" not in caught.value.message


async def test_tls_is_checked_against_the_authority_given(
    stores: StoreAddresses, valkey: Valkey, tmp_path: Path
) -> None:
    assert stores.valkey is not None
    plain = unquote(urlsplit(stores.valkey).path)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    # The wheel's server is built without TLS: a relay speaks it in front.
    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_unix_connection(plain)
        await asyncio.gather(copy(reader, inner_writer), copy(inner_reader, writer))

    server = await asyncio.start_server(relay, "localhost", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    await _use(f"rediss://localhost:{port}/0?ssl_ca_certs={tmp_path / 'ca.pem'}")
    with pytest.raises(GatewayError) as caught:
        await Valkey.open(f"rediss://localhost:{port}/0")
    assert caught.value.code == "store_unavailable"
    server.close()
    await server.wait_closed()


async def test_sentinel_leads_to_the_primary(port: int, start: Start, tmp_path: Path) -> None:
    start(port, "--port", str(port), "--save", "")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        sentinel_port = probe.getsockname()[1]
    configuration = tmp_path / "sentinel.conf"
    configuration.write_text(f"port {sentinel_port}\nsentinel monitor mymaster 127.0.0.1 {port} 1\n")
    start(sentinel_port, str(configuration), "--sentinel")
    # The first sentinel is away: the second knows.
    await _use(f"redis+sentinel://127.0.0.1:1,127.0.0.1:{sentinel_port}/mymaster/2")
    with pytest.raises(GatewayError) as caught:
        await Valkey.open(f"redis+sentinel://127.0.0.1:{sentinel_port}/no-such-service")
    assert caught.value.code == "store_unavailable"


async def test_a_restart_is_survived_and_an_outage_is_told(port: int, start: Start) -> None:
    told: list[int] = []
    options = ("--port", str(port), "--save", "")
    process = start(port, *options)
    valkey = await Valkey.open(f"redis://127.0.0.1:{port}", on_unavailable=lambda: told.append(1))
    process.kill()
    process.wait()
    with pytest.raises(GatewayError) as caught:
        await valkey.ping()
    assert caught.value.code == "store_unavailable"
    assert told == [1]
    process = start(port, *options)
    await valkey.ping()
    process.kill()
    process.wait()
    await asyncio.sleep(0.05)  # as any loop does, it sees that the connection has ended
    start(port, *options)
    await valkey.ping()
    assert told == [1]
    await valkey.close()


async def test_a_mute_server_is_unavailable_after_the_time_limit(port: int, start: Start) -> None:
    process = start(port, "--port", str(port), "--save", "")
    valkey = await Valkey.open(f"redis://127.0.0.1:{port}", timeout_s=0.2)
    process.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(GatewayError):
        await valkey.ping()
    assert time.monotonic() - began < 10
    process.send_signal(signal.SIGCONT)
    await valkey.ping()
    await valkey.close()


async def test_a_burst_waits_for_connections_and_answers_stay_with_their_questions(stores: StoreAddresses) -> None:
    assert stores.valkey is not None
    valkey = await Valkey.open(stores.valkey, max_connections=4, timeout_s=10)
    answers = await asyncio.gather(*(valkey.call(lambda client, n=n: client.echo(str(n))) for n in range(200)))
    assert answers == [str(n).encode() for n in range(200)]
    await valkey.close()


async def test_a_wrong_command_is_not_called_an_outage(valkey: Valkey) -> None:
    with pytest.raises(ResponseError):
        await valkey.call(lambda client: client.execute_command("NO-SUCH-COMMAND"))


@pytest.mark.parametrize(
    "address",
    [
        "http://localhost",
        "localhost:6379",
        "redis+sentinel://localhost",
        "redis+sentinel://localhost/service/three",
        "redis+sentinel://host:port/service",
    ],
)
async def test_an_address_that_makes_no_sense_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="address"):
        await Valkey.open(address)
