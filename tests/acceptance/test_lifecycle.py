"""Start, stop, crash and come back: the gateway as a process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.acceptance.gateway_process import MASTER_KEY, GatewayProcess, gateway, gone

MASTER = {"Authorization": f"Bearer {MASTER_KEY}"}
CHAT = {"model": "demo", "messages": [{"role": "user", "content": "Hello"}]}
SLOW = {"model": "slow", "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
CONFIG = """
server: {drain_grace_s: 0.3, drain_timeout_s: 20}
providers:
  demo: {type: demo}
  slow: {type: openai, base_url: "http://127.0.0.1:SLOW/v1", api_key: none}
models:
  - {name: demo, targets: [{provider: demo, model: demo}]}
  - {name: slow, targets: [{provider: slow, model: slow}]}
"""


class SlowUpstream:
    """Streams one event, waits for `go`, then streams the rest."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.port = 0
        self.gone = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(int(x.split(b":")[1]) for x in head.lower().split(b"\r\n") if x.startswith(b"content-length"))
            await reader.readexactly(length)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
            writer.write(b'data: {"model":"slow","choices":[{"delta":{"content":"one"}}]}\n\n')
            await writer.drain()
            closed = asyncio.ensure_future(reader.read(1))
            go = asyncio.ensure_future(self.go.wait())
            done, _ = await asyncio.wait((closed, go), return_when=asyncio.FIRST_COMPLETED)
            go.cancel()
            if closed in done:
                self.gone.set()
            else:
                closed.cancel()
                writer.write(
                    b'data: {"model":"slow","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n'
                )
                writer.write(b"data: [DONE]\n\n")
                await writer.drain()
        writer.close()


@pytest.fixture
async def slow() -> AsyncIterator[SlowUpstream]:
    upstream = SlowUpstream()
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0)
    upstream.port = server.sockets[0].getsockname()[1]
    yield upstream
    server.close()


@pytest.fixture
def config(tmp_path: Path, slow: SlowUpstream) -> Path:
    file = tmp_path / "gateway.yaml"
    file.write_text(CONFIG.replace("SLOW", str(slow.port)))
    return file


async def get(session: aiohttp.ClientSession, url: str) -> tuple[int, str]:
    async with session.get(url, headers=MASTER) as answer:
        return answer.status, await answer.text()


async def chat(session: aiohttp.ClientSession, url: str, key: str = MASTER_KEY) -> int:
    async with session.post(f"{url}/v1/chat/completions", json=CHAT, headers={"Authorization": f"Bearer {key}"}) as a:
        await a.read()
        return a.status


async def accepts_connections(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return False
    writer.close()
    return True


async def make_key(session: aiohttp.ClientSession, url: str) -> str:
    async with session.post(f"{url}/admin/keys", json={"name": "test"}, headers=MASTER) as answer:
        assert answer.status == 201
        key: str = (await answer.json())["key"]
        return key


async def spend_row_count(running: GatewayProcess) -> int:
    """Rows in usage_costs, read through the embedded server's socket."""
    import asyncpg

    connection = await asyncpg.connect(host=str(running.home / "run"), user="postgres", database="postgres")
    try:
        count: int = await connection.fetchval("SELECT count(*) FROM usage_costs")
        return count
    finally:
        await connection.close()


async def test_it_says_where_it_is_how_to_try_it_and_where_the_admin_key_lies(tmp_path: Path, config: Path) -> None:
    with gateway(tmp_path / "home", config, env={"GATEWAY_MASTER_KEY": "", "OPENAI_API_KEY": "sk-test-not-real"}) as g:
        key_file = g.home / "master.key"
        assert g.url in g.output
        assert "curl" in g.output
        assert str(key_file) in g.output
        key = key_file.read_text().strip()
        assert key not in g.output
        assert key_file.stat().st_mode & 0o777 == 0o600
        assert re.search(r"switched on by themselves: (\w+, )*openai", g.output)
        async with aiohttp.ClientSession() as session:
            assert await chat(session, g.url, key) == 200
        assert key not in g.log
        assert "sk-test-not-real" not in g.log + g.output
        assert g.stop() == 0


async def test_a_second_gateway_on_the_same_home_says_that_the_first_is_running(tmp_path: Path, config: Path) -> None:
    with gateway(tmp_path / "home", config) as first:
        second = GatewayProcess(first.home, config)
        assert second.process.wait(timeout=60) == 1
        assert f"process {first.process.pid}" in second.log
        assert "Traceback" not in second.log
        async with aiohttp.ClientSession() as session:
            assert await chat(session, first.url) == 200


async def test_a_taken_port_is_named_and_nothing_is_left_running(tmp_path: Path, config: Path) -> None:
    with gateway(tmp_path / "one", config, workers=2) as first:
        second = GatewayProcess(tmp_path / "two", config, port=first.port)
        assert second.process.wait(timeout=60) == 1
        assert f":{first.port}" in second.log
        assert "Traceback" not in second.log


@pytest.mark.parametrize("name", ["with spaces, and a comma", "long/" + "x" * 120])
async def test_home_directories_of_any_name_work(tmp_path: Path, config: Path, name: str) -> None:
    with gateway(tmp_path / name, config) as g:
        async with aiohttp.ClientSession() as session:
            assert await chat(session, g.url) == 200
        left = g.descendants()
        assert g.stop() == 0
        assert gone(left)


@pytest.mark.parametrize("workers", [1, 2])
async def test_after_a_kill_it_comes_back_with_all_data_and_nothing_is_orphaned(
    tmp_path: Path, config: Path, workers: int
) -> None:
    async with aiohttp.ClientSession() as session:
        running = GatewayProcess(tmp_path / "home", config, workers=workers).wait_ready()
        key = await make_key(session, running.url)
        for _ in range(20):
            assert await chat(session, running.url, key) == 200
        left = running.descendants()
        assert len(left) >= 2
        running.kill()
        assert gone(left)
        with gateway(running.home, config, workers=workers) as again:
            assert await chat(session, again.url, key) == 200
            deadline = time.monotonic() + 30
            while (rows := await spend_row_count(again)) < 21 and time.monotonic() < deadline:
                await asyncio.sleep(0.1)
            assert rows == 21


async def test_sigterm_drains_streams_finish_and_the_journal_is_copied(
    tmp_path: Path, config: Path, slow: SlowUpstream
) -> None:
    with gateway(tmp_path / "home", config) as g:
        async with aiohttp.ClientSession() as session:
            key = await make_key(session, g.url)
            headers = {"Authorization": f"Bearer {key}"}
            async with session.post(f"{g.url}/v1/chat/completions", json=SLOW, headers=headers) as stream:
                assert b"one" in await stream.content.readuntil(b"\n\n")
                g.signal(signal.SIGTERM)
                status = 200
                while status == 200:  # the signal is on its way
                    status, _ = await get(session, f"{g.url}/readyz")
                assert status == 503
                while await accepts_connections(g.port):
                    await asyncio.sleep(0.02)
                assert g.process.poll() is None
                slow.go.set()
                rest = await stream.content.read()
                assert rest.endswith(b"data: [DONE]\n\n")
        assert g.process.wait(timeout=60) == 0
        with gateway(g.home, config) as again:
            assert await spend_row_count(again) == 1


async def test_a_second_sigterm_ends_at_once(tmp_path: Path, config: Path, slow: SlowUpstream) -> None:
    with gateway(tmp_path / "home", config) as g:
        left = g.descendants()
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{g.url}/v1/chat/completions", json=SLOW, headers=MASTER) as stream,
        ):
            await stream.content.readuntil(b"\n\n")
            g.signal(signal.SIGTERM)
            while (await get(session, f"{g.url}/readyz"))[0] == 200:
                pass
            g.signal(signal.SIGTERM)
            assert await asyncio.to_thread(g.process.wait, 15) == 1  # far less than drain_timeout_s
            await asyncio.wait_for(slow.gone.wait(), 10)
        assert gone(left)


