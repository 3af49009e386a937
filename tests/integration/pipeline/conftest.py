"""A governed pipeline for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway.store.postgres import Postgres
from gateway.store.valkey import Valkey
from tests.integration.pipeline.site import Site, opened


@pytest.fixture
async def site(postgres: Postgres, valkey: Valkey) -> AsyncIterator[Site]:
    """Nothing is limited in it yet."""
    async with opened(postgres, valkey) as made:
        yield made
