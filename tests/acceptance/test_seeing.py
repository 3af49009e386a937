"""What an operator sees of a request: spans at a collector, bodies in the log where asked for, and never a secret."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.acceptance.gateway_process import MASTER_KEY, free_port, gateway

MASTER = {"Authorization": f"Bearer {MASTER_KEY}"}
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CHAT = {"model": "lab-model", "messages": [{"role": "user", "content": "Where is my pod?"}]}
ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "lab-model",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "In the node."}}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 4, "total_tokens": 9},
}


@dataclass
class Outside:
    """The provider and the collector; what each of them received."""

    port: int = 0
    headers: list[dict[str, str]] = field(default_factory=list)
    spans: list[Any] = field(default_factory=list)

    async def chat(self, request: web.Request) -> web.Response:
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        return web.json_response(ANSWER)

    async def traces(self, request: web.Request) -> web.Response:
        sent = ExportTraceServiceRequest.FromString(await request.read())
        for resource in sent.resource_spans:
            for scope in resource.scope_spans:
                self.spans.extend(scope.spans)
        return web.Response()


@pytest.fixture
async def outside() -> AsyncIterator[Outside]:
    there = Outside()
    app = web.Application()
    app.add_routes([web.post("/v1/chat/completions", there.chat), web.post("/v1/traces", there.traces)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    there.port = runner.addresses[0][1]
    yield there
    await runner.cleanup()


def configured(tmp_path: Path, outside: Outside, extra: str) -> Path:
    file = tmp_path / "gateway.yaml"
    file.write_text(
        f"""
providers:
  lab: {{type: openai, base_url: "http://127.0.0.1:{outside.port}/v1", api_key: env:LAB_KEY}}
