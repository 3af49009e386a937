"""Limits on a real PostgreSQL: set, changed, heard of by every worker, and found for whom they apply to."""

from __future__ import annotations

import asyncio
import itertools
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.errors import GatewayError
from gateway.services.limits.of_keys import of_keys, put_for_key
from gateway.services.limits.register import LimitFilter, LimitRegister
from gateway.services.limits.service import Limits
from gateway.settings import Settings
from gateway.store.follower import nobody_follows
from gateway.store.postgres import Connection, Postgres
from gateway.tasks import Tasks
from tests.integration.services.governed import (
    ACTOR,
    UNKNOWN,
    add_key,
    add_organisation,
    add_team,
    add_user,
    audited,
    refusal,
)

GLOBAL: Any = ("global", "", None)


@pytest.fixture
async def limits(postgres: Postgres) -> AsyncIterator[Limits]:
    tasks = Tasks()
    made = Limits(postgres, tasks)
    await made.load()
    await postgres.listen("gateway_changes", made.on_change)
    yield made
    await tasks.drain(0)


@pytest.fixture
def register(postgres: Postgres) -> LimitRegister:
    """As another worker has it: what it changes is heard of by notifications alone."""
    return LimitRegister(postgres, nobody_follows)


async def heard(limits: Limits, generation: int) -> float:
    """Wait until it is past this generation; for how long, in seconds."""
    began = time.monotonic()
    while limits.generation == generation:
        assert time.monotonic() < began + 10, "nothing was heard"
        await asyncio.sleep(0.005)
    return time.monotonic() - began


async def test_a_limit_is_set_changed_and_deleted_and_every_worker_hears_of_it(
    limits: Limits, register: LimitRegister, postgres: Postgres
) -> None:
    seen = limits.generation
    record, is_new = await register.put(GLOBAL, {"requests_per_minute": 10}, ACTOR)
    assert is_new
    took_s = [await heard(limits, seen)]
    (limit,) = limits.of_caller(None, None, None, None)
    assert (limit.id, limit.requests_per_minute, limit.on_store_failure) == (record.id, 10, "local")

    seen = limits.generation
    record_id = uuid.UUID(record.id)
    await register.change(record_id, {"requests_per_minute": 0, "on_store_failure": "deny"}, ACTOR)
    took_s.append(await heard(limits, seen))
    (limit,) = limits.of_caller(None, None, None, None)
    assert (limit.requests_per_minute, limit.on_store_failure) == (0, "deny")

    seen = limits.generation
    await register.delete(record_id, ACTOR)
    took_s.append(await heard(limits, seen))
    assert limits.of_caller(None, None, None, None) == ()
    assert min(took_s) < 0.25
    assert await audited(postgres) == [("created", "limit"), ("changed", "limit"), ("deleted", "limit")]
    with pytest.raises(GatewayError) as raised:
        await register.get(record_id)
    assert refusal(raised) == ("not_found", None)


async def test_a_limit_is_set_on_all_that_there_is(register: LimitRegister, postgres: Postgres, limits: Limits) -> None:
    team = await add_team(postgres, "core")
    who = (await add_organisation(postgres, "acme"), team, await add_user(postgres, "ann"))
    key = await add_key(postgres, team_id=team)
    places: list[Any] = [
        *zip(("organisation", "team", "user"), who, (None,) * 3, strict=True),
        ("key", key, None),
        ("team", team, "fast"),
        ("key", key, "fast"),
        ("model", "fast", None),
        ("provider", "lab", None),
        ("target", "lab/org/fast:1", None),
    ]
    for number, place in enumerate(places):
        await register.put(place, {"max_concurrency": number}, ACTOR)
    await limits.load()
    assert [limit.max_concurrency for limit in limits.of_caller(*who, key)] == [0, 1, 2, 3]
    assert [limit.max_concurrency for limit in limits.of_model(team, key, "fast")] == [6, 4, 5]
    assert [limit.max_concurrency for limit in limits.of_target("lab", "lab/org/fast:1")] == [7, 8]
    assert limits.of_caller(None, None, None, UNKNOWN) == ()
    records, _ = await register.page(LimitFilter(within=uuid.UUID(team)))
    assert {(record.scope, record.model, record.team_id) for record in records} == {
        ("team", None, team),
        ("team", "fast", team),
        ("key", None, team),
        ("key", "fast", team),
    }


