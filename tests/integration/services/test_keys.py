"""Keys on a real PostgreSQL: changes heard, secrets changed, keys made, rotated and revoked."""

from __future__ import annotations

import asyncio
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

import asyncpg
import orjson
import pytest

from gateway.errors import GatewayError
from gateway.services.keys.register import KeyRegister, KeyTerms
from gateway.services.keys.secret import Secret, SecretError, Secrets
from gateway.services.keys.service import Keys
from gateway.store.audit import MASTER
from gateway.store.postgres import Postgres
from gateway.tasks import Tasks

OLD = Secret.parse("the secret that was in force before")
NEW = Secret.parse("the secret that is in force from now")


@pytest.fixture
async def tasks() -> AsyncIterator[Tasks]:
    made = Tasks()
    yield made
    await made.drain(0)


@pytest.fixture
async def keys(postgres: Postgres, tasks: Tasks) -> Keys:
    made = Keys(postgres, Secrets(NEW), tasks)
    await made.register.check_secret()
    await postgres.listen("gateway_changes", made.on_change)
    return made


def register_under(postgres: Postgres, *secrets: Secret) -> KeyRegister:
    return KeyRegister(postgres, Secrets(*secrets), on_written=lambda key_id: None)


async def eventually(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.002)


async def refusal(work: Awaitable[Any]) -> GatewayError:
    with pytest.raises(GatewayError) as raised:
        await work
    return raised.value


async def test_a_key_that_was_made_is_found_with_all_its_terms(keys: Keys) -> None:
    ends_at = datetime.now(UTC) + timedelta(days=1)
    terms = KeyTerms("app", team="core", user="alice", models=["gpt-*"], endpoints=["files"], expires_at=ends_at)
    record, token = await keys.register.create(terms, MASTER)
    found = await keys.find(token)
    assert (found.id, found.name, found.team, found.user_id) == (record.id, "app", "core", record.user_id)
    assert found.allows_model("gpt-4o")
    assert not found.allows_model("o1")
    assert found.allows_endpoint("files")
    assert not found.allows_endpoint("chat")
    assert found.expires_at_us == int(ends_at.timestamp() * 1e6)
    assert record.state == "active"
    assert record.hint == f"{token[:9]}…{token[-4:]}"


async def test_the_database_never_sees_a_token(keys: Keys, postgres: Postgres) -> None:
    _, token = await keys.register.create(KeyTerms("app"), MASTER)
    row = await postgres.fetchval("SELECT row_to_json(k)::text FROM api_keys AS k")
    assert token[9:-4] not in row
    assert NEW.hash_token(token).hex() in row


async def test_a_team_and_a_user_are_made_once_by_many_at_once(keys: Keys, postgres: Postgres) -> None:
    terms = KeyTerms("app", team="core", user="alice@example.com")
    made = await asyncio.gather(*(keys.register.create(terms, MASTER) for _ in range(12)))
    assert len({record.user_id for record, _ in made}) == 1
    assert await postgres.fetchval("SELECT count(*) FROM teams") == 1
    assert await postgres.fetchval("SELECT count(*) FROM users") == 1


async def test_a_user_is_named_by_id_and_must_then_exist(keys: Keys, postgres: Postgres) -> None:
    user_id = str(await postgres.fetchval("INSERT INTO users (name) VALUES ('bob') RETURNING id"))
    record, _ = await keys.register.create(KeyTerms("app", user=user_id), MASTER)
    assert record.user_id == user_id
    error = await refusal(keys.register.create(KeyTerms("app", user=str(uuid.uuid4())), MASTER))
    assert (error.code, error.param) == ("invalid_field", "user")


async def test_a_users_table_of_kubechats_own_shape_is_enough(keys: Keys, postgres: Postgres) -> None:
    await postgres.execute("ALTER TABLE users DROP COLUMN name, ADD COLUMN login TEXT NOT NULL DEFAULT ''")
    await postgres.execute("INSERT INTO users (email) VALUES ('carol@example.com')")
    record, _ = await keys.register.create(KeyTerms("app", user="carol@example.com"), MASTER)
    assert record.user_id is not None
    assert (await refusal(keys.register.create(KeyTerms("app", user="dave"), MASTER))).param == "user"
    assert await postgres.fetchval("SELECT count(*) FROM users") == 1


