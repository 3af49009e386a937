"""Responses written beside the requests that made them, on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.errors import GatewayError
from gateway.services.responses.keeping import Keeping
from gateway.services.responses.service import Responses
from gateway.store.postgres import Postgres
from gateway.tasks import Tasks
from tests.integration.services.test_responses import MASTER, item, make_key, response


@pytest.fixture
async def tasks() -> AsyncIterator[Tasks]:
    made = Tasks()
    yield made
    await made.drain(0.0)


async def test_a_response_is_there_once_it_has_settled(postgres: Postgres, tasks: Tasks) -> None:
    responses = Responses(postgres)
    keeping = Keeping(responses, tasks)
    key, other = await make_key(postgres), await make_key(postgres)
    keeping.begin("resp_1", key, [item("msg_1")], response("resp_1"))
    assert not await responses.keeps("resp_2", key)
    await keeping.settled("resp_1")
    await keeping.settled("resp_1")
    await keeping.settled("resp_2")
    assert await responses.keeps("resp_1", key)
    assert await responses.keeps("resp_1", MASTER)
    assert not await responses.keeps("resp_1", other)
    assert not await responses.keeps("resp\0", key)


async def test_a_failure_is_logged_and_nobody_waits_for_ever(tasks: Tasks, caplog: pytest.LogCaptureFixture) -> None:
    class Away:
        async def store(self, *_: Any) -> bool:
            raise GatewayError("store_unavailable", "The database is away.")

        async def prune(self) -> int:
            raise GatewayError("store_unavailable", "The database is away.")

    away: Any = Away()
    keeping = Keeping(away, tasks)
    with caplog.at_level(logging.WARNING, "gateway.responses"):
        keeping.begin("resp_1", MASTER, [], response("resp_1"))
        await keeping.settled("resp_1")
        pruning = tasks.spawn(keeping.prune_for_ever(0.001), name="prune")
        await asyncio.sleep(0.05)
    assert not pruning.done()
    said = [record.getMessage() for record in caplog.records]
    assert said[0] == "the response resp_1 is not kept: The database is away."
    assert said.count("old responses are not removed: The database is away.") > 1


async def test_old_responses_are_removed_again_and_again(postgres: Postgres, tasks: Tasks) -> None:
    responses = Responses(postgres)
    tasks.spawn(Keeping(responses, tasks).prune_for_ever(0.01), name="prune")
    for name in ("resp_1", "resp_2"):
        assert await responses.store(name, MASTER, [], response(name))
        await postgres.execute("UPDATE gateway_responses SET expires_at = now() - interval '1 second'")
        async with asyncio.timeout(10):
            while await postgres.fetchval("SELECT count(*) FROM gateway_responses"):
                await asyncio.sleep(0.01)
