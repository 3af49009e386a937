"""A gateway worker in this process, with real stores, in front of the OpenAI-like server."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.assembly import KEY_VARIABLES, STAGES, Ground, Worker
from gateway.services.keys.register import KeyTerms
from gateway.services.keys.secret import Secret, Secrets
from gateway.settings import load
from gateway.store import audit
from gateway.store.embedded import StoreAddresses
from gateway.store.postgres import Postgres
from tests.fake_openai import FakeOpenAI

MASTER = "sk-kc-master-passthrough-tests-0123456789"
ALL = ("default", "files", "uploads", "batches", "fine_tuning", "responses_stored")
CONFIG = """
providers:
  lab: {type: openai, base_url: URL, api_key: none}
  plain: {type: vllm, base_url: URL, api_key: none}
  claude: {type: anthropic, base_url: URL, api_key: none}
  demo: {type: demo}
models:
  - {name: gpt-4o-mini, targets: [{provider: lab, model: gpt-4o-mini}]}
  - {name: smart, targets: [{provider: lab, model: gpt-4o-mini}]}
  - {name: secret, targets: [{provider: lab, model: gpt-4o-mini}]}
  - {name: painter, targets: [{provider: lab, model: gpt-image-1}]}
  - {name: ears, targets: [{provider: lab, model: gpt-4o-mini-transcribe}]}
  - {name: voice, targets: [{provider: lab, model: tts-1}]}
  - {name: plain, targets: [{provider: plain, model: llama}]}
  - name: mixed
    targets: [{provider: plain, model: llama}, {provider: lab, model: gpt-4o-mini, priority: 1}]
  - {name: claude, targets: [{provider: claude, model: claude-sonnet-4-5}]}
  - {name: demo, targets: [{provider: demo, model: demo}]}
retries: {base_delay_ms: 1}
MORE
"""


@dataclass
class Site:
    """A running worker: where it is, what stands behind it, and keys for it."""

    worker: Worker
    provider: FakeOpenAI
    url: str
    home: Path
    session: aiohttp.ClientSession

    async def key(self, team: str | None = None, *, endpoints: tuple[str, ...] | None = ALL, **terms: Any) -> str:
        """A new key."""
        made = KeyTerms(name="test", team=team, endpoints=None if endpoints is None else list(endpoints), **terms)
        return (await self.worker.keys.register.create(made, audit.MASTER))[1]

    async def call(self, method: str, path: str, key: str | None, **options: Any) -> tuple[int, Any, Mapping[str, str]]:
        """Status, document (or bytes where it is no JSON), headers."""
        headers = {**options.pop("headers", {}), **({} if key is None else {"authorization": f"Bearer {key}"})}
        async with self.session.request(method, self.url + path, headers=headers, **options) as response:
            is_json = response.content_type == "application/json"
            return response.status, await response.json() if is_json else await response.read(), response.headers

    async def rows(self) -> list[dict[str, Any]]:
        """The ledger's rows, copied to the database, in the order of their making."""
        assert await self.worker.ledger.flush(10)
        rows = await self.worker.postgres.fetch("SELECT * FROM usage_costs ORDER BY timestamp, attempt")
        return [dict(row) for row in rows]


@asynccontextmanager
async def serving(
    home: Path, provider: FakeOpenAI, database: Mapping[str, Any], stores: StoreAddresses, more: str = ""
) -> AsyncIterator[Site]:
    """A worker on `home` whose provider `lab` is `provider`; `more` is YAML for the end of its configuration."""
    config = home / "gateway.yaml"
    config.write_text(CONFIG.replace("URL", provider.url).replace("MORE", more))
    assert stores.valkey is not None
    ground = Ground(
        home=home,
        config=config,
        postgres=database,
        listen=None,
        valkey=stores.valkey,
        secrets=Secrets(Secret.parse("the secret of these tests, long enough")),
        master_key=MASTER,
        worker="tests",
        workers=1,
        environ={},
        answering=(),
    )
    postgres = await Postgres.open(database, max_size=1)
    await postgres.execute("SELECT usage_costs_ensure_partitions(2)")  # made by the ledger beside its first copies
    await postgres.close()
    root = logging.getLogger()
    before = root.handlers[:], root.level
    worker = await Worker.open(ground, load(config, {}, KEY_VARIABLES.keys(), STAGES))
    try:
        await worker.serve("127.0.0.1", 0)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=50)) as session:
            yield Site(worker, provider, f"http://127.0.0.1:{worker.ports.port}", home, session)
    finally:
        await worker.close()
        root.handlers[:], level = before
        root.setLevel(level)


@pytest.fixture
async def provider() -> AsyncIterator[FakeOpenAI]:
    async with FakeOpenAI().running() as running:
        yield running


@pytest.fixture
async def site(
    tmp_path: Path, provider: FakeOpenAI, database_url: Mapping[str, Any], stores: StoreAddresses
) -> AsyncIterator[Site]:
    async with serving(tmp_path, provider, database_url, stores) as running:
        yield running


@pytest.fixture
def site_with(tmp_path: Path, provider: FakeOpenAI, database_url: Mapping[str, Any], stores: StoreAddresses) -> Any:
    """Starts a gateway with more configuration, on a home directory below the test's own."""

    @asynccontextmanager
    async def run(more: str, home: str = "home") -> AsyncIterator[Site]:
        (tmp_path / home).mkdir(exist_ok=True)
        async with serving(tmp_path / home, provider, database_url, stores, more) as site:
            yield site

    return run
