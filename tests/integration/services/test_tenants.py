"""Organisations, teams and users on a real PostgreSQL: their registers, what is noted, and whose keys they take."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Mapping
from statistics import median
from typing import Any

import asyncpg
import orjson
import pytest

from gateway.errors import GatewayError
from gateway.services.audit.service import AuditFilter, AuditLog
from gateway.services.keys.register import KeyTerms
from gateway.services.keys.secret import Secret, Secrets
from gateway.services.keys.service import Keys
from gateway.services.tenants.organisations import Organisations
from gateway.services.tenants.teams import Teams
from gateway.services.tenants.users import Users
from gateway.store.audit import Actor, note
from gateway.store.postgres import Postgres
from gateway.tasks import Tasks

SECRETS = Secrets(Secret.parse("the secret that is in force today"))
ACTOR = Actor("a-key", "owner", "192.0.2.1")
UNKNOWN = uuid.UUID(int=7)


@pytest.fixture
async def keys(postgres: Postgres) -> AsyncIterator[Keys]:
    tasks = Tasks()
    made = Keys(postgres, SECRETS, tasks)
    await made.register.check_secret()
    await postgres.listen("gateway_changes", made.on_change)
    yield made
    await tasks.drain(0)


@pytest.fixture
def organisations(postgres: Postgres) -> Organisations:
    return Organisations(postgres)


@pytest.fixture
def teams(postgres: Postgres) -> Teams:
    return Teams(postgres)


@pytest.fixture
def users(postgres: Postgres) -> Users:
    return Users(postgres)


async def refusal(work: Awaitable[Any]) -> GatewayError:
    with pytest.raises(GatewayError) as raised:
        await work
    return raised.value


async def until_refused(keys: Keys, token: str, code: str) -> float:
    """Seconds until this worker, which had the key warm, refuses it."""
    began_s = time.monotonic()
    async with asyncio.timeout(10):
        while keys.find_cached(token) is not None:
            await asyncio.sleep(0.001)
    took_s = time.monotonic() - began_s
    assert (await refusal(keys.find(token))).code == code
    return took_s


async def test_what_is_made_is_listed_by_pages_and_filters(organisations: Organisations, teams: Teams) -> None:
    acme = await organisations.create("acme", ACTOR)
    other = await organisations.create("other", ACTOR)
    found, more = await organisations.page(limit=1)
    assert ([one.name for one in found], more) == (["other"], True)
    found, more = await organisations.page(after=uuid.UUID(found[0].id), limit=1)
    assert ([one.name for one in found], more) == (["acme"], False)
    core = await teams.create("core", ACTOR, organisation_id=uuid.UUID(acme.id), weight=2.5)
    await teams.create("loose", ACTOR)
    assert (core.organisation, core.weight, core.disabled) == ("acme", 2.5, False)
    assert (await teams.page(organisation_id=uuid.UUID(acme.id)))[0] == [core]
    assert (await teams.page(name="loose"))[0][0].organisation_id is None
    assert [one.name for one in (await teams.page(within=uuid.UUID(core.id)))[0]] == ["core"]
    await organisations.delete(uuid.UUID(other.id), ACTOR)
    assert [one.name for one in (await organisations.page())[0]] == ["acme"]
    assert [one.name for one in (await organisations.page(with_deleted=True))[0]] == ["other", "acme"]


async def test_what_cannot_be_is_refused_and_leaves_no_trace(
    organisations: Organisations, teams: Teams, users: Users, postgres: Postgres
) -> None:
    acme = await organisations.create("acme", ACTOR)
    gone = await teams.create("gone", ACTOR)
    gone_id = uuid.UUID(gone.id)
    await teams.delete(gone_id, ACTOR)
    dead = uuid.UUID((await organisations.create("dead", ACTOR)).id)
    await organisations.delete(dead, ACTOR)
    carol = await users.create("carol", "carol@example.com", ACTOR)
    before = await postgres.fetchval("SELECT count(*) FROM audit_log")
    for work, code in (
        (organisations.create("acme", ACTOR), "conflict"),
        (teams.create("gone", ACTOR), "conflict"),
        (teams.create("new", ACTOR, organisation_id=UNKNOWN), "invalid_field"),
        (teams.create("new", ACTOR, organisation_id=dead), "invalid_field"),
        (teams.update(gone_id, {"name": "back"}, ACTOR), "conflict"),
        (teams.delete(gone_id, ACTOR), "conflict"),
        (teams.update(UNKNOWN, {"weight": 2.0}, ACTOR), "not_found"),
        (teams.add_member(gone_id, uuid.UUID(carol.id), ACTOR), "conflict"),
        (organisations.update(UNKNOWN, {"disabled": True}, ACTOR), "not_found"),
        (organisations.get(UNKNOWN), "not_found"),
        (users.create("twin", "carol@example.com", ACTOR), "conflict"),
        (users.delete(UNKNOWN, ACTOR), "not_found"),
    ):
        assert (await refusal(work)).code == code
    assert await postgres.fetchval("SELECT count(*) FROM audit_log") == before
    assert (await organisations.get(uuid.UUID(acme.id))).updated_at == acme.updated_at


async def test_members_come_and_go(teams: Teams, users: Users, postgres: Postgres) -> None:
    team_id = uuid.UUID((await teams.create("core", ACTOR)).id)
    made = [await users.create(f"user {number}", None, ACTOR) for number in range(3)]
    for user in made:
        await teams.add_member(team_id, uuid.UUID(user.id), ACTOR)
    await teams.add_member(team_id, uuid.UUID(made[0].id), ACTOR)
    page, more = await teams.members(team_id, limit=2)
    rest, _ = await teams.members(team_id, after=uuid.UUID(page[-1].id), limit=2)
    assert more
    assert {member.id for member in (*page, *rest)} == {user.id for user in made}
    assert (await users.get(uuid.UUID(made[0].id))).teams == [str(team_id)]
    assert len((await users.page(team_id=team_id))[0]) == 3
    await teams.remove_member(team_id, uuid.UUID(made[0].id), ACTOR)
    assert len((await users.page(team_id=team_id))[0]) == 2
    assert (await refusal(teams.remove_member(team_id, uuid.UUID(made[0].id), ACTOR))).code == "not_found"
    assert (await refusal(teams.add_member(team_id, UNKNOWN, ACTOR))).param == "user_id"
    assert await postgres.fetchval("SELECT count(*) FROM audit_log WHERE action = 'added'") == 3


async def test_a_table_of_users_in_kubechats_own_shape_is_read_and_left_alone(
    users: Users, teams: Teams, keys: Keys, postgres: Postgres
) -> None:
    await postgres.execute("ALTER TABLE users DROP COLUMN name, ADD COLUMN tenant TEXT NOT NULL DEFAULT 'x'")
    user_id = await postgres.fetchval("INSERT INTO users (email) VALUES ('dave@example.com') RETURNING id")
    (found,) = (await users.page(email="dave@example.com"))[0]
    assert (found.id, found.name, found.disabled) == (str(user_id), None, False)
    assert (await refusal(users.update(user_id, {"name": "Dave"}, ACTOR))).code == "conflict"
    assert (await refusal(users.create("erin", None, ACTOR))).code == "conflict"
    team_id = uuid.UUID((await teams.create("core", ACTOR)).id)
    assert (await teams.add_member(team_id, user_id, ACTOR)).email == "dave@example.com"
    assert (await users.update(user_id, {"disabled": True}, ACTOR)).disabled
    _, token = await keys.register.create(KeyTerms("app", user=str(user_id)), ACTOR)
    assert (await refusal(keys.find(token))).code == "user_disabled"
    await users.delete(user_id, ACTOR)
    assert await postgres.fetchval("SELECT count(*) FROM users") == 1
    assert (await users.page())[0] == []


async def test_a_key_falls_and_rises_with_its_organisation_team_and_user_within_250_ms(
    keys: Keys, organisations: Organisations, teams: Teams, users: Users, database_url: Mapping[str, Any]
) -> None:
    """The changes come from another process's pool: this worker has nothing but the notification."""
    elsewhere = await Postgres.open(database_url)
    acme = uuid.UUID((await organisations.create("acme", ACTOR)).id)
    core = uuid.UUID((await teams.create("core", ACTOR, organisation_id=acme)).id)
    alice = uuid.UUID((await users.create("alice", None, ACTOR)).id)
    _, token = await keys.register.create(KeyTerms("app", team="core", user="alice"), ACTOR)
    delays_s = []
    for holders, row_id, code in (
        (Organisations(elsewhere), acme, "organisation_disabled"),
        (Teams(elsewhere), core, "team_disabled"),
        (Users(elsewhere), alice, "user_disabled"),
    ):
        key = await keys.find(token)
        assert (key.organisation_id, key.team_id, key.user_id) == (str(acme), str(core), str(alice))
        await holders.update(row_id, {"disabled": True}, ACTOR)
        delays_s.append(await until_refused(keys, token, code))
        await holders.update(row_id, {"disabled": False}, ACTOR)
        async with asyncio.timeout(10):
            while True:
                try:
                    await keys.find(token)
                    break
                except GatewayError:
                    await asyncio.sleep(0.001)
    await elsewhere.close()
    assert 0 <= median(delays_s) < 0.25


