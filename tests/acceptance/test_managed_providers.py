"""A provider and a model made over the admin API, in every worker within 250 ms, without a restart and after one."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.gateway_process import MASTER_KEY, gateway
from tests.acceptance.served import Upstream, call

_CONFIG = """
security: {allow_private_upstreams: [127.0.0.1]}
providers: {demo: {type: demo}}
models:
  - {name: demo, targets: [{provider: demo, model: demo}]}
"""
# New connections that all find the same: with two workers one is missed with a chance of 1 in 2^24.
_CONNECTIONS = 24
CHAT = {"model": "made", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="kc-", dir="/tmp"))  # short: sockets live under it
    yield made
    shutil.rmtree(made, ignore_errors=True)


def _statuses(url: str) -> set[int]:
    return {call("POST", f"{url}/v1/chat/completions", CHAT, key=MASTER_KEY)[0] for _ in range(_CONNECTIONS)}


def _admin(url: str, method: str, path: str, body: Any = None) -> Any:
    status, _, answer = call(method, f"{url}/admin/{path}", body, key=MASTER_KEY)
    assert status in (200, 201), answer
    return answer


def test_what_the_admin_api_makes_is_in_force_in_every_worker_and_after_a_restart(folder: Path) -> None:
    config = folder / "gateway.yaml"
    config.write_text(_CONFIG)
    upstream = Upstream(sys.executable, "-m", "tests.fake_openai", "PORT", probe="/v1/models")
    upstream.launch()
    try:
        upstream.wait()
        with gateway(folder / "home", config, workers=2) as running:
            assert _statuses(running.url) == {404}
            body = {"name": "own", "type": "openai", "base_url": f"{upstream.url}/v1", "api_key": "sk-stored-s3cret"}
            provider = _admin(running.url, "POST", "providers", body)
            targets = [{"provider": "own", "model": "gpt-4o-mini"}]
            _admin(running.url, "POST", "models", {"name": "made", "targets": targets})
            time.sleep(0.25)
            assert _statuses(running.url) == {200}
            assert _admin(running.url, "POST", f"providers/{provider['id']}/test")["ok"]
            _admin(running.url, "PATCH", f"providers/{provider['id']}", {"enabled": False})
            time.sleep(0.25)
            assert _statuses(running.url) == {404}
            _admin(running.url, "PATCH", f"providers/{provider['id']}", {"enabled": True})
            assert "s3cret" not in running.log
        with gateway(folder / "home", config) as running:
            assert _statuses(running.url) == {200}
            assert "s3cret" not in str(_admin(running.url, "GET", "providers"))
    finally:
        upstream.kill()
