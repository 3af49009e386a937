"""`/admin/keys` on a real PostgreSQL, without HTTP."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.assembly.administration import KeyAllowances
from gateway.errors import GatewayError
from gateway.server.admin.keys import KeyHandlers
from gateway.server.admin.request import AdminRequest
from gateway.services.keys.secret import Secret, Secrets
from gateway.services.keys.service import Keys
from gateway.store.postgres import Postgres
from gateway.tasks import Tasks

Call = Callable[..., Any]
UNKNOWN = str(uuid.UUID(int=7))


@pytest.fixture
async def keys(postgres: Postgres) -> AsyncIterator[Keys]:
    tasks = Tasks()
    secrets = Secrets(Secret.parse("the secret that is in force today"))
    made = Keys(postgres, secrets, tasks, allowances=KeyAllowances())
    await made.register.check_secret()
    yield made
    await tasks.drain(0)


@pytest.fixture
def call(keys: Keys) -> Call:
    routes = {(method, pattern): handler for method, pattern, handler in KeyHandlers(keys.register).routes()}

    async def send(method: str, pattern: str, body: object = None, *, id: str = "", **query: str) -> Any:
        raw = body if isinstance(body, bytes) else b"" if body is None else orjson.dumps(body)
        status, payload = await routes[method, pattern](AdminRequest(method, {"id": id}, query, raw))
        return status, orjson.loads(orjson.dumps(payload))

    return send


async def refused(work: Any) -> GatewayError:
    with pytest.raises(GatewayError) as raised:
        await work
    return raised.value


async def test_a_key_is_made_shown_once_listed_changed_rotated_and_revoked(call: Call, keys: Keys) -> None:
    expires_at = (datetime.now(UTC) + timedelta(days=2)).replace(microsecond=0)
    body = {"name": " app ", "team": "core", "models": ["gpt-*", "openai/*"], "endpoints": ["default", "files"]}
    status, made = await call("POST", "/admin/keys", {**body, "expires_at": expires_at.isoformat()})
    assert status == 201
    token = made.pop("key")
    assert (await keys.find(token)).id == made["id"]
    assert made["object"] == "key"
    assert (made["name"], made["team"], made["models"]) == ("app", "core", ["gpt-*", "openai/*"])
    assert made["expires_at"] == expires_at.isoformat().replace("+00:00", "Z")
    assert token not in orjson.dumps(made).decode()

    assert await call("GET", "/admin/keys/{id}", id=made["id"]) == (200, made)
    _, page = await call("GET", "/admin/keys")
    assert page == {"object": "list", "data": [made], "has_more": False, "last_id": made["id"]}

    status, changed = await call("PATCH", "/admin/keys/{id}", {"disabled": True, "models": None}, id=made["id"])
    assert (status, changed["state"], changed["models"], changed["endpoints"]) == (
        200,
        "disabled",
        None,
        ["default", "files"],
    )
    await call("PATCH", "/admin/keys/{id}", {"disabled": False}, id=made["id"])

    status, rotated = await call("POST", "/admin/keys/{id}/rotate", {"overlap_s": 60}, id=made["id"])
    assert (status, rotated["rotated_from"]) == (201, made["id"])
    assert (await keys.find(rotated["key"])).id == rotated["id"]
    assert (await keys.find(token)).id == made["id"]

    status, gone = await call("DELETE", "/admin/keys/{id}", id=made["id"])
    assert (status, gone["deleted"], gone["state"]) == (200, True, "revoked")
    assert (await refused(keys.find(token))).status == 401
    _, page = await call("GET", "/admin/keys")
    assert [key["id"] for key in page["data"]] == [rotated["id"]]
    _, page = await call("GET", "/admin/keys", include_revoked="true", limit="1")
    assert (page["has_more"], page["last_id"]) == (True, rotated["id"])


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ({}, "name", "missing"),
        ({"name": ""}, "name", "at least 1 character"),
        ({"name": "  "}, "name", "at least 1 character"),
        ({"name": "x" * 201}, "name", "at most 200"),
        ({"name": "a\0b"}, "name", "control characters"),
        ({"name": 5}, "name", "valid string"),
        ({"name": "a", "models": []}, "models", "at least 1 item"),
        ({"name": "a", "models": "gpt"}, "models", "valid list"),
        ({"name": "a", "models": ["a", ""]}, "models.1", "at least 1 character"),
        ({"name": "a", "models": ["a*b*c*d*e"]}, "models.0", "at most 3"),
        ({"name": "a", "endpoints": ["file"]}, "endpoints.0", "did you mean `files`?"),
        ({"name": "a", "expires_at": "2020-01-01T00:00:00Z"}, "expires_at", "has passed"),
        ({"name": "a", "expires_at": "2030-01-01T00:00:00"}, "expires_at", "timezone"),
        ({"name": "a", "expires_at": "9999-12-31T23:59:59-23:59"}, "expires_at", "hundred years"),
        ({"name": "a", "expires_at": "soon"}, "expires_at", "valid datetime"),
        ({"name": "a", "expires_at": 1e300}, "expires_at", ""),
        ({"name": "a", "user": UNKNOWN}, "user", "no user"),
        ({"name": "a", "model": ["b"]}, "model", "did you mean `models`?"),
        ({"name": "a", "disabled": True}, "disabled", "no such field"),
        ({"name": "a", "admin_role": "admin"}, "admin_role", "which `team`"),
        ({"name": "a", "admin_role": "master"}, "admin_role", "'owner', 'admin' or 'viewer'"),
        ({"name": "a", "rpm": -5}, "rpm", "greater than or equal to 0"),
        ({"name": "a", "tpm": 1.5}, "tpm", "valid integer"),
        ({"name": "a", "max_concurrency": "5"}, "max_concurrency", "valid integer"),
        ({"name": "a", "budget": 5}, "budget", "valid dictionary"),
        ({"name": "a", "budget": {}}, "budget.limit_usd", "missing"),
        ({"name": "a", "budget": {"limit_usd": "0.0000000001"}}, "budget.limit_usd", "9 decimals"),
    ],
)
async def test_a_key_that_cannot_be_is_refused_and_not_made(
    call: Call, postgres: Postgres, body: object, param: str, words: str
) -> None:
    error = await refused(call("POST", "/admin/keys", body))
    assert (error.status, error.param) == (400, param)
    assert words in error.message
    assert await postgres.fetchval("SELECT count(*) FROM api_keys") == 0


async def test_limits_and_a_budget_are_part_of_a_key_and_stay_with_its_successor(
    call: Call, postgres: Postgres
) -> None:
    body = {"name": "app", "rpm": 60, "max_concurrency": 2, "budget": {"limit_usd": "12.5", "period": "day"}}
    _, made = await call("POST", "/admin/keys", body)
    assert (made["rpm"], made["tpm"], made["max_concurrency"]) == (60, None, 2)
    budget = made["budget"]
    assert (budget["limit_usd"], budget["period"], budget["reset_day"]) == (12.5, "day", 1)
    changes = {"rpm": None, "tpm": 1000, "budget": {"limit_usd": 20}}
    _, changed = await call("PATCH", "/admin/keys/{id}", changes, id=made["id"])
    assert (changed["rpm"], changed["tpm"], changed["max_concurrency"]) == (None, 1000, 2)
    assert (changed["budget"]["limit_usd"], changed["budget"]["period"]) == (20.0, "day")
    _, rotated = await call("POST", "/admin/keys/{id}/rotate", {}, id=made["id"])
    assert (rotated["tpm"], rotated["budget"]) == (1000, changed["budget"])
    _, bare = await call("POST", "/admin/keys", {"name": "bare"})
    _, page = await call("GET", "/admin/keys")
    assert {key["id"]: key["tpm"] for key in page["data"]} == {bare["id"]: None, rotated["id"]: 1000, made["id"]: 1000}
    _, without = await call(
        "PATCH", "/admin/keys/{id}", {"tpm": None, "max_concurrency": None, "budget": None}, id=rotated["id"]
    )
    assert (without["tpm"], without["max_concurrency"], without["budget"]) == (None, None, None)
    assert await postgres.fetchval("SELECT count(*) FROM quota_limits WHERE deleted_at IS NULL") == 0


@pytest.mark.parametrize(
    "body", [{}, {"name": None}, {"disabled": "yes"}, {"team": "x"}, {"rpm": -1}, b"{", {"nam": 1}]
)
async def test_a_change_that_cannot_be_is_refused(call: Call, body: object) -> None:
    _, made = await call("POST", "/admin/keys", {"name": "app"})
    assert (await refused(call("PATCH", "/admin/keys/{id}", body, id=made["id"]))).status == 400
    _, after = await call("GET", "/admin/keys/{id}", id=made["id"])
    assert after["updated_at"] == made["updated_at"]


@pytest.mark.parametrize("body", [{"overlap_s": -1}, {"overlap_s": 1.5}, {"overlap_s": 10**9}, {"overlap": 1}, []])
async def test_a_rotation_that_cannot_be_is_refused(call: Call, body: object) -> None:
    _, made = await call("POST", "/admin/keys", {"name": "app"})
    assert (await refused(call("POST", "/admin/keys/{id}/rotate", body, id=made["id"]))).status == 400
    _, page = await call("GET", "/admin/keys")
    assert len(page["data"]) == 1


@pytest.mark.parametrize(
    "query", [{"limit": "0"}, {"limit": "x"}, {"after": "x"}, {"colour": "red"}, {"limit": "1001"}]
)
async def test_a_bad_query_is_refused_by_name(call: Call, query: dict[str, str]) -> None:
    error = await refused(call("GET", "/admin/keys", **query))
    assert (error.status, error.param) == (400, next(iter(query)))


@pytest.mark.parametrize("key_id", [UNKNOWN, "", "1", "not-a-uuid", "\0", "é" * 40, UNKNOWN.replace("-", "")])
async def test_an_unknown_or_impossible_id_is_not_found(call: Call, key_id: str) -> None:
    for method, pattern, body in (
        ("GET", "/admin/keys/{id}", None),
        ("PATCH", "/admin/keys/{id}", {"name": "x"}),
        ("DELETE", "/admin/keys/{id}", None),
        ("POST", "/admin/keys/{id}/rotate", {}),
    ):
        error = await refused(call(method, pattern, body, id=key_id))
        assert (error.code, error.status) == ("not_found", 404)


async def test_what_was_revoked_conflicts_with_changes(call: Call) -> None:
    _, made = await call("POST", "/admin/keys", {"name": "app"})
    await call("DELETE", "/admin/keys/{id}", id=made["id"])
    for method, pattern, body in (
        ("PATCH", "/admin/keys/{id}", {"name": "x"}),
        ("POST", "/admin/keys/{id}/rotate", {}),
    ):
        error = await refused(call(method, pattern, body, id=made["id"]))
        assert (error.code, error.status) == ("conflict", 409)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
fields = ("name", "team", "user", "models", "endpoints", "expires_at", "admin_role", "rpm", "budget")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(fields), json_values, max_size=4))
async def test_any_json_makes_a_key_or_is_refused_with_400(call: Call, body: dict[str, Any]) -> None:
    try:
        status, _ = await call("POST", "/admin/keys", body)
    except GatewayError as error:
        status = error.status
    assert status in (201, 400)
