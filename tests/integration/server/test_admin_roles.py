"""The admin API over HTTP, as each role finds it: a running gateway, admin keys, what is allowed and what is not."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from tests.acceptance.gateway_process import MASTER_KEY, GatewayProcess, gateway

CONFIG = """
providers: {demo: {type: demo}}
models: [{name: demo, targets: [{provider: demo, model: demo}]}]
"""
UNKNOWN = "00000000-0000-0000-0000-000000000007"


class Site:
    """The gateway with two teams, `core` and `other`, and an admin key of each role."""

    def __init__(self, running: GatewayProcess) -> None:
        self._url = running.url
        self.acme = self.made("organisations", {"name": "acme"})["id"]
        self.teams = {name: self.made("teams", {"name": name})["id"] for name in ("core", "other")}
        self.users = {name: self.made("users", {"name": name})["id"] for name in ("alice", "bob")}
        self.made(f"teams/{self.teams['core']}/members", {"user_id": self.users["alice"]})
        self.keys = {
            role: self.made("keys", {"name": role, "team": "core", "admin_role": role})
            for role in ("owner", "admin", "viewer")
        }
        self.keys["none"] = self.made("keys", {"name": "plain", "team": "core"})
        self.keys["other"] = self.made("keys", {"name": "other's", "team": "other"})

    def call(self, role: str, method: str, path: str, body: object = None) -> tuple[int, Any]:
        token = MASTER_KEY if role == "master" else self.keys[role]["key"]
        request = urllib.request.Request(
            f"{self._url}/{path}",
            method=method,
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
            data=None if body is None else orjson.dumps(body),
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, orjson.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, orjson.loads(error.read())["error"]

    def admin(self, role: str, method: str, path: str, body: object = None) -> tuple[int, Any]:
        return self.call(role, method, f"admin/{path}", body)

    def made(self, what: str, body: object) -> Any:
        status, payload = self.admin("master", "POST", what, body)
        assert status == 201, payload
        return payload


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("roles")
    config = folder / "gateway.yaml"
    config.write_text(CONFIG)
    with gateway(folder / "home", config) as running:
        yield Site(running)


LISTS = ("audit", "config", "keys", "models", "organisations", "providers", "targets", "teams", "users")
OPEN_TO_A_TEAM = {"audit", "keys", "teams", "users"}


@pytest.mark.parametrize("path", LISTS)
def test_an_owner_and_a_viewer_read_every_list_and_a_teams_admin_its_own(site: Site, path: str) -> None:
    for role in ("master", "owner", "viewer"):
        assert site.admin(role, "GET", path)[0] == 200
    status, answer = site.admin("admin", "GET", path)
    assert status == (200 if path in OPEN_TO_A_TEAM else 403)
    if status == 403:
        assert answer["code"] == "role_not_allowed"
    status, answer = site.admin("none", "GET", path)
    assert (status, answer["code"]) == (403, "admin_required")


def test_a_viewer_changes_nothing(site: Site) -> None:
    key_id, team_id, user_id = site.keys["none"]["id"], site.teams["core"], site.users["alice"]
    for method, path, body in (
        ("POST", "keys", {"name": "x"}),
        ("PATCH", f"keys/{key_id}", {"name": "x"}),
        ("DELETE", f"keys/{key_id}", None),
        ("POST", f"keys/{key_id}/rotate", {}),
        ("POST", "teams", {"name": "x"}),
        ("PATCH", f"teams/{team_id}", {"weight": 9}),
        ("DELETE", f"teams/{team_id}", None),
        ("POST", f"teams/{team_id}/members", {"user_id": user_id}),
        ("DELETE", f"teams/{team_id}/members/{user_id}", None),
        ("POST", "users", {"name": "x"}),
        ("DELETE", f"users/{user_id}", None),
        ("POST", "organisations", {"name": "x"}),
        ("DELETE", f"organisations/{site.acme}", None),
        ("POST", "providers", {"name": "x", "type": "openai"}),
        ("POST", "models", {"name": "x"}),
        ("POST", f"providers/{UNKNOWN}/test", {}),
    ):
        status, answer = site.admin("viewer", method, path, body)
        assert (status, answer["code"]) == (403, "role_not_allowed"), (method, path)


def test_a_teams_admin_manages_its_own_teams_keys_and_members(site: Site) -> None:
    status, made = site.admin("admin", "POST", "keys", {"name": "ours", "user": "alice", "models": ["demo"]})
    assert (status, made["team"]) == (201, "core")
    assert site.admin("admin", "PATCH", f"keys/{made['id']}", {"disabled": True})[0] == 200
    assert site.admin("admin", "PATCH", f"keys/{made['id']}", {"disabled": False})[0] == 200
    status, rotated = site.admin("admin", "POST", f"keys/{made['id']}/rotate", {"overlap_s": 0})
    assert (status, rotated["team_id"]) == (201, site.teams["core"])
    assert site.admin("admin", "DELETE", f"keys/{rotated['id']}")[0] == 200
    members = f"teams/{site.teams['core']}/members"
    assert site.admin("admin", "POST", members, {"user_id": site.users["bob"]})[0] == 201
    assert site.admin("admin", "DELETE", f"{members}/{site.users['bob']}")[0] == 200
    assert site.admin("admin", "POST", "keys", {"name": "deputy", "admin_role": "admin"})[0] == 201


def test_a_teams_admin_sees_nothing_of_another_team(site: Site) -> None:
    _, keys = site.admin("admin", "GET", "keys?limit=1000")
    assert {key["team_id"] for key in keys["data"]} == {site.teams["core"]}
    assert [team["name"] for team in site.admin("admin", "GET", "teams")[1]["data"]] == ["core"]
    assert [user["name"] for user in site.admin("admin", "GET", "users")[1]["data"]] == ["alice"]
    _, log = site.admin("admin", "GET", "audit?limit=1000")
    assert {row["team_id"] for row in log["data"]} == {site.teams["core"]}
    for path in (
        f"keys/{site.keys['other']['id']}",
        f"teams/{site.teams['other']}",
        f"teams/{site.teams['other']}/members",
        f"users/{site.users['bob']}",
        f"users?team_id={site.teams['other']}",
    ):
        assert site.admin("admin", "GET", path)[0] == 404, path


def test_a_teams_admin_gives_itself_no_more_than_it_has(site: Site) -> None:
    owner_key, other_key = site.keys["owner"]["id"], site.keys["other"]["id"]
    team_id = site.teams["core"]
    for method, path, body, expected in (
        ("POST", "keys", {"name": "x", "admin_role": "owner"}, 403),
        ("POST", "keys", {"name": "x", "admin_role": "viewer"}, 403),
        ("POST", "keys", {"name": "x", "team": "other"}, 403),
        ("POST", "keys", {"name": "x", "team": "a new one"}, 403),
        ("POST", "keys", {"name": "x", "user": "bob"}, 403),
        ("POST", "keys", {"name": "x", "user": "nobody yet"}, 403),
        ("POST", "keys", {"name": "x", "models": ["openai/*"]}, 403),
        ("PATCH", f"keys/{site.keys['none']['id']}", {"models": ["openai/*"]}, 403),
        ("POST", f"keys/{owner_key}/rotate", {}, 403),
        ("PATCH", f"keys/{owner_key}", {"disabled": True}, 403),
        ("DELETE", f"keys/{site.keys['viewer']['id']}", None, 403),
        ("POST", f"keys/{other_key}/rotate", {}, 404),
        ("DELETE", f"keys/{other_key}", None, 404),
        ("PATCH", f"keys/{other_key}", {"name": "x"}, 404),
        ("PATCH", f"teams/{team_id}", {"weight": 1000}, 403),
        ("PATCH", f"teams/{team_id}", {"organisation_id": site.acme}, 403),
        ("DELETE", f"teams/{team_id}", None, 403),
        ("POST", "teams", {"name": "x"}, 403),
        ("POST", f"teams/{site.teams['other']}/members", {"user_id": site.users["alice"]}, 404),
        ("DELETE", f"teams/{site.teams['other']}/members/{site.users['bob']}", None, 404),
        ("PATCH", f"users/{site.users['alice']}", {"disabled": True}, 403),
        ("POST", "providers", {"name": "x", "type": "openai"}, 403),
        ("POST", "organisations", {"name": "x"}, 403),
    ):
        status, answer = site.admin("admin", method, path, body)
        assert (status, answer.get("code")) == (
            expected,
            "role_not_allowed" if expected == 403 else "not_found",
        ), (method, path, body)
    assert {team["name"] for team in site.admin("master", "GET", "teams?limit=1000")[1]["data"]} >= {"core", "other"}
    assert "a new one" not in str(site.admin("master", "GET", "teams?limit=1000")[1])
    assert "nobody yet" not in str(site.admin("master", "GET", "users?limit=1000")[1])


def test_an_owner_does_all_that_the_master_key_does(site: Site) -> None:
    status, team = site.admin("owner", "POST", "teams", {"name": "made by an owner", "organisation_id": site.acme})
    assert status == 201
    assert site.admin("owner", "PATCH", f"teams/{team['id']}", {"weight": 2, "organisation_id": None})[0] == 200
    status, key = site.admin("owner", "POST", "keys", {"name": "x", "team": "other", "admin_role": "owner"})
    assert status == 201
    assert site.admin("owner", "DELETE", f"keys/{key['id']}")[0] == 200
    assert site.admin("owner", "PATCH", f"organisations/{site.acme}", {"name": "acme & co"})[0] == 200
    _, user = site.admin("owner", "POST", "users", {"email": "erin@example.com"})
    assert site.admin("owner", "DELETE", f"users/{user['id']}")[0] == 200
    assert site.admin("owner", "DELETE", f"teams/{team['id']}")[0] == 200


def test_an_admin_key_is_an_ordinary_key_at_v1(site: Site) -> None:
    narrow = site.made("keys", {"name": "n", "admin_role": "owner", "endpoints": ["embeddings"], "models": ["none"]})
    site.keys["narrow"] = narrow
    chat = {"model": "demo", "messages": [{"role": "user", "content": "hi"}]}
    status, answer = site.call("narrow", "POST", "v1/chat/completions", chat)
    assert (status, answer["code"]) == (403, "endpoint_not_allowed")
    assert site.admin("narrow", "GET", "keys")[0] == 200
    assert site.call("viewer", "POST", "v1/chat/completions", chat)[0] == 200


def test_a_role_of_a_team_needs_the_team(site: Site) -> None:
    status, answer = site.admin("master", "POST", "keys", {"name": "x", "admin_role": "admin"})
    assert (status, answer["param"]) == (400, "admin_role")
    status, answer = site.admin("master", "POST", "keys", {"name": "x", "admin_role": "root"})
    assert (status, answer["param"]) == (400, "admin_role")


def test_a_disabled_team_is_refused_by_name_until_it_is_enabled_again(site: Site) -> None:
    team = site.made("teams", {"name": "shaky"})
    site.keys["shaky"] = site.made("keys", {"name": "s", "team": "shaky", "admin_role": "admin"})
    assert site.call("shaky", "GET", "v1/models")[0] == 200
    assert site.admin("owner", "PATCH", f"teams/{team['id']}", {"disabled": True})[0] == 200
    codes = set()
    for path in ("v1/models", "admin/keys"):
        for _ in range(200):
            status, answer = site.call("shaky", "GET", path)
            if status == 403:
                codes.add(answer["code"])
                break
    assert codes == {"team_disabled"}
    assert site.admin("owner", "PATCH", f"teams/{team['id']}", {"disabled": False})[0] == 200
    assert any(site.call("shaky", "GET", "v1/models")[0] == 200 for _ in range(200))


def test_the_log_says_who_did_what_from_where_and_never_a_secret(site: Site) -> None:
    status, made = site.admin(
        "owner", "POST", "providers", {"name": "noted", "type": "openai", "api_key": "sk-s3cret-1", "enabled": False}
    )
    assert status == 201
    path = f"providers/{made['id']}"
    assert site.admin("owner", "PATCH", path, {"api_key": "sk-s3cret-2", "organization": "org"})[0] == 200
    model = {"name": "noted-model", "targets": [{"provider": "noted", "model": "m"}]}
    _, made_model = site.admin("owner", "POST", "models", model)
    assert site.admin("owner", "DELETE", f"models/{made_model['id']}")[0] == 200
    assert site.admin("owner", "DELETE", path)[0] == 200
    _, log = site.admin("viewer", "GET", f"audit?object_type=provider&object_id={made['id']}")
    assert [row["action"] for row in log["data"]] == ["deleted", "changed", "created"]
    changed = log["data"][1]
    assert (changed["actor"], changed["actor_role"]) == (site.keys["owner"]["id"], "owner")
    assert changed["client_ip"] == "127.0.0.1"
    assert changed["before"]["document"].get("organization") is None
    assert changed["after"]["document"]["organization"] == "org"
    _, of_model = site.admin("viewer", "GET", f"audit?object_type=model&object_id={made_model['id']}&limit=1")
    assert (of_model["has_more"], of_model["data"][0]["action"]) == (True, "deleted")
    _, rest = site.admin("viewer", "GET", f"audit?object_id={made_model['id']}&after={of_model['last_id']}")
    assert [row["action"] for row in rest["data"]] == ["created"]
    text = orjson.dumps(site.admin("master", "GET", "audit?limit=1000")[1]).decode()
    assert "s3cret" not in text
    assert not any(key["key"] in text or key["key"][:12] in text for key in site.keys.values())


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "after=x",
        f"after={2**63}",
        "from=soon",
        "from=0001-01-01T00:00:00%2B10:00",
        "form=2030-01-01",
        "to=1",
    ],
)
def test_a_query_of_the_log_is_answered_or_refused_by_name(site: Site, query: str) -> None:
    status, answer = site.admin("viewer", "GET", f"audit?{query}")
    assert status == 200 if query == "to=1" else (status, answer["param"]) == (400, query.partition("=")[0])


def test_a_teams_admin_lowers_what_an_owner_gave_a_key_and_changes_what_it_gave_itself(site: Site) -> None:
    budget = {"limit_usd": 10, "period": "month"}
    theirs = site.made("keys", {"name": "limited", "team": "core", "rpm": 10, "budget": budget})["id"]
    for changes in ({"rpm": 11}, {"rpm": None}, {"budget": {"limit_usd": 11}}, {"budget": None}):
        status, answer = site.admin("admin", "PATCH", f"keys/{theirs}", changes)
        assert (status, answer["code"]) == (403, "role_not_allowed"), changes
        assert "An owner set this" in answer["message"]
    status, lowered = site.admin("admin", "PATCH", f"keys/{theirs}", {"rpm": 9, "budget": {"limit_usd": 9}})
    assert (status, lowered["rpm"], lowered["budget"]["limit_usd"]) == (200, 9, 9)
    assert site.admin("owner", "PATCH", f"keys/{theirs}", {"rpm": None, "budget": None})[0] == 200
    own = {"name": "own", "rpm": 10, "budget": budget}
    status, made = site.admin("admin", "POST", "keys", own)
    assert status == 201
    for changes in ({"rpm": 11}, {"rpm": None}, {"budget": {"limit_usd": 11}}, {"budget": None}):
        assert site.admin("admin", "PATCH", f"keys/{made['id']}", changes)[0] == 200, changes
