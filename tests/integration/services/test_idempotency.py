"""Requests that are answered once, on a real PostgreSQL: claims, leases, twins and what is kept."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.errors import GatewayError
from gateway.services.idempotency.answer import Answer
from gateway.services.idempotency.service import Asked, Claim, Idempotency, IdempotencyOptions
from gateway.store.crypt import Cipher
from gateway.store.postgres import Postgres
from gateway.tasks import Tasks

SECRET, BEFORE = b"s" * 32, b"b" * 32
SLOW = IdempotencyOptions(lease_s=30, look_every_s=30)
QUICK = IdempotencyOptions(lease_s=0.3, look_every_s=0.05)
ANSWER = Answer(200, [(b"content-type", b"application/json"), (b"x-gateway-model", b"caf\xe9")], b'{"a": "\n\x00"}')
PATIENCE_S = 20.0


@pytest.fixture
async def tasks() -> AsyncIterator[Tasks]:
    made = Tasks()
    yield made
    await made.drain(0.0)


def worker(postgres: Postgres, options: IdempotencyOptions = SLOW, *keys: bytes) -> Idempotency:
    """What another worker would have: an object of its own."""
    return Idempotency(postgres, Cipher(keys or [SECRET]), keys or [SECRET], options)


async def first(service: Idempotency, asked: Asked) -> Claim:
    found = await service.join(asked, str(uuid.uuid4()), PATIENCE_S)
    assert isinstance(found, Claim)
    return found


async def again(service: Idempotency, asked: Asked, patience_s: float = PATIENCE_S) -> Any:
    """What a twin is told: the answer, a claim, or the failure's code."""
    try:
        return await service.join(asked, str(uuid.uuid4()), patience_s)
    except GatewayError as error:
        return error.code


async def test_what_is_kept_comes_back_exactly_in_every_worker(postgres: Postgres) -> None:
    service = worker(postgres)
    asked = service.read("key", "/v1/chat/completions", b"once", b"body")
    claim = await first(service, asked)
    await service.mark_sent(claim)
    await service.keep(claim, ANSWER)
    assert await again(service, asked) == ANSWER
    assert await again(worker(postgres), asked) == ANSWER
    row = await postgres.fetchrow("SELECT * FROM gateway_idempotent_requests")
    assert row is not None
    assert b"content-type" not in row["answer"]
    assert b"once" not in row["scope"]


@pytest.mark.parametrize(
    "other", [("other", "/p", b"k"), ("key", "/other", b"k"), ("key", "/p", b"other"), (None, "/p", b"k")]
)
async def test_another_api_key_path_or_header_is_another_request(
    postgres: Postgres, other: tuple[str | None, str, bytes]
) -> None:
    service = worker(postgres)
    await first(service, service.read("key", "/p", b"k", b"body"))
    await first(service, service.read(*other, b"body"))


async def test_another_body_under_the_same_key_is_refused_at_once(postgres: Postgres) -> None:
    service = worker(postgres)
    claim = await first(service, service.read("key", "/p", b"k", b"body"))
    other = service.read("key", "/p", b"k", b"another")
    assert await again(service, other) == "idempotency_key_reused"
    await service.mark_sent(claim)
    await service.keep(claim, ANSWER)
    assert await again(service, other) == "idempotency_key_reused"


async def test_twins_wait_here_and_elsewhere_and_are_woken(postgres: Postgres, tasks: Tasks) -> None:
    here, there = worker(postgres), worker(postgres)
    await here.open(tasks)
    await there.open(tasks)
    asked = here.read("key", "/p", b"k", b"body")
    claim = await first(here, asked)
    twins = [asyncio.ensure_future(again(service, asked)) for service in (here, here, there, there)]
    await here.mark_sent(claim)
    await asyncio.sleep(0.1)
    assert not any(twin.done() for twin in twins)
    gone = twins.pop()
    gone.cancel()
    await here.keep(claim, ANSWER)
    async with asyncio.timeout(10):  # they look by themselves only after 30 s
        assert await asyncio.gather(*twins) == [ANSWER] * 3
    assert not here._bells
    assert not there._bells


