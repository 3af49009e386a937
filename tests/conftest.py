"""The stores of the tests: real servers, one pair for each test process, a fresh database for each test."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from gateway.store.embedded import EmbeddedStores, StoreAddresses
from gateway.store.migrate import apply
from gateway.store.postgres import Postgres
from gateway.store.valkey import Valkey

pytest_plugins = ("tests.shows",)

_TEMPLATE = "migrated_template"


@pytest.fixture(scope="session")
def stores() -> Iterator[StoreAddresses]:
    """The addresses of a running PostgreSQL and Valkey; the database in them is empty."""
    home = Path(tempfile.mkdtemp(prefix="kc-", dir="/tmp"))
    # Tests need no crash safety of this pair; those that do start their own.
    servers = EmbeddedStores(home, settings={"fsync": "off", "full_page_writes": "off"})
    try:
        yield asyncio.run(servers.start())
    finally:
        asyncio.run(servers.stop())
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def template_database(stores: StoreAddresses) -> str:
    """The name of a database with every migration applied, to be copied."""

    async def make() -> None:
        assert stores.postgres is not None
        await _administer(stores, f"CREATE DATABASE {_TEMPLATE}")
        postgres = await Postgres.open({**stores.postgres, "database": _TEMPLATE})
        try:
            await apply(postgres, kinds=("expand", "contract"))
        finally:
            await postgres.close()

    asyncio.run(make())
    return _TEMPLATE


@pytest.fixture
async def database_url(stores: StoreAddresses, template_database: str) -> AsyncIterator[Mapping[str, Any]]:
    """The connect arguments (for `Postgres.open`) of a fresh database with every migration applied."""
    assert stores.postgres is not None
    name = f"test_{uuid.uuid4().hex}"
    await _administer(stores, f"CREATE DATABASE {name} TEMPLATE {template_database} STRATEGY FILE_COPY")
    yield {**stores.postgres, "database": name}
    await _administer(stores, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def empty_database_url(stores: StoreAddresses) -> AsyncIterator[Mapping[str, Any]]:
    """The connect arguments of a fresh database with nothing in it."""
    assert stores.postgres is not None
    name = f"test_{uuid.uuid4().hex}"
    await _administer(stores, f"CREATE DATABASE {name}")
    yield {**stores.postgres, "database": name}
    await _administer(stores, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def postgres(database_url: Mapping[str, Any]) -> AsyncIterator[Postgres]:
    """A pool on a fresh database with every migration applied."""
    opened = await Postgres.open(database_url)
    yield opened
    await opened.close()


@pytest.fixture
async def valkey(stores: StoreAddresses) -> AsyncIterator[Valkey]:
    """An empty Valkey."""
    assert stores.valkey is not None
    opened = await Valkey.open(stores.valkey)
    await opened.client.flushall()
    yield opened
    await opened.close()


async def _administer(stores: StoreAddresses, statement: str) -> None:
    assert stores.postgres is not None
    connection = await asyncpg.connect(**stores.postgres)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
