"""Answers that cost more than their request seemed to: a provider that bills too much, and a dear fallback."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.acceptance.gateway_process import MASTER_KEY, GatewayProcess, gateway
from tests.acceptance.served import call

_CONFIG = """
server: {drain_grace_s: 0.1, drain_timeout_s: 5}
ledger: {copy_interval_ms: 50}
security: {allow_private_upstreams: [127.0.0.1]}
alerts: {webhooks: [{url: "http://127.0.0.1:PORT/hook", secret: none}]}
providers:
  up: {type: openai, base_url: "http://127.0.0.1:PORT/v1", api_key: none}
models:
  - name: cheap
    targets: [{provider: up, model: short}]
    price: {input_usd_per_mtok: 0, output_usd_per_mtok: 0}
    context_fallbacks: [dear]
  - name: dear
    targets: [{provider: up, model: long}]
    price: {input_usd_per_mtok: 100, output_usd_per_mtok: 200}
"""
_USED = {"prompt_tokens": 10, "completion_tokens": 5000, "total_tokens": 5010}
_COST_NANO = 10 * 100_000 + 5000 * 200_000


@dataclass
class Outside:
    """A provider whose model `short` finds every prompt too long, and whose model `long` bills 5,000 tokens whatever it
    was asked for; and whoever is told of alerts."""

    asked: list[str] = field(default_factory=list)
    told: list[dict[str, Any]] = field(default_factory=list)

    def answer(self, path: str, document: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Status and body."""
        if path == "/hook":
            self.told.append(document)
            return 200, {}
        self.asked.append(document["model"])
        if document["model"] == "short":
            return 400, {"error": {"message": "too long", "code": "context_length_exceeded"}}
        message = {"role": "assistant", "content": "yes"}
        return 200, {"id": "1", "model": "long", "choices": [{"index": 0, "message": message}], "usage": _USED}


@pytest.fixture(scope="module")
def outside() -> Iterator[tuple[Outside, int]]:
    known = Outside()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            document = orjson.loads(self.rfile.read(int(self.headers["content-length"])))
            status, body = known.answer(self.path, document)
            data = orjson.dumps(body)
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield known, server.server_address[1]
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def running(outside: tuple[Outside, int]) -> Iterator[GatewayProcess]:
    folder = Path(tempfile.mkdtemp(prefix="kg-", dir="/tmp"))
    config = folder / "gateway.yaml"
    config.write_text(_CONFIG.replace("PORT", str(outside[1])))
    try:
        with gateway(folder / "home", config) as process:
            yield process
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def make_key(running: GatewayProcess, limit_usd: str) -> dict[str, Any]:
    made: dict[str, Any]
    budget = {"limit_usd": limit_usd, "period": "total"}
    status, _, made = call("POST", running.url + "/admin/keys", {"name": "t", "budget": budget}, MASTER_KEY)
    assert status == 201, made
    return made


def ask(running: GatewayProcess, key: str, model: str) -> tuple[int, dict[str, str], Any]:
    document = {"model": model, "max_tokens": 20, "messages": [{"role": "user", "content": "hi"}]}
    return call("POST", running.url + "/v1/chat/completions", document, key)


def spent_by_model(running: GatewayProcess) -> dict[str, float]:
    """US dollars, as the ledger has them by now."""
    rows = call("GET", running.url + "/admin/usage?group_by=model", key=MASTER_KEY)[2]["data"]
    return {row["model"]: row["cost_usd"] for row in rows}


def until(look: Callable[[], Any]) -> Any:
    """What `look` finds, once it finds something."""
    deadline = time.monotonic() + 20
    while not (found := look()):
        assert time.monotonic() < deadline, "nothing came"
        time.sleep(0.1)
    return found


def test_a_fallback_to_a_dear_model_does_not_get_past_a_hard_budget(
    running: GatewayProcess, outside: tuple[Outside, int]
) -> None:
    poor, rich = make_key(running, "0.001"), make_key(running, "5")
    status, _, answer = ask(running, poor["key"], "cheap")
    assert (status, answer["error"]["code"]) == (429, "insufficient_quota")
    assert outside[0].asked == ["short"]
    status, headers, _ = ask(running, rich["key"], "cheap")
    assert (status, headers["x-gateway-model"]) == (200, "long")
    assert headers["x-gateway-cost-usd"] == f"{_COST_NANO / 1e9:.9f}"
    spent = until(lambda: "dear" in (found := spent_by_model(running)) and found)
    assert spent["dear"] == pytest.approx(_COST_NANO / 1e9)
    assert spent.get("cheap", 0) == 0


def test_a_provider_that_bills_more_than_was_reserved_is_alerted(
    running: GatewayProcess, outside: tuple[Outside, int]
) -> None:
    key = make_key(running, "5")
    status, headers, _ = ask(running, key["key"], "dear")
    assert (status, headers["x-gateway-cost-usd"]) == (200, f"{_COST_NANO / 1e9:.9f}")
    told = until(
        lambda: [
            each["data"]
            for each in outside[0].told
            if each["type"] == "budget.exceeded" and each["data"]["subject"] == key["id"]
        ]
    )
    assert len(told) == 1
    assert "a provider billed more than was reserved" in told[0]["text"]
    shown = call("GET", running.url + "/admin/alerts?kind=exceeded", key=MASTER_KEY)[2]["data"]
    assert [each["kind"] for each in shown if each["subject"] == key["id"]] == ["exceeded"]
    page = call("GET", running.url + "/metrics")[2]
    assert float(page.split(b"\ngateway_reservation_exceeded_total ")[1].split()[0]) >= 1
