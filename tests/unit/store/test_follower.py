"""A follower reads what changed, and goes on until it has."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest

from gateway.errors import GatewayError
from gateway.store.follower import Follower
from gateway.tasks import Tasks

ONE, TWO = uuid.UUID(int=1), uuid.UUID(int=2)


@pytest.fixture
async def tasks() -> AsyncIterator[Tasks]:
    made = Tasks()
    yield made
    await made.drain(0)


class Reads:
    """What was read; each read waits for `go`, and the first `failures` fail."""

    def __init__(self, failures: int = 0) -> None:
        self.calls: list[frozenset[uuid.UUID] | None] = []
        self.failures = failures
        self.go = asyncio.Event()

    async def __call__(self, changed: frozenset[uuid.UUID] | None) -> None:
        self.calls.append(changed)
        await self.go.wait()
        if self.failures:
            self.failures -= 1
            raise GatewayError("store_unavailable", "The database is away.")


async def test_what_is_heard_while_something_is_read_is_read_afterwards_and_at_once(tasks: Tasks) -> None:
    reads = Reads()
    follower = Follower("things", reads, tasks)
    follower.on_change(f"things:{ONE}")
    await asyncio.sleep(0)
    follower.on_change(f"things:{ONE}")
    follower.on_change(f"things:{TWO}")
    follower.on_change(f"others:{TWO}")
    reads.go.set()
    await follower.catch_up(TWO)
    assert reads.calls == [{ONE}, {ONE, TWO}]


@pytest.mark.parametrize("payload", ["reload", "things:reload"])
async def test_after_a_gap_everything_is_read(tasks: Tasks, payload: str) -> None:
    reads = Reads()
    reads.go.set()
    follower = Follower("things", reads, tasks)
    follower.on_change(payload)
    follower.on_change("others:reload")
    await follower.catch_up(ONE)
    assert reads.calls == [None]


async def test_what_could_not_be_read_is_read_again(tasks: Tasks) -> None:
    reads = Reads(failures=2)
    reads.go.set()
    await Follower("things", reads, tasks).catch_up(ONE)
    assert reads.calls == [{ONE}] * 3


async def test_nobody_waits_long_for_a_database_that_is_away(tasks: Tasks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.store.follower._WAIT_S", 0.05)
    await asyncio.wait_for(Follower("things", Reads(), tasks).catch_up(ONE), 5)
