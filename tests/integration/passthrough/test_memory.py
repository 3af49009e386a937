"""Two hundred megabytes up and down through a gateway process, whose memory stays flat."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path

import aiohttp
import psutil
import pytest

from tests.acceptance.gateway_process import MASTER_KEY, gateway
from tests.fake_openai import FakeOpenAI
from tests.integration.passthrough.conftest import CONFIG

SIZE = 200_000_000
BLOCK = bytes(range(256)) * 512
ALLOWED_MB = 25  # buffers on both sides, and what the allocator keeps


async def peak_growth_mb(process: psutil.Process, work: Awaitable[None]) -> float:
    """How far the resident memory rose above where it was, while `work` went on."""
    before = peak = process.memory_info().rss
    task = asyncio.ensure_future(work)
    while not task.done():
        peak = max(peak, process.memory_info().rss)
        await asyncio.wait((task,), timeout=0.01)
    await task
    return (peak - before) / 1e6


async def body(parts: tuple[bytes, ...]) -> AsyncIterator[bytes]:
    """A form of `SIZE` bytes of file between the parts given."""
    head, tail = parts
    yield head
    for start in range(0, SIZE, len(BLOCK)):
        yield BLOCK[: SIZE - start]
    yield tail


MODEL = b'--b\r\ncontent-disposition: form-data; name="model"\r\n\r\nears\r\n'
FILE = b'--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n'


@pytest.mark.timeout(240)
async def test_memory_is_flat_for_large_uploads_and_downloads(tmp_path: Path) -> None:
    config = tmp_path / "gateway.yaml"
    headers = {"authorization": f"Bearer {MASTER_KEY}"}
    form = {**headers, "content-type": "multipart/form-data; boundary=b"}
    digest = hashlib.sha256()
    for start in range(0, SIZE, len(BLOCK)):
        digest.update(BLOCK[: SIZE - start])
    async with FakeOpenAI().running() as provider:
        config.write_text(CONFIG.replace("URL", provider.url).replace("MORE", "server: {max_upload_mb: 512}"))
        with gateway(tmp_path / "home", config) as running:
            process = psutil.Process(running.process.pid)
            async with aiohttp.ClientSession() as session:

                async def upload(path: str, *parts: bytes) -> None:
                    url = running.url + path
                    async with session.post(url, data=body(parts), headers=form) as response:  # type: ignore[arg-type]
                        assert response.status == 200, await response.text()
                    assert provider.received[-1].form["file"][1:3] == (SIZE, digest.hexdigest())

                async def download(file_id: str) -> None:
                    provider.download_bytes = SIZE
                    size = 0
                    async with session.get(f"{running.url}/v1/files/{file_id}/content", headers=headers) as response:
                        async for chunk in response.content.iter_any():
                            size += len(chunk)
                    assert size == SIZE

                small = aiohttp.FormData({"purpose": "batch"}, default_to_multipart=True)
                small.add_field("file", b"x", filename="a")
                async with session.post(f"{running.url}/v1/files", data=small, headers=headers) as response:
                    file_id = (await response.json())["id"]
                end = b"\r\n--b--\r\n"
                grown = {
                    "straight through": await peak_growth_mb(process, upload("/v1/files", FILE, end)),
                    "spooled": await peak_growth_mb(
                        process, upload("/v1/audio/transcriptions", FILE, b"\r\n" + MODEL + b"--b--\r\n")
                    ),
                    "model first": await peak_growth_mb(process, upload("/v1/audio/transcriptions", MODEL + FILE, end)),
                    "download": await peak_growth_mb(process, download(file_id)),
                }
    print(grown)
    assert max(grown.values()) < ALLOWED_MB, grown
