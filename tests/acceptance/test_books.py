"""`budgets verify` and `holders` on the home of a gateway: while it runs, and when it does not."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import orjson
import pytest
from click.testing import CliRunner, Result

from gateway.cli.budgets import budgets
from tests.acceptance.gateway_process import MASTER_KEY, gateway

CONFIG = """
providers: {demo: {type: demo}}
models:
  - name: demo
    targets: [{provider: demo, model: demo}]
    price: {input_usd_per_mtok: 1, output_usd_per_mtok: 2}
"""
MASTER = {"Authorization": f"Bearer {MASTER_KEY}"}


def run(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(budgets, [*arguments, "--home", str(home)])


async def ask(url: str, key: str) -> None:
    body = {"model": "demo", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 50}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/v1/chat/completions", json=body, headers={"Authorization": f"Bearer {key}"}) as answer,
    ):
        assert answer.status == 200, await answer.text()


async def make_key(url: str) -> str:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/admin/keys", json={"name": "app", "budget": {"limit_usd": 1}}, headers=MASTER) as answer,
    ):
        key: str = (await answer.json())["key"]
        return key


async def test_the_books_agree_beside_a_running_gateway_and_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("DATABASE_URL", "REDIS_URL"):
        monkeypatch.delenv(variable, raising=False)
    config = tmp_path / "gateway.yaml"
    config.write_text(CONFIG)
    home = tmp_path / "home"
    with gateway(home, config) as running:
        key = await make_key(running.url)
        for _ in range(5):
            await ask(running.url, key)
        found = await asyncio.to_thread(run, home, "verify")
        assert (found.exit_code, found.stdout) == (0, "1 periods and 1 counters: no differences\n")
        (holder,) = orjson.loads((await asyncio.to_thread(run, home, "holders", "--json")).stdout)
        assert holder["state"] == "alive"
        assert 0 < holder["held_usd"] < 1
    found = await asyncio.to_thread(run, home, "verify", "--repair")
    assert (found.exit_code, found.stdout) == (0, "1 periods and Valkey is not running here: no differences\n")
