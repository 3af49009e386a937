"""A Valkey that may forget what was spent is refused at the start; /readyz tells how the one is that is there."""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.services.quota.exchange import WORKERS_KEY
from gateway.store.embedded_valkey import valkey_program
from gateway.store.valkey import Valkey
from tests.acceptance.gateway_process import READY_S, GatewayProcess, gateway

CONFIG = """
providers: {demo: {type: demo}}
models: [{name: demo, targets: [{provider: demo, model: demo}]}]
"""


@contextmanager
def valkey_server(*options: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A Valkey with these options: its URL and its process."""
    with tempfile.TemporaryDirectory(prefix="kc-", dir="/tmp") as folder:
        socket = Path(folder) / "valkey.sock"
        command = [
            str(valkey_program()),
            "--port",
            "0",
            "--unixsocket",
            str(socket),
            "--dir",
            folder,
            "--save",
            "",
            *options,
        ]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + READY_S
            while not socket.exists():
                assert server.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.01)
            yield f"unix://{socket}", server
        finally:
            server.terminate()
            server.wait(timeout=READY_S)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "gateway.yaml"
    file.write_text(CONFIG)
    return file


@pytest.mark.parametrize("workers", [1, 2])
def test_one_that_may_forget_what_was_spent_is_refused_with_the_reason(
    tmp_path: Path, config: Path, workers: int
) -> None:
    with valkey_server("--maxmemory-policy", "allkeys-lru") as (url, _):
        running = GatewayProcess(tmp_path / "home", config, workers=workers, env={"REDIS_URL": url})
        try:
            assert running.process.wait(timeout=READY_S) != 0
        finally:
            if running.process.poll() is None:
                running.kill()
    assert "maxmemory-policy is 'allkeys-lru', so it may forget what was spent. Set it to noeviction." in running.log
    assert "Traceback" not in running.log
    assert "try it:" not in running.output


async def states(running: GatewayProcess, wanted: Callable[[str, str], bool]) -> tuple[str, str]:
    """What /readyz says of Valkey and of budgets, once it is what is wanted."""
    deadline = time.monotonic() + READY_S
    while True:
        ready: Any = orjson.loads(await asyncio.to_thread(_read, f"{running.url}/readyz"))
        assert ready["status"] == "ready"
        said = ready["stores"]["valkey"], ready["budgets"]
        if wanted(*said):
            return said
        assert time.monotonic() < deadline, said
        await asyncio.sleep(0.05)


async def until_counted_by(valkey: Valkey, workers: int) -> None:
    """Wait until so many workers have begun to count: either may have answered /readyz."""
    deadline = time.monotonic() + READY_S
    while await valkey.client.zcard(WORKERS_KEY) < workers:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


def _read(url: str) -> bytes:
    with urllib.request.urlopen(url) as answer:
        return bytes(answer.read())


@pytest.fixture
async def client() -> AsyncIterator[tuple[Valkey, str, subprocess.Popen[bytes]]]:
    with valkey_server() as (url, server):
        valkey = await Valkey.open(url)
        yield valkey, url, server
        await valkey.close()


async def test_readyz_tells_whether_valkey_is_there_and_budgets_can_be_spent_of(
    tmp_path: Path, config: Path, client: tuple[Valkey, str, subprocess.Popen[bytes]]
) -> None:
    valkey, url, server = client
    with gateway(tmp_path / "home", config, workers=2, env={"REDIS_URL": url}) as running:
        await states(running, lambda store, budgets: (store, budgets) == ("ok", "ok"))
        await until_counted_by(valkey, 2)
        await valkey.client.flushall()  # another worker may hold something: nobody may spend for a while
        await states(running, lambda store, budgets: budgets.startswith("rebuilding: hard budgets open in "))
        await states(running, lambda store, budgets: (store, budgets) == ("ok", "ok"))
        server.terminate()
        said = await states(running, lambda store, budgets: store != "ok")
        assert said == (
            "away: limits go on as their on_store_failure says",
            "away: hard budgets go on with what is leased",
        )