async def test_one_twin_of_many_takes_over_what_was_released(postgres: Postgres, tasks: Tasks) -> None:
    here, there = worker(postgres, QUICK), worker(postgres, QUICK)
    await here.open(tasks)
    await there.open(tasks)
    asked = here.read("key", "/p", b"k", b"body")
    claim = await first(here, asked)
    twins = [asyncio.ensure_future(again(service, asked)) for service in (here, here, there, there)]
    await here.mark_sent(claim)
    await here.release(claim)
    done, waiting = await asyncio.wait(twins, return_when=asyncio.FIRST_COMPLETED, timeout=10)
    (one,) = done
    taken = one.result()
    assert isinstance(taken, Claim)
    owner = here if one in twins[:2] else there
    await owner.mark_sent(taken)
    await owner.keep(taken, ANSWER)
    assert await asyncio.gather(*waiting) == [ANSWER] * 3


async def test_a_twin_waits_no_longer_than_its_call_may_last(postgres: Postgres) -> None:
    service = worker(postgres)
    asked = service.read("key", "/p", b"k", b"body")
    await first(service, asked)
    assert await again(service, asked, 0.1) == "idempotency_in_progress"


async def test_a_claim_holds_while_its_worker_lives(postgres: Postgres, tasks: Tasks) -> None:
    service = worker(postgres, QUICK)
    await service.open(tasks)
    asked = service.read("key", "/p", b"k", b"body")
    claim = await first(service, asked)
    assert await again(service, asked, 1.0) == "idempotency_in_progress"
    await service.mark_sent(claim)
    assert await again(service, asked, 1.0) == "idempotency_in_progress"


async def test_a_claim_of_the_dead_is_taken_over_if_nothing_was_sent(postgres: Postgres) -> None:
    dead, alive = worker(postgres, QUICK), worker(postgres, QUICK)
    asked = dead.read("key", "/p", b"k", b"body")
    lost = await first(dead, asked)
    taken = await again(alive, asked)
    assert isinstance(taken, Claim)
    with pytest.raises(GatewayError) as refused:  # it was only slow: it must not send any more
        await dead.mark_sent(lost)
    assert refused.value.code == "idempotency_in_progress"
    await dead.release(lost)
    await alive.mark_sent(taken)
    await alive.keep(taken, ANSWER)
    assert await again(dead, asked) == ANSWER


@pytest.mark.parametrize("abandoned", [False, True])
async def test_what_the_dead_may_have_sent_is_not_sent_again(postgres: Postgres, abandoned: bool) -> None:
    dead, alive = worker(postgres, SLOW if abandoned else QUICK), worker(postgres, QUICK)
    asked = dead.read("key", "/p", b"k", b"body")
    claim = await first(dead, asked)
    await dead.mark_sent(claim)
    if abandoned:
        await dead.abandon(claim)
    with pytest.raises(GatewayError) as refused:
        await alive.join(asked, str(uuid.uuid4()), PATIENCE_S)
    assert (refused.value.code, refused.value.should_retry) == ("idempotency_outcome_unknown", False)
    await dead.keep(claim, ANSWER)  # it was only slow after all
    assert await again(alive, asked) == ANSWER


@pytest.mark.parametrize("given", [None, Answer(200, [], b"x" * 11)])
async def test_a_large_answer_is_not_kept_and_not_made_again(postgres: Postgres, given: Answer | None) -> None:
    service = worker(postgres, IdempotencyOptions(max_answer_bytes=10))
    asked = service.read("key", "/p", b"k", b"body")
    claim = await first(service, asked)
    await service.mark_sent(claim)
    await service.keep(claim, given)
    assert await again(service, asked) == "idempotency_answer_too_large"


