"""What `serve` does by itself: with no configuration, at a terminal, beside a local model server."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest

from tests.acceptance.gateway_process import MASTER_KEY, GatewayProcess, gateway

MASTER = {"Authorization": f"Bearer {MASTER_KEY}"}


async def ask(running: GatewayProcess, model: str) -> tuple[int, dict[str, object]]:
    """The status and the body of a chat's answer."""
    body = {"model": model, "messages": [{"role": "user", "content": "Hello"}]}
    async with (
        aiohttp.ClientSession(headers=MASTER) as session,
        session.post(f"{running.url}/v1/chat/completions", json=body) as answer,
    ):
        return answer.status, await answer.json()


@pytest.mark.parametrize("workers", [1, 2])
async def test_without_a_configuration_it_serves_the_demo_model(tmp_path: Path, workers: int) -> None:
    with gateway(tmp_path / "home", None, workers=workers) as running:
        assert "models: demo" in running.output
        status, body = await ask(running, "demo")
        assert (status, body["object"]) == (200, "chat.completion")
        assert running.stop() == 0
