"""A disk on which no journal file can be made: a limit on file sizes, put on the running worker alone, stands in."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from tests.acceptance.gateway_process import MASTER_KEY, gateway

CONFIG = """
logging: {requests: {sample: 0.0}}
ledger: {segment_mb: 1}
providers: {demo: {type: demo}}
models: [{name: demo, targets: [{provider: demo, model: demo}]}]
"""
LIMIT_BYTES = 600_000


async def alerts(session: aiohttp.ClientSession, url: str) -> list[dict[str, Any]]:
    async with session.get(f"{url}/admin/alerts") as answer:
        found: list[dict[str, Any]] = (await answer.json())["data"]
        return found


async def chat(session: aiohttp.ClientSession, url: str) -> int:
    body = {"model": "demo", "messages": [{"role": "user", "content": "Hello"}]}
    async with session.post(f"{url}/v1/chat/completions", json=body) as answer:
        await answer.read()
        return answer.status


async def test_a_full_disk_refuses_requests_raises_one_alert_and_passes(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(CONFIG)
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {MASTER_KEY}"}) as session:
        with gateway(tmp_path / "home", file) as running:
            worker = psutil.Process(running.process.pid)
            worker.rlimit(psutil.RLIMIT_FSIZE, (LIMIT_BYTES, psutil.RLIM_INFINITY))
            deadline = time.monotonic() + 90
            while (status := await chat(session, running.url)) == 200:
                assert time.monotonic() < deadline, "the journal was never full"
            assert status == 503
            while not await alerts(session, running.url):
                assert time.monotonic() < deadline, running.log
                await asyncio.sleep(0.1)
            await asyncio.sleep(2.5)
            assert await chat(session, running.url) == 503
            (alert,) = await alerts(session, running.url)
            assert alert["kind"] == "journal_unwritable"
            assert alert["subject"].endswith(str(running.home / "journal"))
            worker.rlimit(psutil.RLIMIT_FSIZE, (psutil.RLIM_INFINITY, psutil.RLIM_INFINITY))
            while await chat(session, running.url) != 200:
                assert time.monotonic() < deadline, "still refused although there is room"
                await asyncio.sleep(0.05)
