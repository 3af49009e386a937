"""Clients that go where `upstream.on_client_gone` is `finish`: the account is that of the whole answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from gateway.store.embedded import StoreAddresses
from tests.fake_openai import FakeOpenAI, Fault, cut_after, fail
from tests.integration.passthrough.conftest import MASTER, Site, serving

CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}
BY_CHAT = {"model": "plain", "input": "hi"}
ITS_OWN = {"model": "gpt-4o-mini", "input": "hi"}


@pytest.fixture
async def patient(
    tmp_path: Path, provider: FakeOpenAI, database_url: Mapping[str, Any], stores: StoreAddresses
) -> AsyncIterator[Site]:
    """A site whose calls are finished unheard."""
    async with serving(tmp_path, provider, database_url, stores, "upstream: {on_client_gone: finish}") as running:
        yield running


async def _leave(site: Site, path: str, body: dict[str, Any], key: str) -> None:
    async with site.session.post(site.url + path, json=body, headers={"authorization": f"Bearer {key}"}) as answer:
        assert await answer.content.readany()
        answer.close()


async def _stay(site: Site, path: str, body: dict[str, Any], key: str) -> None:
    async with site.session.post(site.url + path, json=body, headers={"authorization": f"Bearer {key}"}) as answer:
        assert answer.status == 200
        await answer.read()


async def _idle(site: Site) -> None:
    async with asyncio.timeout(10):
        while site.worker.gate.in_flight:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("path", "body"), [("/v1/chat/completions", CHAT), ("/v1/responses", BY_CHAT), ("/v1/responses", ITS_OWN)]
)
async def test_a_stream_that_its_client_left_is_metered_by_its_own_usage(
    patient: Site, path: str, body: dict[str, Any]
) -> None:
    site = patient
    key = await site.key("red")
    asked = {**body, "stream": True}
    await _stay(site, path, asked, key)
    site.provider.pause_s = 0.2
    await _leave(site, path, asked, key)
    await _idle(site)
    heard, left = await site.rows()
    assert (left["outcome"], left["status"], left["estimated"]) == ("ok", 200, False)
    for figure in ("input_tokens", "output_tokens", "cost_nano_usd"):
        assert left[figure] == heard[figure]
    assert left["output_tokens"] > 0


@pytest.mark.parametrize(
    ("path", "body", "answer"),
    [
        ("/v1/chat/completions", CHAT, {"choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 7}}),
        ("/v1/responses", ITS_OWN, {"id": "resp_1", "usage": {"input_tokens": 11, "output_tokens": 7}}),
    ],
)
async def test_a_whole_answer_that_its_client_did_not_wait_for_is_metered_by_its_own_usage(
    patient: Site, path: str, body: dict[str, Any], answer: dict[str, Any]
) -> None:
    site = patient
    key = await site.key("red", allowances={"max_concurrency": 1})
    await site.worker.governance.limits.load()
    asked, go = asyncio.Event(), asyncio.Event()

    async def wait(request: web.Request) -> web.StreamResponse:
        await request.read()
        asked.set()
        await go.wait()
        return web.json_response(answer)

    site.provider.faults.append(wait)
    asking = asyncio.ensure_future(site.call("POST", path, key, json=body))
    async with asyncio.timeout(10):
        await asked.wait()
    asking.cancel()
    await asyncio.wait((asking,))
    async with asyncio.timeout(10):
        while site.worker.gate.connections:
            await asyncio.sleep(0.01)
    status, refused, _ = await site.call("POST", path, key, json=body)
    assert (status, refused["error"]["code"]) == (429, "concurrency_limit_exceeded")
    go.set()
    await _idle(site)
    assert (await site.call("POST", path, key, json=body))[0] == 200
    left, _ = await site.rows()
    assert (left["outcome"], left["status"], left["estimated"]) == ("ok", 200, False)
    assert (left["input_tokens"], left["output_tokens"]) == (11, 7)


@pytest.mark.parametrize("fault", [fail(500), cut_after(b"data: {}\n\n")])
async def test_what_fails_unheard_is_written_down_as_a_failure_and_not_tried_again(patient: Site, fault: Fault) -> None:
    site = patient
    asked, go = asyncio.Event(), asyncio.Event()

    async def wait(request: web.Request) -> web.StreamResponse:
        asked.set()
        await go.wait()
        return await fault(request)

    site.provider.faults.append(wait)
    key = await site.key("red")
    asking = asyncio.ensure_future(site.call("POST", "/v1/responses", key, json=ITS_OWN))
    async with asyncio.timeout(10):
        await asked.wait()
    asking.cancel()
    await asyncio.wait((asking,))
    async with asyncio.timeout(10):
        while site.worker.gate.connections:
            await asyncio.sleep(0.01)
    go.set()
    await _idle(site)
    (row,) = await site.rows()
    assert (row["outcome"], row["final"]) == ("error", True)
    assert row["error_code"] in ("upstream_5xx", "upstream_truncated")


async def test_a_provider_made_over_the_admin_api_may_be_heard_out_too(site: Site) -> None:
    body = {"name": "far", "type": "openai", "base_url": "https://far.example/v1", "on_client_gone": "finish"}
    status, made, _ = await site.call("POST", "/admin/providers", MASTER, json=body)
    assert status == 201, made
    assert made["on_client_gone"] == "finish"
    async with asyncio.timeout(10):
        while "far" not in site.worker.in_force.accounts:
            await asyncio.sleep(0.01)
    assert site.worker.in_force.accounts["far"].finishes
    body["name"], body["on_client_gone"] = "near", "perhaps"
    status, refused, _ = await site.call("POST", "/admin/providers", MASTER, json=body)
    assert (status, refused["error"]["param"]) == (400, "on_client_gone")
