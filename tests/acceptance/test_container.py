"""The image, built and run for real: needs root and a container tool (CONTAINER_TOOL, or beside the checkout)."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.acceptance.gateway_process import free_port

ROOT = Path(__file__).parents[2]
TOOL = Path(os.environ.get("CONTAINER_TOOL", ROOT.parent / "shared" / "tools" / "container"))
TAG = "kubechat-gateway:test"
USER = 10001

pytestmark = [
    pytest.mark.skipif(not TOOL.exists(), reason="no container tool"),
    pytest.mark.skipif(os.geteuid() != 0, reason="building an image needs root"),
    pytest.mark.timeout(600),
]


@pytest.fixture(scope="module")
def image() -> str:
    for command in ([TOOL, "base"], ["make", "dev-rebuild-api", f"IMAGE_BUILDER={TOOL} build", f"IMAGE={TAG}"]):
        built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert built.returncode == 0, built.stdout[-4000:] + built.stderr[-4000:]
    return TAG


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    os.chown(folder, USER, USER)
    return folder


@pytest.fixture
def container(image: str, data: Path) -> Iterator[tuple[str, Path, subprocess.Popen[bytes]]]:
    port = free_port()
    serve = ["kubechat-gateway", "serve", "--config", "/etc/gateway/gateway.yaml", "--host", "127.0.0.1"]
    command = [TOOL, "run", "--read-only", "-v", f"{data}:/data", image, *serve, "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        yield f"http://127.0.0.1:{port}", data, process
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)


async def until_ready(session: aiohttp.ClientSession, url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            async with session.get(f"{url}/readyz") as answer:
                if answer.status == 200:
                    return
        except aiohttp.ClientConnectionError:
            await asyncio.sleep(0.1)
    output = process.stdout.read() if process.poll() is not None and process.stdout else b""
    raise AssertionError(f"not ready: {output!r}")


async def test_the_image_serves_from_a_read_only_root_and_drains_on_sigterm(
    container: tuple[str, Path, subprocess.Popen[bytes]],
) -> None:
    url, data, process = container
    chat = {"model": "demo", "messages": [{"role": "user", "content": "Hello"}]}
    async with aiohttp.ClientSession() as session:
        await until_ready(session, url, process)
        headers = {"Authorization": f"Bearer {(data / 'master.key').read_text().strip()}"}
        async with session.post(f"{url}/v1/chat/completions", json=chat, headers=headers) as answer:
            assert answer.status == 200
            assert "demo model" in (await answer.json())["choices"][0]["message"]["content"]
        async with session.post(f"{url}/v1/chat/completions", json={**chat, "stream": True}, headers=headers) as answer:
            assert (await answer.read()).endswith(b"data: [DONE]\n\n")
        assert (data / "master.key").stat().st_uid == USER
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 60) == 0


def test_the_image_has_the_compiled_gateway_and_neither_pip_nor_a_compiler_nor_a_secret(image: str, data: Path) -> None:
    where = "import gateway.pipeline.pipeline as part; print(part.__file__)"
    script = f"command -v pip pip3 gcc cc; python -c 'import pip'; id -u; env; python -c '{where}'"
    ran = subprocess.run([TOOL, "run", image, "/bin/sh", "-c", script], capture_output=True, text=True, check=False)
    lines = ran.stdout.splitlines()
    assert lines[0] == str(USER)
    assert "No module named 'pip'" in ran.stderr
    assert not any("KEY=" in line for line in lines)
    assert lines[-1].endswith(".so")  # the request path is compiled