async def organisation_becomes(keys: Keys, token: str, wanted: uuid.UUID | None) -> float:
    """Wait until the key is of this organisation; how long that took."""
    began = time.monotonic()
    async with asyncio.timeout(10):
        while (await keys.find(token)).organisation_id != (None if wanted is None else str(wanted)):
            await asyncio.sleep(0.001)
    return time.monotonic() - began


async def test_a_users_key_without_a_team_is_of_the_organisation_of_the_users_teams(
    keys: Keys, organisations: Organisations, teams: Teams, users: Users, database_url: Mapping[str, Any]
) -> None:
    elsewhere = await Postgres.open(database_url)
    acme, other = [uuid.UUID((await organisations.create(name, ACTOR)).id) for name in ("acme", "other")]
    core, free, third = [uuid.UUID((await teams.create(name, ACTOR)).id) for name in ("core", "free", "third")]
    alice = uuid.UUID((await users.create("alice", None, ACTOR)).id)
    _, token = await keys.register.create(KeyTerms("own", user="alice"), ACTOR)
    key = await keys.find(token)
    assert (key.organisation_id, key.team_id, key.user_id) == (None, None, str(alice))
    there = Teams(elsewhere)
    changes: list[tuple[Awaitable[Any], uuid.UUID | None]] = [
        (there.add_member(core, alice, ACTOR), None),
        (there.update(core, {"organisation_id": acme}, ACTOR), acme),
        (there.add_member(free, alice, ACTOR), acme),
        (there.update(third, {"organisation_id": other}, ACTOR), acme),
        (there.add_member(third, alice, ACTOR), None),
        (there.update(third, {"organisation_id": acme}, ACTOR), acme),
        (there.update(third, {"organisation_id": other}, ACTOR), None),
        (there.delete(third, ACTOR), acme),
        (there.remove_member(core, alice, ACTOR), None),
        (there.add_member(core, alice, ACTOR), acme),
    ]
    delays_s = []
    for change, organisation in changes:
        await change
        delays_s.append(await organisation_becomes(keys, token, organisation))
    assert median(delays_s) < 0.25
    await there.update(core, {"disabled": True}, ACTOR)
    assert (await keys.find(token)).organisation_id == str(acme)
    await Organisations(elsewhere).update(acme, {"disabled": True}, ACTOR)
    await until_refused(keys, token, "organisation_disabled")
    await elsewhere.close()


