"""What a configuration changes of providers, models and limits stands in the audit log: once, by `config`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.providers.registry import PROVIDERS
from gateway.services.audit.service import AuditFilter, AuditLog, AuditRecord
from gateway.services.catalogue.service import Catalogue
from gateway.services.limits.service import Limits
from gateway.settings import Secret, Settings
from gateway.store.crypt import Cipher
from gateway.store.postgres import Postgres
from gateway.tasks import Tasks

KEY = bytes(range(32))


def settings(*, url: str = "http://127.0.0.1:9/v1", model: str = "small", rpm: int | None = 600) -> Settings:
    data: dict[str, Any] = {
        "providers": {"lab": {"type": "openai", "base_url": url, "api_key": Secret("env", "LAB_KEY")}},
        "models": [{"name": model, "targets": [{"provider": "lab", "model": "s-1"}]}],
    }
    if rpm is not None:
        data["limits"] = {"requests_per_minute": rpm}
    return Settings.model_validate(data)


class Declaring:
    """What a worker does with a configuration at its start and at a reload."""

    def __init__(self, postgres: Postgres, tasks: Tasks) -> None:
        self._catalogue = Catalogue(postgres, Cipher([KEY]), tasks, PROVIDERS)
        self._limits = Limits(postgres, tasks)
        self._log = AuditLog(postgres)
        self._seen = 0

    async def declare(self, wanted: Settings) -> None:
        await self._catalogue.declare(wanted)
        await self._limits.declare(wanted)

    async def noted(self) -> list[AuditRecord]:
        """The rows that are new since the last call, oldest first."""
        rows, _ = await self._log.page(AuditFilter(actor="config"), limit=1000)
        fresh = [row for row in reversed(rows) if row.id > self._seen]
        self._seen = max((row.id for row in rows), default=0)
        return fresh


@pytest.fixture
async def declaring(postgres: Postgres) -> AsyncIterator[Declaring]:
    tasks = Tasks()
    yield Declaring(postgres, tasks)
    await tasks.drain(0)


def told(rows: list[AuditRecord]) -> list[tuple[str, str]]:
    return [(row.action, row.object_type) for row in rows]


async def test_each_change_is_noted_once_with_what_it_was_and_is(declaring: Declaring) -> None:
    await declaring.declare(settings())
    assert told(await declaring.noted()) == [("created", "provider"), ("created", "model"), ("created", "limit")]
    await declaring.declare(settings())
    assert await declaring.noted() == []
    await declaring.declare(settings(url="http://127.0.0.1:10/v1", rpm=500))
    provider, limit = await declaring.noted()
    assert provider.before is not None
    assert provider.after is not None
    assert limit.before is not None
    assert limit.after is not None
    assert (provider.action, provider.object_type, provider.actor) == ("changed", "provider", "config")
    assert (provider.before["base_url"], provider.after["base_url"]) == (
        "http://127.0.0.1:9/v1",
        "http://127.0.0.1:10/v1",
    )
    assert provider.after["document"]["api_key"] == "env:LAB_KEY"
    assert (limit.object_id, limit.before["requests_per_minute"], limit.after["requests_per_minute"]) == (
        "config:global",
        600,
        500,
    )
    await declaring.declare(settings(url="http://127.0.0.1:10/v1", model="large", rpm=None))
    assert told(await declaring.noted()) == [("deleted", "model"), ("created", "model"), ("deleted", "limit")]
    await declaring.declare(settings(url="http://127.0.0.1:10/v1", model="small", rpm=None))
    back = await declaring.noted()
    assert sorted(told(back)) == [("created", "model"), ("deleted", "model")]


async def test_workers_that_start_at_once_note_it_once(postgres: Postgres, declaring: Declaring) -> None:
    tasks = Tasks()
    await asyncio.gather(*(Declaring(postgres, tasks).declare(settings()) for _ in range(4)))
    assert sorted(told(await declaring.noted())) == [
        ("created", "limit"),
        ("created", "model"),
        ("created", "provider"),
    ]
    await tasks.drain(0)
