"""A gateway that serves, with real upstream processes behind it, for tests with real clients."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import orjson

from tests.acceptance.gateway_process import MASTER_KEY, READY_S, GatewayProcess, free_port, gateway

_CONFIG = """
server: {drain_grace_s: 0.1, drain_timeout_s: 5}
upstream: {connect_timeout_s: 5, first_byte_timeout_s: 20, idle_timeout_s: 0.5, total_timeout_s: 60}
retries: {attempts: 3, base_delay_ms: 100, max_delay_ms: 2000, budget_min: 1000}
breaker: {consecutive_failures: 1000, min_requests: 100000}
ledger: {copy_interval_ms: 50}
passthrough: {provider: fake}
providers:
  mock: {type: openai, base_url: "http://127.0.0.1:MOCK/v1", api_key: none}
  fake: {type: openai, base_url: "http://127.0.0.1:FAKE/v1", api_key: none}
  dead: {type: openai, base_url: "http://127.0.0.1:DEAD/v1", api_key: none}
  demo: {type: demo}
models:
  - {name: gpt-4o-mini, targets: [{provider: mock, model: gpt-4o-mini}]}
  - name: small
    targets: [{provider: mock, model: gpt-4o-mini}]
    price: {input_usd_per_mtok: 1.0, output_usd_per_mtok: 3.0}
  - {name: text-embedding-3-small, targets: [{provider: mock, model: text-embedding-3-small}]}
  - {name: gpt-3.5-turbo-instruct, targets: [{provider: fake, model: gpt-3.5-turbo-instruct}]}
  - {name: omni-moderation-latest, targets: [{provider: fake, model: omni-moderation-latest}]}
  - {name: whisper-1, targets: [{provider: fake, model: whisper-1}]}
  - {name: tts-1, targets: [{provider: fake, model: tts-1}]}
  - {name: dead, targets: [{provider: dead, model: m}]}
  - {name: demo, targets: [{provider: demo, model: demo}]}
"""


def call(method: str, url: str, document: Any = None, key: str | None = None) -> tuple[int, dict[str, str], Any]:
    """One request without any SDK: status, headers (lower case) and the parsed body (bytes where it is no JSON)."""
    data = None if document is None else document if isinstance(document, bytes) else orjson.dumps(document)
    request = urllib.request.Request(url, data=data, method=method)
    if data is not None:
        request.add_header("content-type", "application/json")
    if key is not None:
        request.add_header("authorization", f"Bearer {key}")
    try:
        with urllib.request.urlopen(request, timeout=READY_S) as answer:
            status, headers, body = answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            status, headers, body = error.code, error.headers, error.read()
    lower = {name.lower(): value for name, value in headers.items()}
    try:
        return status, lower, orjson.loads(body)
    except orjson.JSONDecodeError:
        return status, lower, body


class Upstream:
    """An upstream process on a port of its own, which it keeps when it is killed and started again."""

    def __init__(self, *command: str, probe: str, port: int | None = None) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._command = [part.replace("PORT", str(self.port)) for part in command]
        self._probe = probe
        self.process: subprocess.Popen[bytes] | None = None

    def launch(self) -> None:
        """Start it, without waiting."""
        self.process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def wait(self) -> None:
        """Return when it answers."""
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                call("GET", self.url + self._probe)
                return
            time.sleep(0.05)
        raise AssertionError(f"{self._command} does not answer")

    def kill(self) -> None:
        """kill -9."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def llmock(*options: str) -> Upstream:
    """A real llmock server."""
    return Upstream(
        sys.executable,
        "-c",
        "from llmock.cli import app; app()",
        "serve",
        "--port",
        "PORT",
        "--log-level",
        "error",
        *options,
        probe="/_llmock/requests",
    )


@dataclass
class Served:
    """The gateway, llmock and the small server of our own."""

    gateway: GatewayProcess
    mock: Upstream
    fake: Upstream
    key: str

    @property
    def v1(self) -> str:
        """The base URL for an SDK."""
        return self.gateway.url + "/v1"

    def make_key(self, **fields: Any) -> dict[str, Any]:
        """A virtual key over the admin API: id and key."""
        made: dict[str, Any]
        status, _, made = call("POST", self.gateway.url + "/admin/keys", {"name": "t", **fields}, MASTER_KEY)
        assert status in (200, 201), made
        return made

    def script(self, *behaviors: dict[str, Any]) -> None:
        """Forget what llmock has seen, and tell it what to do next."""
        call("POST", self.mock.url + "/_llmock/reset")
        if behaviors:
            status, _, said = call("POST", self.mock.url + "/_llmock/scenario", {"behaviors": list(behaviors)})
            assert status == 201, said

    def rows(self, *request_ids: str, at_least: int = 1) -> list[dict[str, Any]]:
        """The ledger's rows of these requests by attempt, once there are so many of each."""
        return asyncio.run(self._rows(request_ids, at_least * len(request_ids)))

    async def _rows(self, request_ids: tuple[str, ...], expected: int) -> list[dict[str, Any]]:
        deadline = time.monotonic() + 20
        while True:
            found = await fetch(
                self.gateway.home,
                "SELECT * FROM usage_costs WHERE request_id = ANY($1::uuid[]) ORDER BY request_id, attempt",
                list(request_ids),
            )
            if len(found) >= expected or time.monotonic() > deadline:
                return found
            await asyncio.sleep(0.05)


async def fetch(home: Path, query: str, *arguments: Any) -> list[dict[str, Any]]:
    """Ask the database of the gateway that runs on `home`."""
    connection = await asyncpg.connect(
        host=str(home / "run"), port=5432, user="postgres", database="postgres", ssl=False
    )
    try:
        return [dict(row) for row in await connection.fetch(query, *arguments)]
    finally:
        await connection.close()


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Served]:
    """All of it, stopped at the end."""
    mock = llmock("--stream-chunk-delay-ms", "2")
    fake = Upstream(sys.executable, "-m", "tests.fake_openai", "PORT", probe="/v1/models")
    for upstream in (mock, fake):
        upstream.launch()
    config = folder / "gateway.yaml"
    config.write_text(
        _CONFIG.replace("MOCK", str(mock.port)).replace("FAKE", str(fake.port)).replace("DEAD", str(free_port()))
    )
    try:
        with gateway(folder / "home", config) as running:
            mock.wait()
            fake.wait()
            served = Served(running, mock, fake, "")
            served.key = served.make_key()["key"]
            yield served
    finally:
        mock.kill()
        fake.kill()
