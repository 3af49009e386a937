"""What `serve` does by itself: with no configuration, at a terminal, beside a local model server."""

from __future__ import annotations

import asyncio
import os
import pty
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import psutil
import pytest
from aiohttp import web

from gateway.providers.ollama import PROVIDER as OLLAMA
from tests.acceptance.gateway_process import MASTER_KEY, READY_S, GatewayProcess, free_port, gateway

MASTER = {"Authorization": f"Bearer {MASTER_KEY}"}


async def ask(running: GatewayProcess, model: str) -> tuple[int, dict[str, object]]:
    """The status and the body of a chat's answer."""
    body = {"model": model, "messages": [{"role": "user", "content": "Hello"}]}
    async with (
        aiohttp.ClientSession(headers=MASTER) as session,
        session.post(f"{running.url}/v1/chat/completions", json=body) as answer,
    ):
        return answer.status, await answer.json()


def listening_ports(running: GatewayProcess) -> set[int]:
    """The TCP ports of all its processes."""
    processes = [psutil.Process(running.process.pid), *running.descendants()]
    assert len(processes) > 2
    return {
        connection.laddr.port
        for process in processes
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }


@pytest.mark.parametrize("workers", [1, 2])
async def test_without_a_configuration_it_serves_the_demo_model(tmp_path: Path, workers: int) -> None:
    with gateway(tmp_path / "home", None, workers=workers) as running:
        assert "models: demo" in running.output
        status, body = await ask(running, "demo")
        assert (status, body["object"]) == (200, "chat.completion")
        assert listening_ports(running) == {running.port}, "the embedded servers have sockets alone"
        assert running.stop() == 0


# --- at a terminal --------------------------------------------------------------------------------------


def shown_at_a_terminal(home: Path, environ: dict[str, str]) -> str:
    """What a gateway prints until it is ready when its standard output is a terminal; it is stopped then."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    command = [sys.executable, "-m", "gateway", "serve", "--home", str(home), "--port", str(free_port())]
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(command, stdout=theirs, stderr=subprocess.DEVNULL, env={**clean, **environ})
        os.close(theirs)
        seen = b""
        try:
            while b'"messages"' not in seen:  # the last line
                seen += os.read(ours, 65_536)
        finally:
            process.terminate()
            process.wait(timeout=READY_S)
        return seen.decode()
    finally:
        os.close(ours)


def test_the_admin_key_is_printed_to_a_terminal(tmp_path: Path) -> None:
    home = tmp_path / "home"
    text = shown_at_a_terminal(home, {})
    key = (home / "master.key").read_text().strip()
    assert f"admin key: {key}\r\n" in text
    assert text.count(key) == 1, "the curl line reads it from its file"
    assert shown_at_a_terminal(tmp_path / "other", {"GATEWAY_MASTER_KEY": MASTER_KEY}).count(MASTER_KEY) == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_the_admin_key_is_printed_to_nothing_but_a_terminal(tmp_path: Path, workers: int) -> None:
    with gateway(tmp_path / "home", None, workers=workers, env={"GATEWAY_MASTER_KEY": ""}) as running:
        file = running.home / "master.key"
        assert f"admin key: in {file}" in running.output
        assert file.read_text().strip() not in running.output + running.log


# --- beside a local model server ------------------------------------------------------------------------


class FakeOllama:
    """Answers as Ollama does, of its own API what a chat needs."""

    async def version(self, request: web.Request) -> web.Response:
        return web.json_response({"version": "0.12.0"})

    async def chat(self, request: web.Request) -> web.Response:
        model = (await request.json())["model"]
        message = {"role": "assistant", "content": "From next door."}
        counts = {"prompt_eval_count": 5, "eval_count": 4}
        body = {"model": model, "created_at": "2026-11-02T12:00:00Z", "message": message, "done": True}
        return web.json_response({**body, "done_reason": "stop", **counts})


@pytest.fixture
async def ollama() -> AsyncIterator[None]:
    """A server on Ollama's usual port; where somebody listens there already, the test is skipped."""
    fake = FakeOllama()
    app = web.Application()
    app.add_routes([web.get("/api/version", fake.version), web.post("/api/chat", fake.chat)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", int(OLLAMA.base_url.rpartition(":")[2])).start()
    except OSError:
        await runner.cleanup()
        pytest.skip("somebody listens on Ollama's port")
    yield
    await runner.cleanup()


async def until_ready(running: GatewayProcess) -> None:
    """As `wait_ready`, leaving the loop to the fake that is asked meanwhile."""
    deadline = time.monotonic() + READY_S
    while "try it:" not in running.output:
        assert running.process.poll() is None, running.log
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def test_ollama_on_its_usual_port_switches_on_by_itself(tmp_path: Path, ollama: None) -> None:
    running = GatewayProcess(tmp_path / "home", None)
    try:
        await until_ready(running)
        assert "switched on by themselves: ollama" in running.output
        status, body = await ask(running, "ollama/any-model")
        assert (status, body["model"]) == (200, "ollama/any-model")
        assert "From next door." in str(body["choices"])
        assert (await ask(running, "demo"))[0] == 200
    finally:
        running.stop()