async def test_a_key_with_a_team_stays_its_teams_whatever_the_users_teams_are(
    keys: Keys, organisations: Organisations, teams: Teams, users: Users
) -> None:
    acme = uuid.UUID((await organisations.create("acme", ACTOR)).id)
    core = uuid.UUID((await teams.create("core", ACTOR, organisation_id=acme)).id)
    await teams.create("free", ACTOR)
    alice = uuid.UUID((await users.create("alice", None, ACTOR)).id)
    await teams.add_member(core, alice, ACTOR)
    _, token = await keys.register.create(KeyTerms("app", team="free", user="alice"), ACTOR)
    assert (await keys.find(token)).organisation_id is None


async def test_the_deleted_take_their_keys_with_them(
    keys: Keys, organisations: Organisations, teams: Teams, users: Users
) -> None:
    acme = uuid.UUID((await organisations.create("acme", ACTOR)).id)
    core = uuid.UUID((await teams.create("core", ACTOR)).id)
    alice = uuid.UUID((await users.create("alice", None, ACTOR)).id)
    await teams.create("branch", ACTOR, organisation_id=acme)
    _, of_branch = await keys.register.create(KeyTerms("app", team="branch"), ACTOR)
    _, of_team = await keys.register.create(KeyTerms("app", team="core"), ACTOR)
    _, of_user = await keys.register.create(KeyTerms("app", user="alice"), ACTOR)
    _, free = await keys.register.create(KeyTerms("app"), ACTOR)
    for token in (of_branch, of_team, of_user, free):
        await keys.find(token)
    await organisations.delete(acme, ACTOR)
    await until_refused(keys, of_branch, "organisation_disabled")
    await teams.delete(core, ACTOR)
    await until_refused(keys, of_team, "team_disabled")
    await users.delete(alice, ACTOR)
    await until_refused(keys, of_user, "user_disabled")
    assert (await keys.find(free)).name == "app"
    assert (await refusal(keys.register.create(KeyTerms("new", team="core"), ACTOR))).code == "conflict"
    assert (await refusal(keys.register.create(KeyTerms("new", user=str(alice)), ACTOR))).param == "user"


