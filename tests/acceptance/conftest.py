"""One gateway and its upstreams for all tests that only talk to it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.provider_serving import Provided, serving_providers
from tests.acceptance.served import Served, serving


@pytest.fixture(scope="session")
def served() -> Iterator[Served]:
    """A gateway in front of llmock and of the small server of our own."""
    folder = Path(tempfile.mkdtemp(prefix="kc-", dir="/tmp"))  # short: sockets live under it
    try:
        with serving(folder) as running:
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def provided() -> Iterator[Provided]:
    """A gateway in front of every provider that can be had here."""
    with serving_providers() as running:
        yield running
