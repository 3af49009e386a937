"""A gateway process that is killed while it meters a batch, and the memory that a long output file takes."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
from aiohttp import web

from tests.acceptance.gateway_process import MASTER_KEY, gateway
from tests.acceptance.served import fetch
from tests.fake_openai import FakeOpenAI
from tests.fake_openai_answers import json_response

CONFIG = """
providers: {lab: {type: openai, base_url: "URL", api_key: none}}
batches: {poll_interval_s: 0.2}
ledger: {copy_interval_ms: 50}
"""
LINE = (
    b'{"custom_id": "1", "response": {"status_code": 200, "body": {"model": "gpt-4o-mini", "choices": ["'
    + b"x" * 1800
    + b'"], "usage": {"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11}}}}\n'
)
LINES = 40_000
ALLOWED_MB = 25
HEADERS = {"authorization": f"Bearer {MASTER_KEY}"}
COST = "SELECT u.* FROM usage_costs AS u JOIN gateway_batches AS b ON b.id = u.request_id"


class Slow(FakeOpenAI):
    """An output file of `LINES` lines, given out in `pieces` with a pause between them; batches end at once."""

    pieces = 40
    downloads = 0

    async def _make_batch(self, request: web.Request) -> web.Response:
        made = {"id": self._id("batch_"), "object": "batch", "status": "completed"}
        made["output_file_id"] = self._new_file("output.jsonl", 1, "batch_output", b"")["id"]
        self.objects["batch"][made["id"]] = made
        return json_response(made)

    async def _content(self, request: web.Request) -> web.StreamResponse:
        self.downloads += 1
        response = web.StreamResponse(headers={"content-length": str(len(LINE) * LINES)})
        await response.prepare(request)
        for _ in range(self.pieces):
            await response.write(LINE * (LINES // self.pieces))
            await asyncio.sleep(self.pause_s)
        await response.write_eof()
        return response


async def make_batch(url: str) -> None:
    async with aiohttp.ClientSession(headers=HEADERS) as session:
        form = aiohttp.FormData({"purpose": "batch"}, default_to_multipart=True)
        form.add_field("file", b"{}", filename="in.jsonl")
        async with session.post(f"{url}/v1/files", data=form) as response:
            body = {"input_file_id": (await response.json())["id"], "endpoint": "/v1/chat/completions"}
        async with session.post(f"{url}/v1/batches", json=body) as response:
            assert response.status == 200, await response.text()


async def make_budget(url: str) -> None:
    """On the provider, which binds the master key, too; a batch is kept a dollar."""
    body = {"scope": "provider", "subject": "lab", "limit_usd": 5, "unbounded_usd": 1}
    async with (
        aiohttp.ClientSession(headers=HEADERS) as session,
        session.post(f"{url}/admin/budgets", json=body) as response,
    ):
        assert response.status == 201, await response.text()


async def spent(home: Path) -> int:
    (row,) = await fetch(home, "SELECT settled_nano_usd - released_nano_usd AS spent FROM budget_periods")
    return int(row["spent"])


async def metered(home: Path, within_s: float = 60.0) -> list[dict[str, Any]]:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        rows = await fetch(home, f"{COST} WHERE b.metered_at IS NOT NULL")
        if rows:
            return rows
        await asyncio.sleep(0.05)
    raise AssertionError("the batch is not metered")


@pytest.mark.timeout(240)
async def test_a_batch_whose_worker_is_killed_while_it_reads_is_metered_once_by_the_next(tmp_path: Path) -> None:
    home, config = tmp_path / "home", tmp_path / "gateway.yaml"
    async with Slow().running() as provider:
        assert isinstance(provider, Slow)
        config.write_text(CONFIG.replace("URL", provider.url))
        provider.pause_s = 0.5
        with gateway(home, config) as running:
            await make_budget(running.url)
            await make_batch(running.url)
            while not provider.downloads:
                await asyncio.sleep(0.02)
            await asyncio.sleep(0.5)
            running.kill()
        provider.pause_s = 0.0
        with gateway(home, config) as running:
            process = psutil.Process(running.process.pid)
            rows = await fetch(home, "SELECT used, claimed_until > now() AS claimed FROM gateway_batches")
            assert [(row["used"], row["claimed"]) for row in rows] == [(None, True)]
            assert await fetch(home, COST) == []
            async with asyncio.timeout(20):  # the dead worker's journal is copied
                while await spent(home) != 10**9:
                    await asyncio.sleep(0.05)
            before = peak = process.memory_info().rss
            # The dead worker's claim runs out in five minutes, or now.
            await fetch(home, "UPDATE gateway_batches SET claimed_until = now(), ask_at = now()")
            waiting = asyncio.ensure_future(metered(home))
            while not waiting.done():
                peak = max(peak, process.memory_info().rss)
                await asyncio.sleep(0.01)
            (row,) = await waiting
            assert (row["input_tokens"], row["output_tokens"]) == (10 * LINES, LINES)
            assert await spent(home) == row["cost_nano_usd"] > 0
            # 80 megabytes went through it.
            assert (peak - before) / 1e6 < ALLOWED_MB
            # Killed again after the account was closed, and once more with it open: nothing is counted twice.
            running.kill()
        for statement in ("SELECT 1", "UPDATE gateway_batches SET metered_at = NULL, ask_at = now()"):
            with gateway(home, config) as running:
                await fetch(home, statement)
                assert [found["id"] for found in await metered(home)] == [row["id"]]
                assert len(await fetch(home, COST)) == 1
                assert await spent(home) == row["cost_nano_usd"]
        assert provider.downloads == 2
