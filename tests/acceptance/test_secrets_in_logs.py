"""Keys of any shape that a provider echoes: masked in the log, after reloads and for those of the admin API, too."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web

from tests.acceptance.gateway_process import MASTER_KEY, GatewayProcess, gateway

# Nothing about them says that they are keys.
DECLARED = 'Zq"7\\odd/first shape'
RELOADED = "qX 8 odd-second-shape"
STORED = "Wr.9.odd+third=shape"
CONFIG = """
logging: {bodies: errors, level: debug}
security: {allow_private_upstreams: [127.0.0.1]}
providers:
  lab: {type: openai, base_url: "http://127.0.0.1:PORT/v1", api_key: "file:key"}
models:
  - {name: lab-model, targets: [{provider: lab, model: lab-model}]}
"""


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """Of a provider that refuses every request and quotes the key that it was sent, in words and in bytes."""

    async def refuse(request: web.Request) -> web.Response:
        key = request.headers["authorization"].removeprefix("Bearer ")
        return web.json_response({"error": {"message": f"echoed: {key}", "type": "bad", "code": None}}, status=400)

    app = web.Application()
    app.add_routes([web.post("/v1/chat/completions", refuse)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


async def ask(session: aiohttp.ClientSession, running: GatewayProcess, model: str) -> str:
    body = {"model": model, "messages": [{"role": "user", "content": "Hello"}]}
    async with session.post(f"{running.url}/v1/chat/completions", json=body) as answer:
        assert answer.status == 400
        return await answer.text()


async def logged_answers(running: GatewayProcess, count: int) -> list[str]:
    """What the log has of the answers, as the provider's words."""
    deadline = time.monotonic() + 20
    while True:
        lines: list[dict[str, Any]] = [line for line in running.log_lines() if "answer" in line]
        if len(lines) >= count or time.monotonic() > deadline:
            return [orjson.loads(line["answer"])["error"]["message"] for line in lines]
        await asyncio.sleep(0.05)


async def test_a_provider_that_quotes_its_key_brings_it_into_no_log(tmp_path: Path, port: int) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(CONFIG.replace("PORT", str(port)))
    (tmp_path / "key").write_text(DECLARED)
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {MASTER_KEY}"}) as session:
        with gateway(tmp_path / "home", file) as running:
            assert "echoed" in await ask(session, running, "lab-model")
            (tmp_path / "key").write_text(RELOADED)
            deadline = time.monotonic() + 20
            while RELOADED not in await ask(session, running, "lab-model") and time.monotonic() < deadline:
                await asyncio.sleep(0.1)
            made = {"name": "own", "type": "openai", "base_url": f"http://127.0.0.1:{port}/v1", "api_key": STORED}
            async with session.post(f"{running.url}/admin/providers", json=made) as answer:
                assert answer.status == 201
            assert STORED in await ask(session, running, "own/any")
            answers = await logged_answers(running, 3)
            assert running.stop() == 0
        assert len(answers) >= 3
        assert set(answers) == {"echoed: ***"}
        for key in (DECLARED, RELOADED, STORED):
            assert key not in running.log
            assert orjson.dumps(key).decode()[1:-1] not in running.log
