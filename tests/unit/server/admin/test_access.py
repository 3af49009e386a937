"""Who may call what: the table itself, against what is described."""

from __future__ import annotations

import uuid
from typing import Any

import orjson
import pytest

from gateway.errors import GatewayError
from gateway.server.admin.access import ACCESS, require
from gateway.server.admin.alerts import AlertPages
from gateway.server.admin.audit import AuditPages
from gateway.server.admin.budgets import BudgetHandlers
from gateway.server.admin.keys import KeyHandlers
from gateway.server.admin.limits import LimitHandlers
from gateway.server.admin.models import ModelHandlers
from gateway.server.admin.organisations import OrganisationHandlers
from gateway.server.admin.providers import ProviderHandlers
from gateway.server.admin.request import AdminRequest
from gateway.server.admin.state import StatePages
from gateway.server.admin.teams import TeamHandlers
from gateway.server.admin.usage import UsagePages
from gateway.server.admin.users import UserHandlers
from gateway.server.openapi import openapi_document
from gateway.store.audit import Actor

EVERYTHING = [(method, path) for path, methods in ACCESS.items() for method in methods]
TEAM, OTHER = uuid.UUID(int=1), uuid.UUID(int=2)


def may(role: str, method: str, path: str) -> bool:
    try:
        require(role, method, path)
    except GatewayError as error:
        return error.code != "role_not_allowed"
    return True


def test_the_table_has_every_admin_path_that_is_described() -> None:
    document: Any = orjson.loads(openapi_document())
    described = {
        (method.upper(), path)
        for path, item in document["paths"].items()
        if path.startswith("/admin/")
        for method in item.keys() - {"parameters"}
    }
    assert described
    assert described - set(EVERYTHING) == set()


def test_the_table_has_every_path_that_is_handled_and_no_other() -> None:
    nothing: Any = None
    handled = [
        *AlertPages(nothing).routes(),
        *AuditPages(nothing).routes(),
        *BudgetHandlers(nothing).routes(),
        *KeyHandlers(nothing).routes(),
        *LimitHandlers(nothing).routes(),
        *ModelHandlers(nothing, nothing, nothing).routes(),
        *OrganisationHandlers(nothing).routes(),
        *ProviderHandlers(nothing, nothing, nothing).routes(),
        *StatePages(nothing, nothing, nothing).routes(),
        *TeamHandlers(nothing).routes(),
        *UsagePages(nothing, nothing).routes(),
        *UserHandlers(nothing).routes(),
    ]
    assert sorted((method, path) for method, path, _ in handled) == sorted(EVERYTHING)


@pytest.mark.parametrize(("method", "path"), EVERYTHING)
def test_the_master_key_and_an_owner_may_call_everything_and_a_viewer_reads(method: str, path: str) -> None:
    assert may("master", method, path)
    assert may("owner", method, path)
    assert may("viewer", method, path) == (method == "GET")


@pytest.mark.parametrize("role", ["owner", "admin", "viewer", "", "Master", "none"])
def test_what_the_table_does_not_have_is_closed_to_every_key_but_the_master(role: str) -> None:
    for method, path in (("GET", "/admin/new"), ("PUT", "/admin/keys"), ("get", "/admin/keys"), ("DELETE", "")):
        assert not may(role, method, path)
        assert may("master", method, path)


def test_a_teams_admin_does_not_reach_what_belongs_to_no_team() -> None:
    allowed = {path for method, path in EVERYTHING if may("admin", method, path)}
    for path in ("/admin/config", "/admin/providers", "/admin/models/{id}", "/admin/organisations", "/admin/targets"):
        assert path not in allowed
    for method, path in (("PATCH", "/admin/teams/{id}"), ("POST", "/admin/teams"), ("PATCH", "/admin/users/{id}")):
        assert not may("admin", method, path)


def test_a_teams_admin_alone_is_confined_to_its_team() -> None:
    confined = AdminRequest("GET", actor=Actor("key", "admin"), team_id=TEAM)
    assert confined.only_team == TEAM
    confined.must_own(str(TEAM))
    for foreign in (OTHER, str(OTHER), None):
        with pytest.raises(GatewayError) as raised:
            confined.must_own(foreign)
        assert raised.value.code == "not_found"
    for role in ("master", "owner", "viewer"):
        free = AdminRequest("GET", actor=Actor("key", role), team_id=TEAM)
        assert free.only_team is None
        free.must_own(OTHER)