async def test_a_key_expires_and_is_pruned(postgres: Postgres) -> None:
    service = worker(postgres, IdempotencyOptions(ttl_s=0.2))
    asked = service.read("key", "/p", b"k", b"body")
    for _ in range(2):
        claim = await first(service, asked)
        await service.mark_sent(claim)
        await service.keep(claim, ANSWER)
        assert await again(service, asked) == ANSWER
        await asyncio.sleep(0.3)
    held = service.read("key", "/p", b"held", b"body")
    await first(service, held)
    await asyncio.sleep(0.3)
    assert await service.prune() == 1
    assert await postgres.fetchval("SELECT scope FROM gateway_idempotent_requests") == held.scope


async def test_answers_outlive_a_change_of_the_secret(postgres: Postgres) -> None:
    service = worker(postgres, SLOW, BEFORE)
    claim = await first(service, service.read("key", "/p", b"k", b"body"))
    await service.mark_sent(claim)
    await service.keep(claim, ANSWER)
    changed = worker(postgres, SLOW, SECRET, BEFORE)
    assert await again(changed, changed.read("key", "/p", b"k", b"body")) == ANSWER
    assert await again(changed, changed.read("key", "/p", b"k", b"another")) == "idempotency_key_reused"


async def test_an_answer_that_cannot_be_opened_is_not_made_again(postgres: Postgres) -> None:
    service = worker(postgres)
    asked = service.read("key", "/p", b"k", b"body")
    claim = await first(service, asked)
    await service.mark_sent(claim)
    await service.keep(claim, ANSWER)
    await postgres.execute("UPDATE gateway_idempotent_requests SET answer = $1", os.urandom(100))
    assert await again(service, asked) == "idempotency_outcome_unknown"


async def keep_one(service: Idempotency, api_key: str | None, header: bytes, body: bytes = b"x" * 1000) -> Asked:
    asked = service.read(api_key, "/p", header, b"body")
    claim = await first(service, asked)
    await service.mark_sent(claim)
    await service.keep(claim, Answer(200, [], body))
    return asked


async def test_the_oldest_answers_of_a_key_are_given_up_when_it_has_too_many_and_no_others(postgres: Postgres) -> None:
    service = worker(postgres, IdempotencyOptions(max_kept_bytes=5_000))
    others = [await keep_one(service, name, b"once") for name in ("other", None)]
    asked = [await keep_one(service, "key", f"{number}".encode()) for number in range(7)]
    assert await service.trim() == 3
    outcomes = [await again(service, one) for one in asked]
    assert outcomes[:3] == ["idempotency_answer_too_large"] * 3
    assert all(isinstance(one, Answer) for one in outcomes[3:])
    assert all([isinstance(await again(service, one), Answer) for one in others])
    held = await postgres.fetchval(
        "SELECT sum(octet_length(answer)) FROM gateway_idempotent_requests WHERE holder = 'key'"
    )
    assert held <= 5_000
    assert await service.trim() == 0
    await keep_one(service, "key", b"newest")
    assert await service.trim() == 1


async def test_trimming_waits_for_a_database_that_is_away(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    service = worker(postgres, IdempotencyOptions(max_kept_bytes=500))
    await keep_one(service, "key", b"once")

    async def away(*_: object) -> None:
        raise GatewayError("store_unavailable", "away")

    with monkeypatch.context() as patched:
        patched.setattr(postgres, "fetch", away)
        with pytest.raises(GatewayError):
            await service.trim()
    assert await service.trim() == 1


async def test_it_trims_by_itself(postgres: Postgres, tasks: Tasks) -> None:
    service = worker(postgres, IdempotencyOptions(max_kept_bytes=500, trim_every_s=0.05))
    await service.open(tasks)
    asked = await keep_one(service, "key", b"once")
    async with asyncio.timeout(PATIENCE_S):
        while isinstance(await again(service, asked), Answer):
            await asyncio.sleep(0.02)
