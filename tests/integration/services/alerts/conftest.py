"""A pool for webhooks."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway.upstream.pool import Pool


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    made = Pool(max_connections_per_origin=20, max_idle_per_origin=5, idle_timeout_s=30.0)
    yield made
    await made.close()
