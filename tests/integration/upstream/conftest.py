"""The client is tested on the loop that it runs on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
import uvloop

from gateway.upstream.pool import Pool


def pytest_asyncio_loop_factories(config: Any, item: Any) -> Mapping[str, Callable[[], Any]]:
    """uvloop, as in production."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    """A pool that must be empty again once it is closed."""
    made = Pool(max_connections_per_origin=50, max_idle_per_origin=20, idle_timeout_s=30.0)
    yield made
    await made.close()
    assert (made.open, made.idle, made.waiting) == (0, 0, 0)