async def test_two_users_of_one_name_must_be_told_apart(keys: Keys, postgres: Postgres) -> None:
    await postgres.execute("INSERT INTO users (name) VALUES ('bob'), ('bob')")
    assert "id" in (await refusal(keys.register.create(KeyTerms("app", user="bob"), MASTER))).message


async def test_pages_go_from_the_newest_to_the_oldest_and_miss_none(keys: Keys) -> None:
    made = [
        (await keys.register.create(KeyTerms(f"key {number}", team=f"t{number % 2}"), MASTER))[0] for number in range(7)
    ]
    await keys.register.revoke(uuid.UUID(made[3].id), MASTER)
    found, more, after = [], True, None
    while more:
        page, more = await keys.register.page(after=after, limit=2)
        found += page
        after = uuid.UUID(page[-1].id)
    assert [record.name for record in found] == [f"key {number}" for number in (6, 5, 4, 2, 1, 0)]
    everything, more = await keys.register.page(revoked=True)
    assert [record.state for record in everything] == ["active"] * 3 + ["revoked"] + ["active"] * 3
    assert not more
    of_one, _ = await keys.register.page(team="t1", revoked=True)
    assert [record.name for record in of_one] == ["key 5", "key 3", "key 1"]


async def test_an_update_sets_what_it_names_and_nothing_else(keys: Keys) -> None:
    record, token = await keys.register.create(KeyTerms("app", models=["a"], endpoints=["files"]), MASTER)
    key_id = uuid.UUID(record.id)
    await keys.find(token)
    changed = await keys.register.update(key_id, {"models": ["b"], "disabled": True}, MASTER)
    assert (changed.name, changed.models, changed.endpoints, changed.state) == ("app", ["b"], ["files"], "disabled")
    assert (await refusal(keys.find(token))).code == "disabled_api_key"
    changed = await keys.register.update(key_id, {"models": None, "disabled": False}, MASTER)
    assert (changed.models, changed.state) == (None, "active")
    assert (await keys.find(token)).allows_model("anything")
    assert changed.updated_at > record.updated_at


async def test_a_revoked_key_stays_revoked(keys: Keys, postgres: Postgres) -> None:
    record, token = await keys.register.create(KeyTerms("app"), MASTER)
    key_id = uuid.UUID(record.id)
    await keys.find(token)
    first = await keys.register.revoke(key_id, MASTER)
    assert first.state == "revoked"
    assert keys.find_cached(token) is None
    assert (await refusal(keys.find(token))).code == "invalid_api_key"
    assert (await keys.register.revoke(key_id, MASTER)).revoked_at == first.revoked_at
    assert (await refusal(keys.register.update(key_id, {"disabled": False}, MASTER))).code == "conflict"
    assert (await refusal(keys.register.rotate(key_id, 60, MASTER))).code == "conflict"
    assert await postgres.fetchval("SELECT count(*) FROM api_keys") == 1


async def test_what_is_done_to_an_unknown_key_is_not_found(keys: Keys) -> None:
    unknown = uuid.uuid4()
    register = keys.register
    attempts = (
        register.get(unknown),
        register.update(unknown, {"name": "x"}, MASTER),
        register.revoke(unknown, MASTER),
        register.rotate(unknown, 60, MASTER),
    )
    for work in attempts:
        assert (await refusal(work)).code == "not_found"