@pytest.mark.parametrize(
    ("place", "field"),
    [
        (("global", "x", None), "subject"),
        (("team", "", None), "subject"),
        (("team", "core", None), "subject"),
        (("team", UNKNOWN, None), "subject"),
        (("organisation", UNKNOWN, None), "subject"),
        (("user", UNKNOWN, None), "subject"),
        (("key", UNKNOWN, None), "subject"),
        (("provider", "a b", None), "subject"),
        (("target", "lab", None), "subject"),
        (("target", "/m", None), "subject"),
        (("model", " m", None), "subject"),
        (("model", "m\n", None), "subject"),
        (("model", "m" * 256, None), "subject"),
        (("model", "m", "other"), "model"),
        (("global", "", "m"), "model"),
    ],
)
async def test_a_limit_on_nobody_is_refused(register: LimitRegister, place: Any, field: str) -> None:
    with pytest.raises(GatewayError) as raised:
        await register.put(place, {"max_concurrency": 1}, ACTOR)
    assert refusal(raised) == ("invalid_field", field)


async def test_what_was_deleted_or_revoked_is_nobody(register: LimitRegister, postgres: Postgres) -> None:
    team, key = await add_team(postgres, "core"), await add_key(postgres)
    await postgres.execute("UPDATE teams SET deleted_at = now()")
    await postgres.execute("UPDATE api_keys SET revoked_at = now()")
    for scope, subject in (("team", team), ("key", key)):
        place: Any = (scope, subject, None)
        with pytest.raises(GatewayError):
            await register.put(place, {"max_concurrency": 1}, ACTOR)


async def test_there_is_one_limit_at_a_place_however_many_set_it_at_once(
    register: LimitRegister, postgres: Postgres
) -> None:
    made = await asyncio.gather(*(register.put(GLOBAL, {"max_concurrency": n}, ACTOR) for n in range(8)))
    assert len({record.id for record, _ in made}) == 1
    assert [is_new for _, is_new in made].count(True) == 1
    rows = await postgres.fetch("SELECT before, after FROM audit_log ORDER BY id")
    # Each change was made to what the one before it had left.
    for earlier, later in itertools.pairwise(rows):
        assert later["before"] == earlier["after"]


async def test_setting_a_limit_takes_away_what_it_does_not_name_and_changing_it_does_not(
    register: LimitRegister,
) -> None:
    first, _ = await register.put(GLOBAL, {"requests_per_minute": 1, "tokens_per_day": 2}, ACTOR)
    changed = await register.change(uuid.UUID(first.id), {"requests_per_minute": 5}, ACTOR)
    assert (changed.requests_per_minute, changed.tokens_per_day) == (5, 2)
    again, is_new = await register.put(GLOBAL, {"requests_per_minute": 7}, ACTOR)
    assert (again.id, is_new, again.requests_per_minute, again.tokens_per_day) == (first.id, False, 7, None)


async def test_a_limit_without_a_number_is_refused(register: LimitRegister) -> None:
    with pytest.raises(GatewayError) as raised:
        await register.put(GLOBAL, {}, ACTOR)
    assert raised.value.code == "missing_field"
    record, _ = await register.put(GLOBAL, {"max_concurrency": 1}, ACTOR)
    with pytest.raises(GatewayError) as raised:
        await register.change(uuid.UUID(record.id), {"max_concurrency": None}, ACTOR)
    assert raised.value.code == "missing_field"


async def test_keys_that_were_rotated_into_each_other_share_their_limit(
    register: LimitRegister, postgres: Postgres
) -> None:
    first = await add_key(postgres)
    second = await add_key(postgres, rotated_from=first)
    record, _ = await register.put(("key", second, None), {"max_concurrency": 1}, ACTOR)
    assert record.subject == first
    for key in (first, second):
        assert [found.id for found in (await register.page(LimitFilter(subject=key)))[0]] == [record.id]


async def test_a_list_comes_in_pages(register: LimitRegister) -> None:
    for number in range(5):
        await register.put(("model", f"m{number}", None), {"max_concurrency": 1}, ACTOR)
    await register.put(GLOBAL, {"max_concurrency": 1}, ACTOR)
    first, more = await register.page(LimitFilter(scope="model"), limit=3)
    assert more
    second, more = await register.page(LimitFilter(scope="model"), after=uuid.UUID(first[-1].id), limit=3)
    assert not more
    assert [record.subject for record in first + second] == ["m4", "m3", "m2", "m1", "m0"]


