"""`/admin/limits` and `/admin/budgets` on a real PostgreSQL, without HTTP."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.server.admin.budgets import BudgetHandlers
from gateway.server.admin.limits import LimitHandlers
from gateway.server.admin.request import AdminRequest
from gateway.services.budgets.register import BudgetRegister
from gateway.services.limits.limit import Limit
from gateway.services.limits.register import LimitRegister
from gateway.store.audit import Actor
from gateway.store.follower import nobody_follows
from gateway.store.postgres import Postgres
from tests.integration.services.governed import UNKNOWN, add_key, add_team, add_user, refusal

Call = Callable[..., Any]
DECLARED = (
    Limit("config:provider:lab", "provider", "lab", requests_per_minute=5),
    Limit("config:model:fast", "model", "fast", max_concurrency=2),
)
BUDGET = {"scope": "global", "limit_usd": 10}


@pytest.fixture
def call(postgres: Postgres) -> Call:
    handlers = (
        LimitHandlers(LimitRegister(postgres, nobody_follows), lambda: DECLARED),
        BudgetHandlers(BudgetRegister(postgres, nobody_follows)),
    )
    routes = {(method, pattern): handler for one in handlers for method, pattern, handler in one.routes()}

    async def send(
        method: str, pattern: str, body: object = None, *, id: str = "", team: str | None = None, **query: str
    ) -> Any:
        raw = body if isinstance(body, bytes) else b"" if body is None else orjson.dumps(body)
        actor = Actor("a key", "owner" if team is None else "admin")
        team_id = None if team is None else uuid.UUID(team)
        request = AdminRequest(method, {"id": id}, query, raw, actor, team_id)
        status, payload = await routes[method, pattern](request)
        return status, orjson.loads(orjson.dumps(payload))

    return send


async def refused(work: Any) -> tuple[str, str | None]:
    with pytest.raises(GatewayError) as raised:
        await work
    return refusal(raised)


async def test_a_limit_is_set_listed_changed_and_deleted(call: Call) -> None:
    body = {"scope": "model", "subject": "fast", "requests_per_minute": 60, "tokens_per_day": 0}
    status, made = await call("POST", "/admin/limits", body)
    assert status == 201
    assert (made["object"], made["managed_by"], made["team_id"]) == ("limit", "admin", None)
    assert {name: made[name] for name in body} == body
    assert await call("GET", "/admin/limits/{id}", id=made["id"]) == (200, made)
    status, again = await call("POST", "/admin/limits", {**body, "requests_per_minute": 61})
    assert (status, again["id"], again["requests_per_minute"]) == (200, made["id"], 61)
    status, changed = await call("PATCH", "/admin/limits/{id}", {"tokens_per_day": None}, id=made["id"])
    assert (status, changed["requests_per_minute"], changed["tokens_per_day"]) == (200, 61, None)

    _, page = await call("GET", "/admin/limits")
    assert (page["data"], page["has_more"], page["last_id"]) == ([changed], False, made["id"])
    assert [limit["id"] for limit in page["declared"]] == ["config:provider:lab", "config:model:fast"]
    _, page = await call("GET", "/admin/limits", scope="model", subject="fast")
    assert (len(page["data"]), [limit["id"] for limit in page["declared"]]) == (1, ["config:model:fast"])

    status, deleted = await call("DELETE", "/admin/limits/{id}", id=made["id"])
    assert (status, deleted["deleted"]) == (200, True)
    assert await refused(call("GET", "/admin/limits/{id}", id=made["id"])) == ("not_found", None)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"scope": "galaxy"}, ("invalid_field", "scope")),
        ({"requests_per_minute": 1}, ("missing_field", "scope")),
        ({"scope": "global"}, ("missing_field", None)),
        ({"scope": "global", "requests_per_minute": -1}, ("invalid_field", "requests_per_minute")),
        ({"scope": "global", "requests_per_minute": 1.0}, ("invalid_field", "requests_per_minute")),
        ({"scope": "global", "requests_per_minute": 10**13}, ("invalid_field", "requests_per_minute")),
        ({"scope": "global", "rpm": 1}, ("invalid_field", "rpm")),
        ({"scope": "global", "max_concurrency": 1, "on_store_failure": None}, ("invalid_field", "on_store_failure")),
        ({"scope": "key", "subject": UNKNOWN, "max_concurrency": 1}, ("invalid_field", "subject")),
        ({"scope": "model", "subject": "a\0b", "max_concurrency": 1}, ("invalid_field", "subject")),
        ({"scope": "global", "max_concurrency": 1, "id": UNKNOWN}, ("invalid_field", "id")),
    ],
)
async def test_a_limit_that_makes_no_sense_is_refused(call: Call, body: Any, expected: Any) -> None:
    assert await refused(call("POST", "/admin/limits", body)) == expected


async def test_a_budget_is_made_topped_up_reset_changed_and_deleted(call: Call, postgres: Postgres) -> None:
    status, made = await call(
        "POST", "/admin/budgets", {**BUDGET, "limit_usd": "12.345678901", "time_zone": "Asia/Tokyo"}
    )
    assert status == 201
    assert (made["object"], made["name"], made["limit_usd"]) == ("budget", "global", 12.345678901)
    assert (made["period"], made["time_zone"], made["thresholds"]) == ("month", "Asia/Tokyo", [50, 80, 100])
    assert (made["hard"], made["unbounded_usd"], made["remaining_usd"]) == (True, None, 12.345678901)
    current = made["current"]
    assert (current["settled_usd"], current["topped_up_usd"], current["lost_usd"]) == (0, 0, 0)
    assert current["starts_at"].endswith("-{:02}T15:00:00Z".format(int(current["starts_at"][8:10])))
    assert await call("GET", "/admin/budgets/{id}", id=made["id"]) == (200, made)
    assert not [name for name in made if "nano" in name]

    await postgres.execute("UPDATE budget_periods SET settled_nano_usd = 345678901, lost_nano_usd = 2000000000")
    _, topped_up = await call("POST", "/admin/budgets/{id}/top-up", {"amount_usd": 0.5}, id=made["id"])
    assert (topped_up["current"]["topped_up_usd"], topped_up["remaining_usd"]) == (0.5, 10.5)
    _, page = await call("GET", "/admin/budgets", scope="global")
    assert (page["data"], page["has_more"]) == ([topped_up], False)
    _, reset = await call("POST", "/admin/budgets/{id}/reset", id=made["id"])
    assert reset["remaining_usd"] == 12.345678901
    assert reset["current"]["starts_at"] > current["starts_at"]
    changes = {"limit_usd": 1, "thresholds": [90, 10, 90], "hard": False, "unbounded_usd": "0.25", "name": " mine "}
    _, changed = await call("PATCH", "/admin/budgets/{id}", changes, id=made["id"])
    assert {name: changed[name] for name in changes} == {
        "limit_usd": 1,
        "thresholds": [10, 90],
        "hard": False,
        "unbounded_usd": 0.25,
        "name": "mine",
    }
    _, changed = await call("PATCH", "/admin/budgets/{id}", {"unbounded_usd": None}, id=made["id"])
    assert (changed["unbounded_usd"], changed["limit_usd"]) == (None, 1)
    _, deleted = await call("DELETE", "/admin/budgets/{id}", id=made["id"])
    assert deleted["deleted"] is True
    assert await refused(call("GET", "/admin/budgets/{id}", id=made["id"])) == ("not_found", None)
    actions = await postgres.fetch("SELECT action, actor, actor_role FROM audit_log ORDER BY id")
    assert [row["action"] for row in actions] == ["created", "topped_up", "reset", "changed", "changed", "deleted"]
    assert {(row["actor"], row["actor_role"]) for row in actions} == {("a key", "owner")}


@pytest.mark.parametrize(
    "amount",
    [
        "",
        "ten",
        "1.0000000001",
        1e-10,
        -1,
        "-0.01",
        True,
        None,
        [],
        9007199.3,
        "1e999999999",
        "NaN",
        "Infinity",
        "1" * 30,
    ],
)
async def test_an_amount_that_cannot_be_counted_is_refused(call: Call, amount: Any) -> None:
    body = {**BUDGET, "limit_usd": amount}
    assert await refused(call("POST", "/admin/budgets", body)) == ("invalid_field", "limit_usd")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"period": "year"}, "period"),
        ({"reset_day": 0}, "reset_day"),
        ({"reset_day": 32}, "reset_day"),
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
        ({"time_zone": "../../etc/passwd"}, "time_zone"),
        ({"thresholds": [0]}, "thresholds.0"),
        ({"thresholds": [1] * 17}, "thresholds"),
        ({"on_too_dear": "pay"}, "on_too_dear"),
        ({"max_end_users": 0}, "max_end_users"),
        ({"name": None}, "name"),
        ({"hard": 1}, "hard"),
        ({"current_usage": 0}, "current_usage"),
    ],
)
async def test_a_budget_that_makes_no_sense_is_refused(call: Call, changes: Any, field: str) -> None:
    assert await refused(call("POST", "/admin/budgets", {**BUDGET, **changes})) == ("invalid_field", field)
    _, made = await call("POST", "/admin/budgets", BUDGET)
    assert await refused(call("PATCH", "/admin/budgets/{id}", changes, id=made["id"])) == ("invalid_field", field)


async def test_nothing_is_topped_up_by_nothing(call: Call) -> None:
    _, made = await call("POST", "/admin/budgets", BUDGET)
    for amount in (0, "0.0"):
        work = call("POST", "/admin/budgets/{id}/top-up", {"amount_usd": amount}, id=made["id"])
        assert await refused(work) == ("invalid_field", "amount_usd")
    assert await refused(call("PATCH", "/admin/budgets/{id}", {}, id=made["id"])) == ("missing_field", None)


async def test_an_end_users_period_is_shown_by_name(call: Call, postgres: Postgres) -> None:
    key = await add_key(postgres)
    _, made = await call("POST", "/admin/budgets", {"scope": "end_user", "subject": key, "limit_usd": 1})
    assert (made["current"], made["remaining_usd"]) == (None, 1)
    body = {"amount_usd": 2, "end_user": "ann"}
    _, topped_up = await call("POST", "/admin/budgets/{id}/top-up", body, id=made["id"])
    assert topped_up["remaining_usd"] == 3
    _, found = await call("GET", "/admin/budgets/{id}", id=made["id"], end_user="ann")
    assert found == topped_up
    await call("POST", "/admin/budgets/{id}/reset", {"end_user": "ann"}, id=made["id"])
    _, found = await call("GET", "/admin/budgets/{id}", id=made["id"], end_user="ann")
    assert found["remaining_usd"] == 1


@pytest.mark.parametrize("what", ["limits", "budgets"])
async def test_a_team_admin_sees_its_own_team_and_sets_what_its_keys_have(
    call: Call, postgres: Postgres, what: str
) -> None:
    team = await add_team(postgres, "core")
    own, foreign = await add_key(postgres, team_id=team), await add_key(postgres)
    fields = {"max_concurrency": 1} if what == "limits" else {"limit_usd": 1}
    _, on_team = await call("POST", f"/admin/{what}", {"scope": "team", "subject": team, **fields})
    _, on_other = await call("POST", f"/admin/{what}", {"scope": "key", "subject": foreign, **fields})
    _, on_own = await call("POST", f"/admin/{what}", {"scope": "key", "subject": own, **fields}, team=team)
    _, page = await call("GET", f"/admin/{what}", team=team)
    assert {one["id"] for one in page["data"]} == {on_own["id"], on_team["id"]}
    assert page.get("declared", []) == []
    assert (await call("GET", f"/admin/{what}/{{id}}", id=on_team["id"], team=team))[0] == 200
    assert await refused(call("GET", f"/admin/{what}/{{id}}", id=on_other["id"], team=team)) == ("not_found", None)
    change = ("PATCH", f"/admin/{what}/{{id}}", fields)
    assert (await call(*change, id=on_own["id"], team=team))[0] == 200
    assert (await refused(call(*change, id=on_team["id"], team=team)))[0] == "role_not_allowed"
    assert (await refused(call(*change, id=on_other["id"], team=team)))[0] == "not_found"


async def test_what_an_owner_set_a_team_admin_lowers_and_nothing_else(call: Call, postgres: Postgres) -> None:
    team = await add_team(postgres, "core")
    key = await add_key(postgres, team_id=team)
    place = {"scope": "key", "subject": key}
    _, limit = await call("POST", "/admin/limits", {**place, "requests_per_minute": 60, "max_concurrency": 4})
    _, budget = await call("POST", "/admin/budgets", {**place, "limit_usd": 10, "unbounded_usd": 1})
    assert limit["set_by_owner"]
    assert budget["set_by_owner"]
    on_limit, on_budget = "/admin/limits/{id}", "/admin/budgets/{id}"
    for path, made, changes in (
        (on_limit, limit, {"requests_per_minute": 61}),
        (on_limit, limit, {"max_concurrency": None}),
        (on_limit, limit, {"max_concurrency": 1, "on_store_failure": "allow"}),
        (on_budget, budget, {"limit_usd": 10.01}),
        (on_budget, budget, {"unbounded_usd": 1.5}),
        (on_budget, budget, {"hard": False}),
        (on_budget, budget, {"period": "day"}),
        (on_budget, budget, {"limit_usd": 9, "time_zone": "Europe/Berlin"}),
        (on_budget, budget, {"thresholds": []}),
        (on_budget, budget, {"max_end_users": 10_001}),
    ):
        work = call("PATCH", path, changes, id=made["id"], team=team)
        assert await refused(work) == ("role_not_allowed", None), changes
    for method, path, made, body in (
        ("DELETE", on_limit, limit, None),
        ("POST", "/admin/limits", limit, {**place, "requests_per_minute": 60}),  # takes the other number away
        ("DELETE", on_budget, budget, None),
        ("POST", f"{on_budget}/top-up", budget, {"amount_usd": 1}),
        ("POST", f"{on_budget}/reset", budget, {}),
    ):
        assert (await refused(call(method, path, body, id=made["id"], team=team)))[0] == "role_not_allowed", (
            method,
            path,
        )
    assert await call("GET", on_limit, id=limit["id"]) == (200, limit)
    assert await call("GET", on_budget, id=budget["id"]) == (200, budget)

    lower = {"requests_per_minute": 5, "tokens_per_day": 1000, "on_store_failure": "deny"}
    _, lowered = await call("PATCH", on_limit, lower, id=limit["id"], team=team)
    assert (lowered["requests_per_minute"], lowered["tokens_per_day"], lowered["set_by_owner"]) == (5, 1000, True)
    _, lowered = await call("PATCH", on_budget, {"limit_usd": 9, "unbounded_usd": None}, id=budget["id"], team=team)
    assert (lowered["limit_usd"], lowered["unbounded_usd"], lowered["set_by_owner"]) == (9, None, True)
    back = call("PATCH", on_limit, {"requests_per_minute": 60}, id=limit["id"], team=team)
    assert (await refused(back))[0] == "role_not_allowed"
    assert (await call("PATCH", on_limit, {"requests_per_minute": 60}, id=limit["id"]))[0] == 200


async def test_a_team_admin_sets_what_the_teams_own_limits_allow_and_changes_that_until_an_owner_does(
    call: Call, postgres: Postgres
) -> None:
    team = await add_team(postgres, "core")
    key = await add_key(postgres, team_id=team)
    of_team, place = {"scope": "team", "subject": team}, {"scope": "key", "subject": key}
    await call("POST", "/admin/limits", {**of_team, "requests_per_minute": 100})
    await call("POST", "/admin/limits", {**of_team, "model": "big", "requests_per_minute": 10})
    await call("POST", "/admin/budgets", {**of_team, "limit_usd": 50})
    for path, body, field in (
        ("limits", {**place, "requests_per_minute": 101}, "requests_per_minute"),
        ("limits", {**place, "model": "big", "requests_per_minute": 11}, "requests_per_minute"),
        ("budgets", {**place, "limit_usd": 50.1}, "limit_usd"),
    ):
        assert await refused(call("POST", f"/admin/{path}", body, team=team)) == ("role_not_allowed", field)
    limit = {**place, "requests_per_minute": 100, "tokens_per_day": 10**9}
    _, limit = await call("POST", "/admin/limits", limit, team=team)
    _, budget = await call("POST", "/admin/budgets", {**place, "limit_usd": 40}, team=team)
    on_budget = "/admin/budgets/{id}"
    assert (limit["set_by_owner"], budget["set_by_owner"]) == (False, False)
    assert (await call("POST", f"{on_budget}/top-up", {"amount_usd": 10}, id=budget["id"], team=team))[0] == 200
    more = call("POST", f"{on_budget}/top-up", {"amount_usd": 0.1}, id=budget["id"], team=team)
    assert await refused(more) == ("role_not_allowed", "limit_usd")
    assert (await call("POST", f"{on_budget}/reset", {}, id=budget["id"], team=team))[0] == 200
    _, other = await call("POST", "/admin/budgets", {**place, "limit_usd": 60, "period": "day"}, team=team)
    to_month = call("PATCH", on_budget, {"period": "month"}, id=other["id"], team=team)
    assert await refused(to_month) == ("role_not_allowed", "limit_usd")
    assert (await call("DELETE", on_budget, id=other["id"], team=team))[0] == 200

    _, changed = await call("PATCH", on_budget, {"limit_usd": 45}, id=budget["id"])
    assert changed["set_by_owner"]
    assert (await refused(call("DELETE", on_budget, id=budget["id"], team=team)))[0] == "role_not_allowed"
    # What is above the team's own by now may be lowered all the same.
    await call("PATCH", "/admin/limits/{id}", {"requests_per_minute": 500}, id=limit["id"])
    assert (await call("PATCH", "/admin/limits/{id}", {"requests_per_minute": 400}, id=limit["id"], team=team))[
        0
    ] == 200


@pytest.mark.parametrize("what", ["limits", "budgets"])
async def test_a_user_is_a_team_admins_as_long_as_it_is_in_no_other_team(
    call: Call, postgres: Postgres, what: str
) -> None:
    team, other = await add_team(postgres, "core"), await add_team(postgres, "other")
    ann, stranger = await add_user(postgres, "ann"), await add_user(postgres, "stranger")
    join = "INSERT INTO team_members (team_id, user_id) VALUES ($1::uuid, $2::uuid)"
    await postgres.execute(join, team, ann)
    fields = {"max_concurrency": 1} if what == "limits" else {"limit_usd": 1}
    _, made = await call("POST", f"/admin/{what}", {"scope": "user", "subject": ann, **fields}, team=team)
    assert made["team_id"] == team
    assert [one["id"] for one in (await call("GET", f"/admin/{what}", team=team))[1]["data"]] == [made["id"]]
    assert (await call("GET", f"/admin/{what}", team=other))[1]["data"] == []
    set_stranger = call("POST", f"/admin/{what}", {"scope": "user", "subject": stranger, **fields}, team=team)
    assert (await refused(set_stranger))[0] == "role_not_allowed"
    await postgres.execute(join, other, ann)
    for one in (team, other):
        assert (await refused(call("DELETE", f"/admin/{what}/{{id}}", id=made["id"], team=one)))[0] == "not_found"
        again = call("POST", f"/admin/{what}", {"scope": "user", "subject": ann, **fields}, team=one)
        assert (await refused(again))[0] == "role_not_allowed"
    assert (await call("GET", f"/admin/{what}/{{id}}", id=made["id"]))[1]["team_id"] is None


async def test_an_id_that_is_none_is_not_found(call: Call) -> None:
    for what in ("limits", "budgets"):
        for text in ("", "x", UNKNOWN, UNKNOWN.replace("-", "")):
            assert await refused(call("GET", f"/admin/{what}/{{id}}", id=text)) == ("not_found", None)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
_FIELDS = ["scope", "subject", "model", "limit_usd", "period", "time_zone", "thresholds", "max_concurrency", "name"]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.dictionaries(st.sampled_from(_FIELDS), _json | st.sampled_from(["global", "key", "model"]), max_size=6))
async def test_no_body_raises_anything_but_a_gateway_error(call: Call, body: dict[str, Any]) -> None:
    for path in ("/admin/limits", "/admin/budgets"):
        try:
            raw = orjson.dumps(body)
        except TypeError:  # an integer beyond 64 bits, or half of a surrogate pair: no JSON of ours
            return
        try:
            status, _ = await call("POST", path, raw)
        except GatewayError as error:
            status = error.status
        assert status in (200, 201, 400)
