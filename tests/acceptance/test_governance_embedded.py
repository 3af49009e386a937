"""A gateway with stores of its own that was killed, and its budgets when it comes back."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

from tests.acceptance.gateway_process import MASTER_KEY, GatewayProcess, gateway
from tests.acceptance.served import call

_CONFIG = """
server: {drain_grace_s: 0.1}
providers: {demo: {type: demo}}
models:
  - name: m
    targets: [{provider: demo, model: demo}]
    price: {input_usd_per_mtok: 1, output_usd_per_mtok: 10}
"""


def test_a_killed_gateway_admits_under_a_hard_budget_as_soon_as_it_is_back() -> None:
    folder = Path(tempfile.mkdtemp(prefix="kg-", dir="/tmp"))
    config = folder / "gateway.yaml"
    config.write_text(_CONFIG)
    try:
        for workers in (1, 2):
            _kill_and_return(folder / f"home{workers}", config, workers)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _kill_and_return(home: Path, config: Path, workers: int) -> None:
    with gateway(home, config, workers=workers) as first:
        budget = {"limit_usd": "1.00", "period": "total"}
        status, _, made = call("POST", first.url + "/admin/keys", {"name": "t", "budget": budget}, MASTER_KEY)
        assert status == 201, made
        _admitted_within(first, made["key"], 2.0)
        first.kill()
    with gateway(home, config, workers=workers) as second:
        _admitted_within(second, made["key"], 2.0)


def _admitted_within(running: GatewayProcess, key: str, limit_s: float) -> None:
    document = {"model": "m", "max_tokens": 20, "messages": [{"role": "user", "content": "hi"}]}
    began = time.monotonic()
    while (answer := call("POST", running.url + "/v1/chat/completions", document, key))[0] != 200:
        assert time.monotonic() < began + limit_s, answer
        time.sleep(0.05)