async def test_after_a_rotation_both_keys_work_until_the_overlap_ends(keys: Keys, postgres: Postgres) -> None:
    old, old_token = await keys.register.create(KeyTerms("app", team="core", models=["a"]), MASTER)
    new, new_token = await keys.register.rotate(uuid.UUID(old.id), 3600, MASTER)
    assert (new.name, new.team, new.models, new.rotated_from) == ("app", "core", ["a"], old.id)
    assert new.expires_at is None
    assert (await keys.find(old_token)).id == old.id
    assert (await keys.find(new_token)).id == new.id
    ends_at = (await keys.register.get(uuid.UUID(old.id))).expires_at
    assert ends_at is not None
    assert timedelta(minutes=59) < ends_at - datetime.now(UTC) <= timedelta(minutes=60)
    await postgres.execute("UPDATE api_keys SET expires_at = now() WHERE id = $1", uuid.UUID(old.id))
    await eventually(lambda: keys.find_cached(old_token) is None)
    assert (await refusal(keys.find(old_token))).code == "expired_api_key"
    assert (await keys.find(new_token)).id == new.id


async def test_a_rotation_without_overlap_ends_the_old_key_at_once(keys: Keys) -> None:
    old, old_token = await keys.register.create(KeyTerms("app"), MASTER)
    await keys.find(old_token)
    await keys.register.rotate(uuid.UUID(old.id), 0, MASTER)
    assert (await refusal(keys.find(old_token))).code == "expired_api_key"


async def test_a_rotation_never_prolongs_the_old_key_and_keeps_what_was_disabled_so(keys: Keys) -> None:
    ends_at = datetime.now(UTC) + timedelta(seconds=600)
    old, _ = await keys.register.create(KeyTerms("app", expires_at=ends_at), MASTER)
    await keys.register.update(uuid.UUID(old.id), {"disabled": True}, MASTER)
    new, token = await keys.register.rotate(uuid.UUID(old.id), 3600, MASTER)
    assert (await keys.register.get(uuid.UUID(old.id))).expires_at == ends_at
    assert new.expires_at == ends_at
    assert (await refusal(keys.find(token))).code == "disabled_api_key"


