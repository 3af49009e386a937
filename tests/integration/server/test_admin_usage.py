"""`/admin/usage` and what belongs to it on a real PostgreSQL; the export over real HTTP."""

from __future__ import annotations

import asyncio
import csv
import io
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp.test_utils import TestServer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.server.admin.request import AdminRequest
from gateway.server.admin.usage import UsagePages
from gateway.server.app import make_app
from gateway.server.routes import admin_routes
from gateway.services.keys.key import Key
from gateway.services.ledger.export import Exports
from gateway.services.ledger.reports import Reports
from gateway.store.audit import Actor
from gateway.store.postgres import Postgres
from tests.integration.services.governed import add_key

Call = Callable[..., Any]
NOON = datetime(2026, 5, 10, 12, tzinfo=UTC)
TEAM, OTHER_TEAM = uuid.UUID(int=1), uuid.UUID(int=2)
KEYS = (uuid.UUID(int=11), uuid.UUID(int=12), uuid.UUID(int=13))
SPAN = {"from": "2026-05-01T00:00:00Z", "to": "2026-06-01T00:00:00Z"}


async def use(
    postgres: Postgres,
    at: datetime,
    *,
    key: uuid.UUID | None = KEYS[0],
    team: uuid.UUID | None = TEAM,
    model: str = "small",
    cost: int = 1_000,
    tags: list[str] | None = None,
    outcome: str = "ok",
    end_user: str | None = None,
    request_id: uuid.UUID | None = None,
    attempt: int = 1,
    final: bool = True,
) -> None:
    await postgres.execute(
        'INSERT INTO usage_costs (request_id, attempt, "timestamp", key_id, team_id, model_name, provider_name,'
        " cost_nano_usd, cost_amount, tags, outcome, end_user, final, input_tokens, output_tokens)"
        " VALUES ($1, $2, $3, $4, $5, $6, 'lab', $7, $7::bigint * 0.000000001, $8, $9, $10, $11, 10, 5)",
        request_id or uuid.uuid4(), attempt, at, key, team, model, cost, tags, outcome, end_user, final,
    )  # fmt: skip


@pytest.fixture
def pages(postgres: Postgres) -> UsagePages:
    return UsagePages(Reports(postgres), Exports(postgres))


@pytest.fixture
def call(pages: UsagePages) -> Call:
    async def send(*, actor: Actor | None = None, team: uuid.UUID | None = None, **query: str) -> Any:
        given = {"query": query} if actor is None else {"query": query, "actor": actor, "team_id": team}
        status, payload = await pages.page(AdminRequest("GET", **given))  # type: ignore[arg-type]
        assert status == 200
        return orjson.loads(orjson.dumps(payload))

    return send


def brief(page: Any, *names: str) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in names) for row in page["data"]]


async def test_usage_is_added_up_by_hour_day_month_and_in_all(call: Call, postgres: Postgres) -> None:
    for hours in (0, 0, 1, 24, 24 * 20, 24 * 25):
        await use(postgres, NOON + timedelta(hours=hours, minutes=1))
    hours = await call(interval="hour", **{"from": "2026-05-10T12:30:00Z", "to": "2026-05-10T13:10:00Z"})
    assert brief(hours, "starts_at", "requests", "cost_nano_usd", "cost_usd") == [
        ("2026-05-10T12:00:00Z", 2, 2000, 0.000002),
        ("2026-05-10T13:00:00Z", 1, 1000, 0.000001),
    ]
    assert (hours["from"], hours["to"]) == ("2026-05-10T12:00:00Z", "2026-05-10T14:00:00Z")
    days = await call(interval="day", **SPAN)
    assert brief(days, "starts_at", "attempts") == [
        ("2026-05-10T00:00:00Z", 3),
        ("2026-05-11T00:00:00Z", 1),
        ("2026-05-30T00:00:00Z", 1),
    ]
    months = await call(interval="month", **{"from": "2026-01-01T00:00:00Z", "to": "2026-12-31T00:00:00Z"})
    assert brief(months, "starts_at", "input_tokens") == [("2026-05-01T00:00:00Z", 50), ("2026-06-01T00:00:00Z", 10)]
    total = await call(interval="total", **SPAN)
    assert brief(total, "starts_at", "output_tokens") == [("2026-05-01T00:00:00Z", 25)]
    assert (await call())["data"] == []