models:
  - {{name: lab-model, targets: [{{provider: lab, model: lab-model}}]}}
{extra}
"""
    )
    return file


async def test_a_request_and_its_attempt_are_spans_of_the_clients_trace(tmp_path: Path, outside: Outside) -> None:
    extra = f"telemetry: {{enabled: true, endpoint: 'http://127.0.0.1:{outside.port}/v1/traces'}}"
    with gateway(tmp_path / "home", configured(tmp_path, outside, extra), env={"LAB_KEY": "sk-upstream-secret"}) as g:
        async with aiohttp.ClientSession(headers=MASTER) as session:
            sent = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
            async with session.post(f"{g.url}/v1/chat/completions", json=CHAT, headers=sent) as answer:
                assert answer.status == 200
            deadline = time.monotonic() + 30
            while len(outside.spans) < 2 and time.monotonic() < deadline:
                await asyncio.sleep(0.1)
    spans: list[Any] = outside.spans
    assert [span.trace_id.hex() for span in spans] == [TRACE, TRACE]
    upstream_parent = outside.headers[0]["traceparent"].split("-")
    attempt = next(span for span in spans if span.span_id.hex() == upstream_parent[2])
    request = next(span for span in spans if span is not attempt)
    assert upstream_parent[1] == TRACE
    assert attempt.parent_span_id == request.span_id
    assert request.parent_span_id.hex() == "00f067aa0ba902b7"
    attributes = {item.key: item.value for item in attempt.attributes}
    assert attributes["gen_ai.request.model"].string_value == "lab-model"
    assert attributes["gen_ai.usage.input_tokens"].int_value == 5


@pytest.mark.parametrize(("bodies", "seen"), [("none", False), ("all", True), ("errors", False)])
async def test_prompts_and_answers_are_logged_only_where_the_configuration_says_so(
    tmp_path: Path, outside: Outside, bodies: str, seen: bool
) -> None:
    config = configured(tmp_path, outside, f"logging: {{bodies: {bodies}}}")
    with gateway(tmp_path / "home", config, env={"LAB_KEY": "sk-upstream-secret"}) as g:
        async with (
            aiohttp.ClientSession(headers=MASTER) as session,
            session.post(f"{g.url}/v1/chat/completions", json=CHAT) as answer,
        ):
            assert answer.status == 200
        assert g.stop() == 0
        assert ("Where is my pod?" in g.log) is seen
        assert ("In the node." in g.log) is seen
        assert "sk-upstream-secret" not in g.log
        assert MASTER_KEY not in g.log
        assert outside.headers[0]["authorization"] == "Bearer sk-upstream-secret"


async def test_the_request_line_tells_the_story(tmp_path: Path, outside: Outside) -> None:
    config = configured(tmp_path, outside, "")
    with gateway(tmp_path / "home", config, env={"LAB_KEY": "sk-upstream-secret"}) as g:
        headers = {**MASTER, "x-request-id": "client-id-1"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.post(f"{g.url}/v1/chat/completions", json=CHAT) as answer,
        ):
            assert answer.headers["x-request-id"] == "client-id-1"
            own_id = answer.headers["x-gateway-request-id"]
        assert g.stop() == 0
        [line] = [line for line in g.log_lines() if line["msg"] == "request"]
        assert line["request_id"] == own_id
        assert line["client_request_id"] == "client-id-1"
        assert (line["model"], line["provider"], line["status"]) == ("lab-model", "lab", 200)
        assert (line["prompt_tokens"], line["completion_tokens"], line["attempts"]) == (5, 4, 1)


async def test_a_breaker_that_one_worker_opened_is_seen_at_every_worker(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(
        "retries: {attempts: 1}\n"
        "breaker: {consecutive_failures: 1, open_s: 60}\n"
        f"providers: {{dead: {{type: openai, base_url: 'http://127.0.0.1:{free_port()}/v1', api_key: none}}}}\n"
        "models: [{name: gone, targets: [{provider: dead, model: gone}]}]\n"
    )

    async def fail(url: str, model: str) -> None:
        async with (
            aiohttp.ClientSession(headers=MASTER) as session,
            session.post(f"{url}/v1/chat/completions", json={**CHAT, "model": model}) as answer,
        ):
            assert answer.status in (502, 503)

    async def states(url: str) -> dict[str, dict[str, Any]]:
        async with aiohttp.ClientSession(headers=MASTER) as session, session.get(f"{url}/admin/targets") as answer:
            return {one["target"]: one for one in (await answer.json())["data"]}

    with gateway(tmp_path / "home", file, workers=2) as running:
        await fail(running.url, "gone")
        await fail(running.url, "dead/undeclared")
        await asyncio.sleep(2)  # a worker's figures are up to a second old for the other
        for _ in range(20):  # a new connection each time: both workers are asked
            seen = await states(running.url)
            assert {name: (one["declared"], one["breaker"]) for name, one in seen.items()} == {
                "dead/gone": (True, "open"),
                "dead/undeclared": (False, "open"),
            }
            assert seen["dead/gone"]["workers"] == {"closed": 1, "half_open": 0, "open": 1}
            assert 0 < seen["dead/gone"]["retry_in_s"] <= 60


async def test_what_a_start_and_a_reload_declare_is_in_the_audit_log_once_however_many_workers_read_it(
    tmp_path: Path,
) -> None:
    file = tmp_path / "gateway.yaml"
    text = (
        "limits: {requests_per_minute: 600}\n"
        "providers: {demo: {type: demo}}\n"
        "models: [{name: demo, targets: [{provider: demo, model: demo}]}]\n"
    )
    file.write_text(text)

    async def noted(url: str) -> list[tuple[str, str]]:
        async with (
            aiohttp.ClientSession(headers=MASTER) as session,
            session.get(f"{url}/admin/audit?actor=config") as a,
        ):
            return [(one["action"], one["object_type"]) for one in reversed((await a.json())["data"])]

    with gateway(tmp_path / "home", file, workers=2) as running:
        declared = [("created", "provider"), ("created", "model"), ("created", "limit")]
        assert await noted(running.url) == declared
        file.write_text(text.replace("600", "500"))
        deadline = time.monotonic() + 20
        while len(await noted(running.url)) < 4 and time.monotonic() < deadline:
            await asyncio.sleep(0.1)
        await asyncio.sleep(2)  # the other worker has read it, too
        assert await noted(running.url) == [*declared, ("changed", "limit")]
