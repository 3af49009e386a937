"""Stores that are there and do not answer (SIGSTOP): no request hangs, and what can go on does."""

from __future__ import annotations

import contextlib
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from tests.acceptance.gateway_process import MASTER_KEY, GatewayProcess, gateway
from tests.acceptance.served import call

CONFIG = """
providers: {demo: {type: demo}}
models:
  - {name: demo, targets: [{provider: demo, model: demo}], price: {input_usd_per_mtok: 1, output_usd_per_mtok: 1}}
"""
# Far below what was seen before (3 to 10 s), far above what it takes.
SOON_S = 2.5


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("mute")
    config = folder / "gateway.yaml"
    config.write_text(CONFIG)
    with gateway(folder / "home", config) as process:
        yield process


@contextlib.contextmanager
def mute(running: GatewayProcess, name: str) -> Iterator[None]:
    """Stop every process of one embedded store for a while."""
    found: list[psutil.Process] = [each for each in running.descendants() if name in each.name()]
    assert found
    for process in found:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in found:
            process.send_signal(signal.SIGCONT)
    until_answered(running)


def until_answered(running: GatewayProcess) -> None:
    deadline = time.monotonic() + 60
    while True:
        stores = call("GET", f"{running.url}/readyz")[2]["stores"]
        if stores == {"postgres": "ok", "valkey": "ok"}:
            return
        assert time.monotonic() < deadline, stores
        time.sleep(0.1)


def make_key(running: GatewayProcess, **fields: Any) -> dict[str, Any]:
    status, _, made = call("POST", f"{running.url}/admin/keys", {"name": "t", **fields}, MASTER_KEY)
    assert status in (200, 201), made
    found: dict[str, Any] = made
    return found


def chat(running: GatewayProcess, key: str, **fields: Any) -> tuple[int, Any, float]:
    began = time.monotonic()
    body = {"model": "demo", "max_tokens": 16, "messages": [{"role": "user", "content": "hi"}], **fields}
    status, _, answer = call("POST", f"{running.url}/v1/chat/completions", body, key)
    return status, answer, time.monotonic() - began


def test_while_postgresql_is_mute_warm_keys_go_on_and_the_rest_is_refused_soon(running: GatewayProcess) -> None:
    warm, cold = make_key(running), make_key(running)
    budgeted = make_key(running)
    end_users = {"scope": "end_user", "subject": budgeted["id"], "name": "each", "limit_usd": 1, "period": "total"}
    status, _, made = call("POST", f"{running.url}/admin/budgets", end_users, MASTER_KEY)
    assert status in (200, 201), made
    assert chat(running, warm["key"])[0] == 200
    assert chat(running, budgeted["key"], user="known")[0] == 200
    with mute(running, "postgres"):
        status, answer, took_s = chat(running, budgeted["key"], user="new")
        assert (status, answer["error"]["code"]) == (503, "store_unavailable")
        assert took_s < SOON_S
        status, answer, took_s = chat(running, cold["key"])
        assert (status, answer["error"]["code"]) == (503, "key_store_unavailable")
        assert took_s < SOON_S
        began = time.monotonic()
        for number in range(20):
            assert chat(running, budgeted["key"], user=f"new-{number}")[0] == 503
            assert chat(running, warm["key"])[0] == 200
            assert chat(running, budgeted["key"], user="known")[0] == 200
        # One in a second tries, and waits for one; all others do not wait.
        assert time.monotonic() - began < 20 * SOON_S / 2
        said = call("GET", f"{running.url}/readyz")[2]
        assert said["status"] == "ready"
        assert said["stores"]["postgres"].startswith("away for ")
        metrics = call("GET", f"{running.url}/metrics")[2].decode()
        assert 'gateway_store_up{store="postgres"} 0.0' in metrics
        refused = next(line for line in metrics.splitlines() if line.startswith("gateway_store_refused_total "))
        assert float(refused.split()[1]) > 0
    assert chat(running, cold["key"])[0] == 200
    assert chat(running, budgeted["key"], user="new")[0] == 200


def test_an_idempotency_key_is_refused_soon_while_postgresql_is_mute(running: GatewayProcess) -> None:
    key = make_key(running)["key"]
    assert chat(running, key)[0] == 200
    with mute(running, "postgres"):
        began = time.monotonic()
        request = urllib.request.Request(
            f"{running.url}/v1/chat/completions",
            data=b'{"model": "demo", "messages": [{"role": "user", "content": "hi"}]}',
            headers={
                "authorization": f"Bearer {key}",
                "content-type": "application/json",
                "Idempotency-Key": "a-new-one",
            },
        )
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=30)
        assert time.monotonic() - began < SOON_S
        with refused.value as answer:
            assert answer.code == 503
            assert b"store_unavailable" in answer.read()


def test_while_valkey_is_mute_local_limits_go_on_at_once(running: GatewayProcess) -> None:
    few = {"rpm": 50, "max_concurrency": 4}
    made, other = make_key(running, **few), make_key(running, **few)
    for key in (made["key"], other["key"]):
        assert chat(running, key)[0] == 200
    with mute(running, "valkey"):
        for _ in range(10):
            for key in (made["key"], other["key"]):
                status, answer, took_s = chat(running, key)
                assert status == 200, answer
                assert took_s < SOON_S
    assert chat(running, made["key"])[0] == 200


def test_limits_that_deny_are_refused_soon_while_valkey_is_mute(running: GatewayProcess) -> None:
    made = make_key(running)
    denying = {"scope": "key", "subject": made["id"], "max_concurrency": 2, "on_store_failure": "deny"}
    status, _, said = call("POST", f"{running.url}/admin/limits", denying, MASTER_KEY)
    assert status in (200, 201), said
    assert chat(running, made["key"])[0] == 200
    with mute(running, "valkey"):
        for _ in range(5):
            status, answer, took_s = chat(running, made["key"])
            assert (status, answer["error"]["code"]) == (503, "limits_unavailable")
            assert took_s < SOON_S