async def test_a_change_is_noted_whole_and_a_refused_one_not_at_all(
    teams: Teams, keys: Keys, postgres: Postgres
) -> None:
    team = await teams.create("core", ACTOR)
    await teams.update(uuid.UUID(team.id), {"weight": 3.0}, ACTOR)
    record, token = await keys.register.create(KeyTerms("app", team="core", user="alice", admin_role="admin"), ACTOR)
    await keys.register.update(uuid.UUID(record.id), {"disabled": True}, ACTOR)
    new, new_token = await keys.register.rotate(uuid.UUID(record.id), 0, ACTOR)
    assert new.admin_role == "admin"
    await keys.register.revoke(uuid.UUID(new.id), ACTOR)
    await keys.register.revoke(uuid.UUID(new.id), ACTOR)
    log = AuditLog(postgres)
    rows, more = await log.page(AuditFilter())
    assert not more
    assert [(row.object_type, row.action) for row in reversed(rows)] == [
        ("team", "created"),
        ("team", "changed"),
        ("user", "created"),
        ("key", "created"),
        ("key", "changed"),
        ("key", "rotated"),
        ("key", "created"),
        ("key", "revoked"),
    ]
    assert {(row.actor, row.actor_role, row.client_ip) for row in rows} == {("a-key", "owner", "192.0.2.1")}
    changed = rows[-2]
    assert changed.before is not None
    assert changed.after is not None
    assert (changed.before["weight"], changed.after["weight"], changed.team_id) == (1.0, 3.0, team.id)
    text = orjson.dumps([(row.before, row.after) for row in rows]).decode()
    for secret in (token, new_token, token[:9], SECRETS.current.hash_token(token).hex(), "hash", "hint", "fingerprint"):
        assert secret not in text
    assert [row.id for row in (await log.page(AuditFilter(object_type="key", object_id=record.id)))[0]] == [
        rows[2].id,
        rows[3].id,
        rows[4].id,
    ]
    assert (await log.page(AuditFilter(actor="nobody")))[0] == []
    assert (await log.page(AuditFilter(since=rows[0].at, until=rows[0].at)))[0] == []
    assert {row.id for row in (await log.page(AuditFilter(team_id=uuid.UUID(team.id))))[0]} == {
        row.id for row in rows if row.object_type != "user"
    }


async def test_the_audit_log_takes_rows_and_lets_none_be_changed(postgres: Postgres) -> None:
    async def write(connection: Any) -> None:
        await note(connection, ACTOR, "created", "thing", "1", None, {"id": UNKNOWN, "at": 1})

    await postgres.in_transaction(write)
    for statement in ("UPDATE audit_log SET actor = 'x'", "DELETE FROM audit_log", "TRUNCATE audit_log"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
            await postgres.execute(statement)
    (row,) = (await AuditLog(postgres).page(AuditFilter()))[0]
    assert row.after == {"id": str(UNKNOWN), "at": 1}


async def test_a_change_that_cannot_be_noted_is_not_made(teams: Teams, postgres: Postgres) -> None:
    await postgres.execute("ALTER TABLE audit_log ADD CONSTRAINT broken CHECK (action <> 'created')")
    with pytest.raises(asyncpg.CheckViolationError):
        await teams.create("core", ACTOR)
    assert await postgres.fetchval("SELECT count(*) FROM teams") == 0