async def test_usage_is_grouped_and_filtered_by_who_and_what(call: Call, postgres: Postgres) -> None:
    await use(postgres, NOON)
    await use(postgres, NOON, key=KEYS[1], model="large", outcome="error", final=False)
    await use(postgres, NOON, key=None, team=None)
    await use(postgres, NOON, key=KEYS[2], team=OTHER_TEAM)
    by_key = await call(group_by="key", interval="total", **SPAN)
    assert brief(by_key, "key_id", "attempts") == [*((str(key), 1) for key in KEYS), (None, 1)]
    by_model = await call(group_by="model", interval="total", **SPAN)
    assert brief(by_model, "model", "requests", "attempts", "errors") == [("large", 0, 1, 1), ("small", 3, 3, 0)]
    by_team = await call(group_by="team", interval="total", model="small", **SPAN)
    assert brief(by_team, "team_id", "attempts") == [(str(TEAM), 1), (str(OTHER_TEAM), 1), (None, 1)]
    of_key = await call(key_id=str(KEYS[1]), team_id=str(TEAM), provider="lab", interval="month", **SPAN)
    assert brief(of_key, "attempts") == [(1,)]
    for group in ("user", "provider", "agent", "query_type"):
        assert sum(row["attempts"] for row in (await call(group_by=group, **SPAN))["data"]) == 4
    assert (await call(query_type="none", **SPAN))["data"] == []


async def test_usage_by_tag_counts_an_attempt_under_each_and_knows_teams_only(call: Call, postgres: Postgres) -> None:
    await use(postgres, NOON, tags=["web", "batch"])
    await use(postgres, NOON + timedelta(hours=3), tags=["web", "web"], team=OTHER_TEAM)
    await use(postgres, NOON)
    by_tag = await call(group_by="tag", **SPAN)
    assert brief(by_tag, "starts_at", "tag", "attempts") == [
        ("2026-05-10T00:00:00Z", "batch", 1),
        ("2026-05-10T00:00:00Z", "web", 2),
    ]
    assert brief(await call(tag="web", group_by="team", interval="month", **SPAN), "team_id", "attempts") == [
        (str(TEAM), 1),
        (str(OTHER_TEAM), 1),
    ]
    for query in ({"group_by": "key", "tag": "web"}, {"group_by": "tag", "model": "small"}):
        with pytest.raises(GatewayError) as refused:
            await call(**query)
        assert refused.value.code == "invalid_field"


