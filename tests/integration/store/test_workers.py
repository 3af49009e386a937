"""Who is registered, on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import uuid

from gateway.store.postgres import Postgres
from gateway.store.workers import WorkerRegister


async def hired(postgres: Postgres) -> tuple[WorkerRegister, str]:
    worker = str(uuid.uuid4())
    register = WorkerRegister(postgres, worker, "1")
    await register.beat()
    return register, worker


async def has_ended(postgres: Postgres, worker: str) -> bool:
    ended: bool = await postgres.fetchval(
        "SELECT settled_at IS NOT NULL FROM gateway_workers WHERE id = $1", uuid.UUID(worker)
    )
    return ended


async def test_a_worker_that_has_ended_is_not_heard_of_again(postgres: Postgres) -> None:
    register, worker = await hired(postgres)
    assert not await has_ended(postgres, worker)
    await asyncio.gather(register.beat(), register.ended(), register.beat())
    await register.beat()
    assert await has_ended(postgres, worker)


async def test_one_that_was_given_up_and_lives_is_heard_of_again(postgres: Postgres) -> None:
    register, worker = await hired(postgres)
    other, _ = await hired(postgres)
    await other.settled(worker)
    assert await has_ended(postgres, worker)
    await register.beat()
    assert not await has_ended(postgres, worker)


async def test_holders_are_the_others_that_began_to_hold_and_have_not_ended(postgres: Postgres) -> None:
    asking, _ = await hired(postgres)
    holding, held_by = await hired(postgres)
    ended, _ = await hired(postgres)
    await hired(postgres)  # has only started
    for each in (asking, holding, ended):
        await each.hold()
    await ended.ended()
    assert await asking.holders() == [held_by]
    await postgres.execute("UPDATE gateway_workers SET last_seen = now() - interval '20 hours'")
    assert await asking.holders() == [held_by]  # however long nobody has heard of it
    await asking.settled(held_by)
    assert await asking.holders() == []