async def test_a_team_admin_sets_limits_on_its_own_keys_alone(register: LimitRegister, postgres: Postgres) -> None:
    team, other = await add_team(postgres, "core"), await add_team(postgres, "other")
    within = uuid.UUID(team)
    own, foreign = await add_key(postgres, team_id=team), await add_key(postgres, team_id=other)
    record, _ = await register.put(("key", own, None), {"max_concurrency": 1}, ACTOR, within=within)
    await register.change(uuid.UUID(record.id), {"max_concurrency": 2}, ACTOR, within=within)
    for scope, subject in (("key", foreign), ("team", team), ("team", other)):
        place: Any = (scope, subject, None)
        with pytest.raises(GatewayError) as raised:
            await register.put(place, {"max_concurrency": 1}, ACTOR, within=within)
        assert raised.value.code == "role_not_allowed"
        theirs, _ = await register.put(place, {"max_concurrency": 1}, ACTOR)
        for attempt in (
            register.change(uuid.UUID(theirs.id), {"max_concurrency": 9}, ACTOR, within=within),
            register.delete(uuid.UUID(theirs.id), ACTOR, within=within),
        ):
            with pytest.raises(GatewayError) as raised:
                await attempt
            assert raised.value.code == ("role_not_allowed" if subject == team else "not_found")
    await register.delete(uuid.UUID(record.id), ACTOR, within=within)


async def test_what_the_configuration_declares_applies_beside_what_was_made(
    limits: Limits, register: LimitRegister
) -> None:
    await register.put(GLOBAL, {"max_concurrency": 1}, ACTOR)
    await limits.load()
    seen = limits.generation
    limits.use(Settings.model_validate({"limits": {"requests_per_day": 9}}))
    assert limits.generation > seen
    assert [limit.id for limit in limits.declared] == ["config:global"]
    assert {limit.requests_per_day or limit.max_concurrency for limit in limits.of_caller(*[None] * 4)} == {9, 1}
    limits.use(Settings())
    assert len(limits.of_caller(*[None] * 4)) == 1


async def test_a_reload_keeps_the_old_limits_until_it_has_the_new_ones(
    limits: Limits, register: LimitRegister, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = limits.generation
    await register.put(GLOBAL, {"max_concurrency": 1}, ACTOR)
    await heard(limits, seen)
    fetch, may_go_on, failures = postgres.fetch, asyncio.Event(), 1

    async def slow(query: str, *args: Any, **more: Any) -> Any:
        nonlocal failures
        await may_go_on.wait()
        if failures:
            failures -= 1
            raise GatewayError("store_unavailable", "The database is away.")
        return await fetch(query, *args, **more)

    monkeypatch.setattr(postgres, "fetch", slow)
    seen = limits.generation
    limits.on_change("reload")
    await asyncio.sleep(0.05)
    assert len(limits.of_caller(None, None, None, None)) == 1
    may_go_on.set()
    await heard(limits, seen)
    assert len(limits.of_caller(None, None, None, None)) == 1
    assert failures == 0


async def test_a_key_is_made_with_its_limit_in_one_transaction(postgres: Postgres, register: LimitRegister) -> None:
    key = uuid.UUID(await add_key(postgres))

    async def put(fields: dict[str, int | None]) -> dict[str, dict[str, int | None]]:
        async def write(connection: Connection) -> dict[str, dict[str, int | None]]:
            await put_for_key(connection, key, fields, ACTOR)
            return await of_keys(connection, [key, uuid.UUID(UNKNOWN)])

        return await postgres.in_transaction(write)

    assert await put({}) == {}
    assert await put({"rpm": None}) == {}
    assert await put({"rpm": 5, "max_concurrency": 2}) == {str(key): {"rpm": 5, "tpm": None, "max_concurrency": 2}}
    record = (await register.page(LimitFilter()))[0][0]
    await register.change(uuid.UUID(record.id), {"requests_per_day": 99, "on_store_failure": "deny"}, ACTOR)
    assert await put({"rpm": None, "tpm": 7}) == {str(key): {"rpm": None, "tpm": 7, "max_concurrency": 2}}
    kept = await register.get(uuid.UUID(record.id))
    assert (kept.requests_per_day, kept.on_store_failure) == (99, "deny")
    await put({"tpm": None, "max_concurrency": None})
    await register.change(uuid.UUID(record.id), {"tokens_per_day": 1, "requests_per_day": None}, ACTOR)
    await register.change(uuid.UUID(record.id), {"requests_per_minute": 1, "tokens_per_day": None}, ACTOR)
    assert await put({"rpm": None}) == {}
    assert (await register.page(LimitFilter()))[0] == []

    async def fail(connection: Connection) -> None:
        await put_for_key(connection, key, {"rpm": 1}, ACTOR)
        raise GatewayError("conflict", "The key cannot be made.")

    with pytest.raises(GatewayError):
        await postgres.in_transaction(fail)
    assert (await register.page(LimitFilter()))[0] == []
