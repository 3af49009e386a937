"""2,000 mixed requests while targets are killed and come back: none lost, none counted twice."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from tests.acceptance.gateway_process import MASTER_KEY, GatewayProcess, gateway
from tests.acceptance.served import Upstream, call, fetch

REQUESTS = 2000
AT_ONCE = 32
COMPLETION_TOKENS = 3  # as the upstream reports
_CONFIG = """
server: {drain_grace_s: 0.1, drain_timeout_s: 5}
retries: {base_delay_ms: 20, max_delay_ms: 200}
breaker: {open_s: 0.3}
providers:
  a: {type: openai, base_url: "http://127.0.0.1:PORT_A/v1", api_key: none}
  b: {type: openai, base_url: "http://127.0.0.1:PORT_B/v1", api_key: none}
models:
  - {name: first-a, targets: [{provider: a, model: m}, {provider: b, model: m, priority: 1}]}
  - {name: first-b, targets: [{provider: b, model: m}, {provider: a, model: m, priority: 1}]}
  - {name: either, targets: [{provider: a, model: m, weight: 2}, {provider: b, model: m}]}
  - {name: only-a, targets: [{provider: a, model: m}]}
"""
MODELS = ("first-a", "first-b", "either", "only-a")


@dataclass
class Told:
    """What one client was told."""

    prompt: str
    result: str  # ok, error (an HTTP error), broken (a stream that ended in an error event)
    request_id: str
    attempts: int
    said: Any = None


@dataclass
class Scene:
    """A gateway in front of two upstreams that write down what they receive."""

    gateway: GatewayProcess
    upstreams: list[Upstream]
    log: Path

    def received(self) -> Counter[str]:
        """How often each prompt came to an upstream."""
        return Counter(self.log.read_text().split())


@pytest.fixture
def scene() -> Iterator[Scene]:
    folder = Path(tempfile.mkdtemp(prefix="kc-", dir="/tmp"))
    log = folder / "received"
    log.touch()
    command = (sys.executable, "-m", "tests.acceptance.counting_upstream", "PORT", str(log))
    upstreams = [Upstream(*command, probe="/") for _ in range(2)]
    config = folder / "gateway.yaml"
    config.write_text(
        _CONFIG.replace("PORT_A", str(upstreams[0].port)).replace("PORT_B", str(upstreams[1].port)),
    )
    try:
        for upstream in upstreams:
            upstream.launch()
        with gateway(folder / "home", config) as running:
            yield Scene(running, upstreams, log)
    finally:
        for upstream in upstreams:
            upstream.kill()
        shutil.rmtree(folder, ignore_errors=True)


async def _ask(client: aiohttp.ClientSession, number: int) -> Told:
    prompt = f"prompt-{number}"
    body = {
        "model": MODELS[number % len(MODELS)],
        "stream": number // len(MODELS) % 2 == 1,
        "messages": [{"role": "user", "content": prompt}],
    }
    async with client.post("/v1/chat/completions", json=body) as answer:
        text = await answer.read()
        attempts = int(answer.headers.get("x-gateway-attempts", "0"))
        told = Told(prompt, "error", answer.headers["x-request-id"], attempts, text)
        if answer.status != 200:
            assert "code" in orjson.loads(text)["error"]
        elif not body["stream"]:
            assert orjson.loads(text)["choices"]
            told.result = "ok"
        else:
            last = text.strip().split(b"\n\n")[-1]
            assert last == b"data: [DONE]" or b'"error"' in last
            told.result = "ok" if last == b"data: [DONE]" else "broken"
        return told


async def _kill_in_turn(upstreams: list[Upstream], done: asyncio.Event) -> int:
    kills = 0
    while not done.is_set():
        upstream = upstreams[kills % 2]
        upstream.kill()
        kills += 1
        await asyncio.sleep(0.15)
        upstream.launch()
        await _listening(upstream)
        await asyncio.sleep(0.2)
    return kills


async def _listening(upstream: Upstream) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", upstream.port)
        except OSError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            return


async def _ask_all(scene: Scene, key: str) -> tuple[list[Told], int]:
    done = asyncio.Event()
    numbers = iter(range(REQUESTS))
    told: list[Told] = []
    headers = {"authorization": f"Bearer {key}"}
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(scene.gateway.url, headers=headers, timeout=timeout) as client:

        async def one_client() -> None:
            for number in numbers:
                told.append(await _ask(client, number))
                if told[-1].result == "error":  # else refusals, which are quick, would eat up the requests
                    await asyncio.sleep(0.05)

        for upstream in scene.upstreams:
            await _listening(upstream)
        killer = asyncio.ensure_future(_kill_in_turn(scene.upstreams, done))
        await asyncio.gather(*[one_client() for _ in range(AT_ONCE)])
        done.set()
        return told, await killer


async def _rows(home: Path, expected: int) -> list[dict[str, Any]]:
    for _ in range(200):
        rows = await fetch(home, "SELECT * FROM usage_costs")
        if len({row["request_id"] for row in rows if row["final"]}) >= expected:
            return rows
        await asyncio.sleep(0.05)
    return rows


def test_no_request_is_lost_and_none_is_counted_twice_while_targets_die(scene: Scene) -> None:
    _, _, made = call("POST", scene.gateway.url + "/admin/keys", {"name": "t"}, MASTER_KEY)
    told, kills = asyncio.run(_ask_all(scene, made["key"]))
    results = Counter(one.result for one in told)
    assert len(told) == REQUESTS  # every client got an answer or an error
    assert kills >= 4
    assert results["ok"] > REQUESTS * 0.3, (results, Counter(one.said[:200] for one in told if one.result == "error"))

    attempted = [one for one in told if one.attempts]
    rows = asyncio.run(_rows(scene.gateway.home, len(attempted)))
    by_request: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_request[str(row["request_id"])].append(row)
    assert set(by_request) == {one.request_id for one in attempted}
    received = scene.received()
    for one in told:
        tried = sorted(by_request.get(one.request_id, []), key=lambda row: row["attempt"])
        assert [row["attempt"] for row in tried] == list(range(1, one.attempts + 1)), one
        assert [row["final"] for row in tried] == [False] * (len(tried) - 1) + [True] * bool(tried), one
        assert [row["outcome"] for row in tried].count("ok") == (one.result == "ok"), one
        assert received[one.prompt] <= len(tried), one
        if one.result != "error":
            assert received[one.prompt] >= 1, one
    answered = [row for row in rows if row["outcome"] == "ok"]
    assert sum(row["output_tokens"] for row in answered) == COMPLETION_TOKENS * results["ok"]
    assert not any(row["estimated"] for row in answered)
    assert "Traceback" not in scene.gateway.log