async def test_a_dead_worker_is_replaced_counted_and_its_metrics_are_kept(tmp_path: Path, config: Path) -> None:
    with gateway(tmp_path / "home", config, workers=2) as g:
        for _ in range(40):
            async with aiohttp.ClientSession() as session:
                assert await chat(session, g.url) == 200

        async def total(name: str) -> float:
            async with aiohttp.ClientSession() as session:
                _, text = await get(session, f"{g.url}/metrics")
            return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))

        async def becomes(name: str, count: float) -> bool:
            """The worker that is scraped does not wait for what the other has not yet counted: 10 ms at most."""
            deadline = time.monotonic() + 10
            while await total(name) < count and time.monotonic() < deadline:
                await asyncio.sleep(0.02)
            return await total(name) == count

        served = 'gateway_requests_total{endpoint="chat"'
        assert await becomes(served, 40)
        victim = g.workers()[0]
        os.kill(victim.pid, signal.SIGKILL)
        assert gone([victim])
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(aiohttp.ClientError):
                if await total("gateway_workers") == 2 and len(g.workers()) == 2:
                    break
            await asyncio.sleep(0.1)
        assert await total("gateway_worker_deaths_total") == 1
        assert await total(served) == 40
        assert any("is replaced" in str(line["msg"]) for line in g.log_lines())
        async with aiohttp.ClientSession() as session:
            assert await chat(session, g.url) == 200
        assert await becomes(served, 41)
        assert g.stop() == 0


async def test_a_changed_file_is_reloaded_and_a_bad_one_changes_nothing(tmp_path: Path, config: Path) -> None:
    with gateway(tmp_path / "home", config) as g:

        async def last_reload(session: aiohttp.ClientSession) -> dict[str, str]:
            async with session.get(f"{g.url}/admin/config", headers=MASTER) as answer:
                state: dict[str, str] = (await answer.json())["last_reload"]
                return state

        async def until(session: aiohttp.ClientSession, result: str) -> dict[str, str]:
            deadline = time.monotonic() + 30
            while (state := await last_reload(session))["result"] != result and time.monotonic() < deadline:
                await asyncio.sleep(0.05)
            return state

        async with aiohttp.ClientSession() as session:
            good = config.read_text()
            config.write_text(good.replace("type: demo", "typ: demo"))
            state = await until(session, "rejected")
            assert state["result"] == "rejected"
            assert "providers.demo.typ" in state["error"]
            assert await chat(session, g.url) == 200
            _, metrics = await get(session, f"{g.url}/metrics")
            assert 'gateway_config_reloads_total{result="rejected"} 1.0' in metrics
            assert any("stays in force" in str(line["msg"]) for line in g.log_lines())
            config.write_text(good.replace("name: demo,", "name: renamed,"))
            g.signal(signal.SIGHUP)
            assert (await until(session, "ok"))["error"] is None
            assert await chat(session, g.url) == 404