async def test_of_many_rotations_at_once_one_succeeds(keys: Keys, postgres: Postgres) -> None:
    old, _ = await keys.register.create(KeyTerms("app"), MASTER)
    work = (keys.register.rotate(uuid.UUID(old.id), 60, MASTER) for _ in range(6))
    outcomes = await asyncio.gather(*work, return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert [error.code for error in refused] == ["conflict"] * 5  # type: ignore[attr-defined]
    assert await postgres.fetchval("SELECT count(*) FROM api_keys") == 2


async def test_a_thousand_look_ups_at_once_are_one_statement_for_the_server(keys: Keys, postgres: Postgres) -> None:
    _, token = await keys.register.create(KeyTerms("app"), MASTER)
    before = keys.look_up_queries
    found = await asyncio.gather(*(keys.find(token) for _ in range(1000)))
    assert len({key.id for key in found}) == 1
    # Where the news of its making comes while it is read, it is read once more.
    assert keys.look_up_queries - before in (1, 2)


async def test_a_key_made_elsewhere_works_though_it_was_just_refused_here(keys: Keys, postgres: Postgres) -> None:
    elsewhere = register_under(postgres, NEW)
    record, token = await elsewhere.create(KeyTerms("app"), MASTER)
    await postgres.execute("ALTER TABLE api_keys DISABLE TRIGGER USER")
    saved = await postgres.fetchval("DELETE FROM api_keys RETURNING to_jsonb(api_keys)")
    await postgres.execute("ALTER TABLE api_keys ENABLE TRIGGER USER")
    keys.on_change("api_keys:1")
    assert (await refusal(keys.find(token))).code == "invalid_api_key"
    assert keys.refused == 1
    await postgres.execute("INSERT INTO api_keys SELECT * FROM jsonb_populate_record(NULL::api_keys, $1)", saved)
    await eventually(lambda: keys.refused == 0)
    assert (await keys.find(token)).id == record.id


async def test_every_way_to_change_a_row_is_announced(postgres: Postgres) -> None:
    heard: list[str] = []
    await postgres.listen("gateway_changes", heard.append)
    register = register_under(postgres, NEW)
    await register.check_secret()
    record, _ = await register.create(KeyTerms("app", team="core"), MASTER)
    await eventually(lambda: f"api_keys:{record.id}" in heard)
    team_id = await postgres.fetchval("SELECT id FROM teams")
    for statement, wanted in (
        ("UPDATE api_keys SET name = 'by hand'", f"api_keys:{record.id}"),
        ("UPDATE teams SET name = 'renamed'", f"teams:{team_id}"),
        ("DELETE FROM api_keys", f"api_keys:{record.id}"),
        ("TRUNCATE api_keys CASCADE", "api_keys:reload"),
    ):
        heard.clear()
        await postgres.execute(statement)
        await eventually(lambda wanted=wanted: wanted in heard)  # type: ignore[misc]


async def test_a_bulk_change_is_announced_once_and_heard_by_all_its_keys(keys: Keys, postgres: Postgres) -> None:
    heard: list[str] = []
    await postgres.listen("gateway_changes", heard.append)
    made = [await keys.register.create(KeyTerms("app"), MASTER) for _ in range(3)]
    await postgres.execute(
        "INSERT INTO api_keys (name, key_hash, secret_fingerprint, key_hint)"
        " SELECT 'bulk', sha256(n::text::bytea), $1, '' FROM generate_series(1, 2000) AS n",
        NEW.fingerprint,
    )
    for _, token in made:
        await keys.find(token)
    await eventually(lambda: "api_keys:reload" in heard)
    heard.clear()
    await postgres.execute("UPDATE api_keys SET revoked_at = now()")
    await eventually(lambda: all(keys.find_cached(token) is None for _, token in made))
    assert heard == ["api_keys:reload"]


async def test_a_revocation_missed_while_the_listener_was_away_is_made_up_for(keys: Keys, postgres: Postgres) -> None:
    record, token = await keys.register.create(KeyTerms("app"), MASTER)
    other, other_token = await keys.register.create(KeyTerms("other"), MASTER)
    await keys.find(token)
    await keys.find(other_token)
    # The revocation makes no notification: only the reload after the reconnect can tell.
    await postgres.execute("ALTER TABLE api_keys DISABLE TRIGGER USER")
    await postgres.execute("UPDATE api_keys SET revoked_at = now() WHERE id = $1", uuid.UUID(record.id))
    assert keys.find_cached(token) is not None
    await postgres.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await eventually(lambda: keys.find_cached(token) is None)
    assert keys.find_cached(other_token).id == other.id  # type: ignore[union-attr]


async def test_a_database_that_is_gone_gives_503_for_cold_keys_only(keys: Keys, postgres: Postgres) -> None:
    _, warm = await keys.register.create(KeyTerms("warm"), MASTER)
    _, cold = await keys.register.create(KeyTerms("cold"), MASTER)
    await keys.find(warm)
    postgres.pool.terminate()
    assert (await keys.find(warm)).name == "warm"
    error = await refusal(keys.find(cold))
    assert (error.code, error.status) == ("key_store_unavailable", 503)


async def test_a_database_without_the_table_is_not_taken_for_an_answer(keys: Keys, postgres: Postgres) -> None:
    _, token = await keys.register.create(KeyTerms("app"), MASTER)
    await postgres.execute("ALTER TABLE api_keys RENAME TO elsewhere")
    assert (await refusal(keys.find(token))).code == "key_store_unavailable"


async def test_a_wrong_secret_is_noticed_at_start(postgres: Postgres) -> None:
    assert await register_under(postgres, OLD).check_secret() == 0
    assert await register_under(postgres, OLD).check_secret() == 0
    with pytest.raises(SecretError, match="is not the secret that this database was set up with") as refused:
        await register_under(postgres, NEW).check_secret()
    assert OLD.fingerprint.hex() in str(refused.value)
    assert await postgres.fetchval("SELECT count(*) FROM gateway_secret") == 1


async def test_of_two_first_starts_with_different_secrets_one_is_refused(postgres: Postgres) -> None:
    work = (register_under(postgres, secret).check_secret() for secret in (OLD, NEW))
    outcomes = await asyncio.gather(*work, return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["SecretError", "int"]


async def test_a_change_of_the_secret_keeps_old_keys_while_the_old_secret_is_given(
    postgres: Postgres, tasks: Tasks
) -> None:
    before = Keys(postgres, Secrets(OLD), tasks)
    await before.register.check_secret()
    old, old_token = await before.register.create(KeyTerms("app"), MASTER)

    during = Keys(postgres, Secrets(NEW, OLD), tasks)
    assert await during.register.check_secret() == 0
    assert (await during.find(old_token)).id == old.id
    assert (await during.register.get(uuid.UUID(old.id))).previous_secret
    new, new_token = await during.register.rotate(uuid.UUID(old.id), 3600, MASTER)
    assert not new.previous_secret

    after = Keys(postgres, Secrets(NEW), tasks)
    assert await after.register.check_secret() == 1
    assert (await after.find(new_token)).id == new.id
    assert (await refusal(after.find(old_token))).code == "invalid_api_key"


# --- two processes ----------------------------------------------------------------------------

WORKER = """
import asyncio, sys, time
import orjson
from gateway.services.keys.secret import Secret, Secrets
from gateway.services.keys.service import Keys
from gateway.store.postgres import Postgres
from gateway.tasks import Tasks

async def main():
    address, tokens = orjson.loads(sys.argv[1]), sys.argv[3:]
    postgres = await Postgres.open(address)
    keys = Keys(postgres, Secrets(Secret.parse(sys.argv[2])), Tasks())
    await postgres.listen("gateway_changes", keys.on_change)
    for token in tokens:
        await keys.find(token)
    print("warm", flush=True)
    for token in tokens:
        while keys.find_cached(token) is not None:
            await asyncio.sleep(0.0005)
        print(time.monotonic(), flush=True)
    await postgres.close()

asyncio.run(main())
"""
TRIES = 7


async def test_a_revoked_key_stops_working_in_two_other_processes_within_250_ms(
    keys: Keys, database_url: Mapping[str, Any]
) -> None:
    made = [await keys.register.create(KeyTerms("app"), MASTER) for _ in range(TRIES)]
    arguments = [orjson.dumps(dict(database_url)).decode(), NEW.material.decode(), *(token for _, token in made)]
    workers = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", WORKER, *arguments, stdout=asyncio.subprocess.PIPE)
        for _ in range(2)
    ]

    async def line(worker: asyncio.subprocess.Process) -> bytes:
        assert worker.stdout is not None
        async with asyncio.timeout(30):
            return await worker.stdout.readline()

    for worker in workers:
        assert await line(worker) == b"warm\n"
    delays_s = []
    for record, _ in made:
        revoked_at_s = time.monotonic()
        await keys.register.revoke(uuid.UUID(record.id), MASTER)
        delays_s.append(max([float(await line(worker)) - revoked_at_s for worker in workers]))
    for worker in workers:
        assert await worker.wait() == 0
    print(f"revocation heard by both after {[round(delay_s * 1e3, 1) for delay_s in delays_s]} ms")
    assert len(delays_s) == TRIES
    # CLOCK_MONOTONIC is one clock for all processes. The median, for a pause of the machine is not ours.
    assert 0 < median(delays_s) < 0.25


async def test_one_key_has_one_successor_in_the_schema_too(keys: Keys, postgres: Postgres) -> None:
    old, _ = await keys.register.create(KeyTerms("app"), MASTER)
    await keys.register.rotate(uuid.UUID(old.id), 60, MASTER)
    with pytest.raises(asyncpg.UniqueViolationError):
        await postgres.execute(
            "INSERT INTO api_keys (name, key_hash, secret_fingerprint, key_hint, rotated_from)"
            " VALUES ('second', sha256('x'), $1, '', $2)",
            NEW.fingerprint,
            uuid.UUID(old.id),
        )