@pytest.mark.parametrize("group_by", ["key", "model", "tag", None])
@pytest.mark.parametrize("interval", ["hour", "day", "month", "total"])
async def test_pages_put_together_are_the_whole(
    call: Call, postgres: Postgres, group_by: str | None, interval: str
) -> None:
    for number in range(24):
        await use(
            postgres,
            NOON + timedelta(hours=7 * (number // 3)),
            key=(*KEYS, None)[number % 4],
            model=f"m{number % 5}",
            tags=["a:b", f"t{number % 3}"],
        )
    query = {"interval": interval, **({} if group_by is None else {"group_by": group_by}), **SPAN}
    whole = await call(**query, limit="1000")
    assert not whole["has_more"]
    pieces: list[Any] = []
    after: dict[str, str] = {}
    while True:
        piece = await call(**query, **after, limit="2")
        pieces += piece["data"]
        if not piece["has_more"]:
            break
        after = {"after": piece["last_id"]}
    assert pieces == whole["data"]
    assert len({row["id"] for row in pieces}) == len(pieces) > 0


async def test_a_teams_admin_sees_its_own_team_and_no_other(call: Call, pages: UsagePages, postgres: Postgres) -> None:
    theirs = uuid.uuid4()
    await use(postgres, NOON, tags=["web"])
    await use(postgres, NOON, team=OTHER_TEAM, tags=["web"], request_id=theirs)
    admin = Actor("k", "admin", None)
    for query in ({"group_by": "team"}, {"group_by": "tag"}, {"team_id": str(TEAM)}):
        assert brief(await call(actor=admin, team=TEAM, **query, **SPAN), "attempts") == [(1,)]
    with pytest.raises(GatewayError) as refused:
        await call(actor=admin, team=TEAM, team_id=str(OTHER_TEAM))
    assert refused.value.code == "not_found"
    with pytest.raises(GatewayError) as hidden:
        await pages.show_request(AdminRequest("GET", {"id": str(theirs)}, actor=admin, team_id=TEAM))
    assert hidden.value.code == "not_found"
    _, download = await pages.export(AdminRequest("GET", query=SPAN, actor=admin, team_id=TEAM))
    pieces: list[bytes] = []

    async def write(piece: bytes) -> None:
        pieces.append(piece)

    await download.send(write)
    assert [row["team_id"] for row in csv.DictReader(io.StringIO(b"".join(pieces).decode()))] == [str(TEAM)]


async def test_a_request_is_shown_with_all_its_attempts(pages: UsagePages, postgres: Postgres) -> None:
    request_id = uuid.uuid4()
    await use(postgres, NOON + timedelta(seconds=1), request_id=request_id, attempt=2, cost=5, tags=["web"])
    await use(postgres, NOON, request_id=request_id, outcome="error", final=False, cost=7, end_user="ann")
    status, shown = await pages.show_request(AdminRequest("GET", {"id": str(request_id)}))
    shown = orjson.loads(orjson.dumps(shown))
    assert (status, shown["object"], shown["id"], shown["cost_usd"]) == (200, "request", str(request_id), 0.000000012)
    assert [(each["attempt"], each["final"], each["outcome"]) for each in shown["attempts"]] == [
        (1, False, "error"),
        (2, True, "ok"),
    ]
    assert [each["timestamp"] for each in shown["attempts"]] == ["2026-05-10T12:00:00Z", "2026-05-10T12:00:01Z"]
    assert (shown["attempts"][0]["end_user"], shown["attempts"][1]["tags"]) == ("ann", ["web"])
    for unknown in (str(uuid.uuid4()), "no-uuid"):
        with pytest.raises(GatewayError) as refused:
            await pages.show_request(AdminRequest("GET", {"id": unknown}))
        assert refused.value.code == "not_found"


ANY = st.text(max_size=30)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    query=st.dictionaries(
        st.sampled_from(["group_by", "interval", "from", "to", "key_id", "model", "tag", "after", "limit", "x"]),
        st.one_of(
            ANY, st.sampled_from(["key", "tag", "hour", "1", "99999999999", "1:", "1:x", "0", "2026-01-01T00:00Z"])
        ),
        max_size=4,
    )
)
async def test_whatever_is_asked_is_answered_or_refused_by_name(pages: UsagePages, query: dict[str, str]) -> None:
    for handler in (pages.page, pages.export):
        code = "none"
        try:
            await handler(AdminRequest("GET", query=query))
        except GatewayError as error:
            code = error.code
        assert code in ("none", "invalid_field")


# --- the export over HTTP -------------------------------------------------------------------------


class MasterOnly:
    """Everybody is the master key."""

    async def admit_admin(self, headers: object) -> Key:
        return Key(id=None, name="master", is_master=True)


@pytest.fixture
async def url(pages: UsagePages) -> AsyncIterator[str]:
    routes = admin_routes(MasterOnly(), pages.routes())  # type: ignore[arg-type]
    async with TestServer(make_app(routes, lambda request, status, error: None)) as server:
        yield str(server.make_url("/admin/usage/export"))


async def use_much(postgres: Postgres) -> None:
    """More rows than all buffers on the way hold."""
    await postgres.execute(
        'INSERT INTO usage_costs ("timestamp", model_name)'
        " SELECT $1, repeat('x', 400) FROM generate_series(1, 60000)",
        NOON,
    )


async def test_an_export_has_every_row_and_no_formula(url: str, postgres: Postgres) -> None:
    names = ["=1+1", "-x", 'a"b,c\n\\d', "plain", "ü"]
    for name in names:
        await use(postgres, NOON, model=name, tags=["web", "batch"], end_user=name)
    await use(postgres, NOON + timedelta(days=60))
    async with aiohttp.ClientSession() as client:
        async with client.get(url, params={**SPAN, "format": "ndjson"}) as answer:
            assert answer.status == 200
            assert answer.headers["content-type"] == "application/x-ndjson"
            assert 'filename="usage-20260501-20260601.ndjson"' in answer.headers["content-disposition"]
            rows = [orjson.loads(line) for line in (await answer.read()).splitlines()]
        async with client.get(url, params=SPAN) as answer:
            assert answer.headers["content-type"] == "text/csv; charset=utf-8"
            table = list(csv.DictReader(io.StringIO(await answer.text(), newline="")))
    assert sorted(row["model"] for row in rows) == sorted(names)
    assert {row["cost_nano_usd"] for row in rows} == {1000}
    assert rows[0]["tags"] == ["web", "batch"]
    assert sorted(row["model"] for row in table) == sorted(["'=1+1", "'-x", *names[2:]])
    assert sorted(row["end_user"] for row in table) == sorted(["'=1+1", "'-x", *names[2:]])
    assert {row["tags"] for row in table} == {"web,batch"}
    assert {row["cost_usd"] for row in table} == {"0.000001000"}


async def test_an_export_of_nothing_and_a_bad_one_are_answers_too(url: str) -> None:
    async with aiohttp.ClientSession() as client:
        async with client.get(url) as answer:
            assert (answer.status, len((await answer.text()).splitlines())) == (200, 1)
        async with client.get(url, params={"format": "ndjson"}) as answer:
            assert (answer.status, await answer.read()) == (200, b"")
        async with client.get(url, params={"format": "xml"}) as answer:
            assert (answer.status, (await answer.json())["error"]["code"]) == (400, "invalid_field")


async def test_two_exports_run_at_a_time_and_a_client_that_leaves_makes_room(
    url: str, pages: UsagePages, postgres: Postgres
) -> None:
    await use_much(postgres)
    exports = pages._exports
    async with aiohttp.ClientSession(read_bufsize=1024) as client:
        slow = [await client.get(url, params=SPAN) for _ in range(2)]
        async with client.get(url, params=SPAN) as third:
            assert (third.status, (await third.json())["error"]["code"]) == (503, "overloaded")
        assert exports._running == 2  # neither was read to its end: what is not taken is not read from the database
        for each in slow:
            each.close()
        async with asyncio.timeout(30):
            while exports._running:
                await asyncio.sleep(0.01)
        async with client.get(url, params=SPAN) as answer:
            lines = 0
            async for _ in answer.content:
                lines += 1
            assert lines == 60_001


async def test_a_database_that_goes_away_breaks_an_export_off_and_does_not_end_it_as_if_it_were_whole(
    url: str, postgres: Postgres
) -> None:
    await use_much(postgres)
    async with aiohttp.ClientSession(read_bufsize=1024) as client:
        answer = await client.get(url, params=SPAN)
        assert answer.status == 200
        killed = await postgres.fetchval(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE query LIKE 'COPY%' AND state = 'active' AND datname = current_database()"
        )
        assert killed == 1
        with pytest.raises(aiohttp.ClientError):
            await answer.read()


async def test_ids_come_with_the_names_of_keys_teams_and_users_whoever_is_gone(call: Call, postgres: Postgres) -> None:
    team = await postgres.fetchval("INSERT INTO teams (name, deleted_at) VALUES ('red', now()) RETURNING id")
    named = await postgres.fetchval("INSERT INTO users (name, email) VALUES ('Ann', 'ann@example.com') RETURNING id")
    nameless = await postgres.fetchval("INSERT INTO users (email) VALUES ('ben@example.com') RETURNING id")
    key = uuid.UUID(await add_key(postgres, team_id=str(team)))
    await use(postgres, NOON, key=key, team=team)
    await use(postgres, NOON, key=None, team=None)
    await use(postgres, NOON, key=KEYS[0], team=TEAM)  # nobody knows whose it was
    query = (
        "INSERT INTO usage_costs (\"timestamp\", user_id, final, outcome, cost_nano_usd) VALUES ($1, $2, true, 'ok', 1)"
    )
    for user in (named, nameless):
        await postgres.execute(query, NOON, user)
    found = {row["key_id"]: row["key_name"] for row in (await call(group_by="key", **SPAN))["data"]}
    assert found == {str(key): "app", str(KEYS[0]): None, None: None}
    found = {row["team_id"]: row["team_name"] for row in (await call(group_by="team", **SPAN))["data"]}
    assert found == {str(team): "red", str(TEAM): None, None: None}
    found = {row["user_id"]: row["user_name"] for row in (await call(group_by="user", **SPAN))["data"]}
    assert found == {str(named): "Ann", str(nameless): "ben@example.com", None: None}
    for by in ("model", "provider", "tag"):
        assert not [name for row in (await call(group_by=by, **SPAN))["data"] for name in row if name.endswith("_name")]
    # In the order of the pages, and without more rows than groups.
    first = await call(group_by="key", limit="2", **SPAN)
    second = await call(group_by="key", after=first["last_id"], **SPAN)
    ids = [row["key_id"] for page in (first, second) for row in page["data"]]
    assert ids == [str(KEYS[0]), str(key), None]
