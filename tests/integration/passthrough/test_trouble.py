"""Bad input, broken streams, clients that leave: an answer that says so, an account that is closed, nothing left."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.store.embedded import StoreAddresses
from tests.fake_openai import FakeOpenAI, cut_after
from tests.integration.passthrough.conftest import MASTER, Site, serving

FORM = {"content-type": "multipart/form-data; boundary=b"}
MODEL = b'--b\r\ncontent-disposition: form-data; name="model"\r\n\r\nears\r\n'
FILE = b'--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\nRIFF\r\n'
JSON = {"content-type": "application/json"}


async def until(true: Callable[[], bool], timeout_s: float = 5.0) -> float:
    """Wait for it; the seconds that it took."""
    began = time.perf_counter()
    while not true():
        assert time.perf_counter() - began < timeout_s
        await asyncio.sleep(0.005)
    return time.perf_counter() - began


@pytest.mark.parametrize(
    ("path", "headers", "body", "status", "code"),
    [
        ("/responses", JSON, b"{", 400, "invalid_json"),
        ("/responses", JSON, b"[]", 400, "invalid_json"),
        ("/responses", JSON, b"", 400, "invalid_json"),
        ("/responses", JSON, b'{"input": "x"}', 400, "missing_field"),
        ("/responses", JSON, b'{"model": 7}', 400, "invalid_field"),
        ("/responses", JSON, b'{"model": ""}', 400, "invalid_field"),
        ("/responses", JSON, b'{"model": "smart", "stream": "yes"}', 400, "invalid_field"),
        ("/responses", JSON, b'{"model": "nobody"}', 404, "model_not_found"),
        ("/responses", {"content-type": "text/plain"}, b"{}", 415, "unsupported_media_type"),
        ("/responses", {**JSON, "content-encoding": "gzip"}, b"{}", 415, "unsupported_media_type"),
        ("/responses", JSON, b"[" * 3000, 400, "invalid_json"),
        ("/responses", JSON, b"\xff\xfe", 400, "invalid_json"),
        ("/audio/transcriptions", JSON, b"{}", 415, "unsupported_media_type"),
        ("/audio/transcriptions", {"content-type": "multipart/form-data"}, b"", 400, "invalid_request"),
        ("/audio/transcriptions", FORM, b"", 400, "invalid_request"),
        ("/audio/transcriptions", FORM, b"--b--\r\n", 400, "missing_field"),
        ("/audio/transcriptions", FORM, FILE + b"--b--\r\n", 400, "missing_field"),
        ("/audio/transcriptions", FORM, MODEL + FILE, 400, "invalid_request"),
        ("/audio/transcriptions", FORM, MODEL + FILE + b"--bx\r\n", 400, "invalid_request"),
        ("/audio/transcriptions", FORM, MODEL + FILE + b"--b--\r\nmore", 400, "invalid_request"),
        ("/audio/transcriptions", FORM, MODEL + MODEL + FILE + b"--b--", 400, "invalid_field"),
        ("/audio/transcriptions", FORM, b"garbage", 400, "invalid_request"),
        ("/audio/transcriptions", FORM, b"--b\r\n" + b"x" * 9000, 400, "invalid_request"),
        ("/files", FORM, FILE, 400, "invalid_request"),
        ("/files", JSON, b"{}", 415, "unsupported_media_type"),
    ],
)
async def test_malformed_bodies_are_named(
    site: Site, path: str, headers: dict[str, str], body: bytes, status: int, code: str
) -> None:
    got, answer, _ = await site.call("POST", f"/v1{path}", MASTER, data=body, headers=headers)
    assert (got, answer["error"]["code"]) == (status, code), answer
    assert answer["error"]["request_id"]


async def test_a_form_that_breaks_behind_its_model_is_refused_though_it_was_on_its_way(site: Site) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield MODEL + FILE[:-2]
        for _ in range(20):
            yield b"x" * 50_000
            await asyncio.sleep(0)
        yield b"\r\n--bad"

    status, answer, _ = await site.call("POST", "/v1/audio/transcriptions", MASTER, data=body(), headers=FORM)
    assert (status, answer["error"]["code"]) == (400, "invalid_request")
    (row,) = await site.rows()
    assert (row["outcome"], row["error_code"]) == ("error", "invalid_request")


@pytest.mark.parametrize(
    "path",
    [
        "/files/..%2Fmodels",
        "/files/%2e%2e",
        "/files/a%2Fb",
        "/files/a%3Fb=c",
        "/files/a%0d%0ax",
        "/files/" + "a" * 257,
        "/files/%C3%A9",
    ],
)
async def test_an_id_cannot_leave_its_place_in_the_path(site: Site, path: str) -> None:
    import yarl

    url = yarl.URL(f"{site.url}/v1{path}", encoded=True)
    async with site.session.get(url, headers={"authorization": f"Bearer {MASTER}"}) as response:
        assert response.status in (400, 404)
    assert site.provider.received == []


async def test_a_query_is_encoded_anew(site: Site) -> None:
    await site.call("GET", "/v1/fine_tuning/jobs/ftjob-1/events?limit=2&after=a%26b%3Dc%20%23%2F..", MASTER)
    assert site.provider.received[-1].query == "limit=2&after=a%26b%3Dc+%23%2F.."


async def test_without_a_provider_for_it_the_setting_is_named(
    tmp_path: Path, provider: FakeOpenAI, database_url: Mapping[str, Any], stores: StoreAddresses
) -> None:
    async with serving(tmp_path, provider, database_url, stores) as site:
        config = (tmp_path / "gateway.yaml").read_text()
        two = config.replace(
            "  demo: {type", f"  other: {{type: openai, base_url: {provider.url}, api_key: none}}\n  demo: {{type"
        )
        (tmp_path / "gateway.yaml").write_text(two)
        await site.worker.reload()
        status, answer, _ = await site.call("POST", "/v1/moderations", MASTER, json={"input": "x"})
        assert (status, answer["error"]["code"]) == (400, "no_provider")
        assert "passthrough.provider" in answer["error"]["message"]
        (tmp_path / "gateway.yaml").write_text(two + "passthrough: {provider: other}\n")
        await site.worker.reload()
        status, _, headers = await site.call("POST", "/v1/moderations", MASTER, json={"input": "x"})
        assert (status, headers["x-gateway-provider"]) == (200, "other")


async def test_sizes_and_times_are_limited(
    tmp_path: Path, provider: FakeOpenAI, database_url: Mapping[str, Any], stores: StoreAddresses
) -> None:
    more = "server: {max_upload_mb: 2, max_body_mb: 1, body_timeout_s: 1}\n"
    more += "passthrough: {spool_max_mb: 1, spool_memory_kb: 64}"
    async with serving(tmp_path, provider, database_url, stores, more) as site:

        async def body(size: int, head: bytes = FILE[:-2], *, stop: bool = False) -> AsyncIterator[bytes]:
            yield head
            for _ in range(size // 50_000):
                yield b"x" * 50_000
            if stop:
                await asyncio.sleep(30)

        for path, content, wanted in (
            ("/files", body(3_000_000), 413),
            ("/audio/transcriptions", body(1_500_000), 413),  # the spool
            ("/audio/transcriptions", body(3_000_000, MODEL + FILE[:-2]), 413),
            ("/audio/transcriptions", body(100_000, stop=True), 408),
            ("/audio/transcriptions", body(100_000, MODEL + FILE[:-2], stop=True), 408),
        ):
            async with asyncio.timeout(10):
                status, answer, _ = await site.call("POST", f"/v1{path}", MASTER, data=content, headers=FORM)
            assert (status, answer["error"]["code"]) == (
                wanted,
                "body_too_large" if wanted == 413 else "request_timeout",
            )
        big = b'{"model": "smart", "input": "' + b"x" * 1_100_000
        status, answer, _ = await site.call("POST", "/v1/responses", MASTER, data=iter_bytes(big), headers=JSON)
        assert status == 413
        assert list((tmp_path / "tmp").iterdir()) == []


async def iter_bytes(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 65_536):
        yield data[start : start + 65_536]


async def test_a_broken_stream_ends_in_an_error_event_with_the_request_id(site: Site) -> None:
    response = b'{"id":"resp_9","model":"gpt-4o-mini"}'
    first = b'event: response.created\ndata: {"type":"response.created","response":%b}\n\n' % response
    delta = b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":"Hel"}\n\n'
    site.provider.faults.append(cut_after(first + delta + b"event: resp"))
    key = await site.key("red")
    body = {"model": "smart", "input": "x", "stream": True}
    status, raw, headers = await site.call("POST", "/v1/responses", key, json=body)
    assert status == 200
    *_, last = raw.decode().strip().split("\n\n")
    name, data = last.split("\n")
    assert name == "event: error"
    event = json.loads(data.removeprefix("data: "))
    assert (event["type"], event["code"]) == ("error", "upstream_truncated")
    assert event["error"]["request_id"] == headers["x-request-id"]
    (row,) = await site.rows()
    assert (row["outcome"], row["error_code"], row["final"], row["estimated"]) == (
        "error",
        "upstream_truncated",
        True,
        True,
    )
    # Owned since its first event, though its end was never seen.
    assert site.provider.received[-1].path == "/v1/responses"
    owned = await site.worker.postgres.fetchval("SELECT count(*) FROM gateway_objects WHERE object_id = 'resp_9'")
    assert owned == 1


async def test_a_stream_that_breaks_before_its_first_event_is_tried_again_unseen(site: Site) -> None:
    site.provider.faults.append(cut_after(b": hold on\n"))
    body = {"model": "smart", "input": "x", "stream": True}
    _, raw, headers = await site.call("POST", "/v1/responses", MASTER, json=body)
    assert headers["x-gateway-attempts"] == "2"
    assert b"response.completed" in raw
    assert b"event: error" not in raw


async def test_bytes_that_end_early_break_the_connection(site: Site) -> None:
    site.provider.faults.append(cut_after(b"ID3 half", "audio/mpeg"))
    with pytest.raises(aiohttp.ClientError):
        await site.call("POST", "/v1/audio/speech", MASTER, json={"model": "voice", "input": "x", "voice": "a"})
    (row,) = await site.rows()
    assert (row["outcome"], row["error_code"]) == ("error", "upstream_truncated")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/responses", {"model": "smart", "input": "x", "stream": True}),
        ("/v1/audio/speech", {"model": "voice", "input": "x", "voice": "a"}),
    ],
)
async def test_a_client_that_leaves_takes_the_upstream_call_with_it(
    site: Site, path: str, body: dict[str, Any]
) -> None:
    site.provider.pause_s = 0.2
    key = await site.key()
    response = await site.session.post(site.url + path, json=body, headers={"authorization": f"Bearer {key}"})
    await response.content.readany()
    response.close()
    took_s = await until(lambda: site.provider.received[-1].cut)
    assert took_s < 0.5  # 0.1 on an idle machine
    (row,) = await site.rows()
    assert (row["outcome"], row["error_code"], row["final"]) == ("client_gone", "client_gone", True)


async def test_a_client_that_leaves_while_it_uploads_takes_the_upstream_call_with_it(site: Site) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield MODEL + FILE[:-2] + b"x" * 100_000
        await asyncio.sleep(60)

    work = asyncio.get_running_loop().create_task(
        site.call("POST", "/v1/audio/transcriptions", await site.key(), data=body(), headers=FORM)
    )
    await until(lambda: bool(site.provider.received))
    work.cancel()
    await until(lambda: site.provider.received[-1].cut or not site.worker._pool.open)
    await until(lambda: site.worker.gate.in_flight == 0)
    (row,) = await site.rows()
    assert row["outcome"] == "client_gone"


async def test_a_client_that_leaves_while_the_provider_takes_nothing_is_noticed_all_the_same(site: Site) -> None:
    async def deaf(request: aiohttp.web.Request) -> aiohttp.web.StreamResponse:
        assert request.transport is not None
        request.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(30)
        return aiohttp.web.Response()

    site.provider.faults.append(deaf)
    _, writer = await asyncio.open_connection("127.0.0.1", site.worker.ports.port)
    head = f"POST /v1/audio/transcriptions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {await site.key()}\r\n"
    head += f"content-type: {FORM['content-type']}\r\ncontent-length: 100000000\r\n\r\n"
    writer.write(head.encode() + MODEL + FILE[:-2])
    stood_at = -1
    while (waiting := writer.transport.get_write_buffer_size()) != stood_at or not waiting:
        stood_at = waiting
        if waiting < 1_000_000:
            writer.write(b"x" * 1_000_000)
        await asyncio.sleep(0.3)
    assert len(site.provider.received) == 1
    # An ordinary end would queue behind what the gateway does not read: nobody could see it.
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    assert await until(lambda: site.worker.gate.in_flight == 0) < 0.5  # 0.1 on an idle machine
    (row,) = await site.rows()
    assert row["outcome"] == "client_gone"


async def test_html_with_a_good_status_is_a_bad_answer(site: Site) -> None:
    async def html(request: aiohttp.web.Request) -> aiohttp.web.StreamResponse:
        return aiohttp.web.Response(text="<html>", content_type="text/html")

    site.provider.faults.append(html)
    status, answer, _ = await site.call("POST", "/v1/moderations", MASTER, json={"input": "x"})
    assert (status, answer["error"]["code"]) == (502, "upstream_bad_answer")
