"""The table of what may be done with limits and budgets."""

from __future__ import annotations

from typing import get_args

import pytest

from gateway.errors import GatewayError
from gateway.store.audit import Actor
from gateway.store.authority import Act, is_no_laxer, is_no_more, require, require_within_team

ACTS: tuple[Act, ...] = get_args(Act)


def may(role: str, act: Act, *, set_by_owner: bool) -> bool:
    try:
        require(Actor("x", role), act, "limit", set_by_owner=set_by_owner)
    except GatewayError as error:
        return error.code != "role_not_allowed"
    return True


@pytest.mark.parametrize("role", ["master", "owner"])
def test_the_master_key_and_owners_do_everything(role: str) -> None:
    assert all(may(role, act, set_by_owner=by_owner) for act in ACTS for by_owner in (True, False))


def test_a_teams_admin_does_everything_with_its_own_and_lowers_what_an_owner_set() -> None:
    assert all(may("admin", act, set_by_owner=False) for act in ACTS)
    assert [act for act in ACTS if may("admin", act, set_by_owner=True)] == ["lower"]


@pytest.mark.parametrize("role", ["viewer", "", "Admin", "somebody"])
def test_whoever_is_not_in_the_table_does_nothing(role: str) -> None:
    assert not any(may(role, act, set_by_owner=by_owner) for act in ACTS for by_owner in (True, False))


def test_a_refusal_names_the_rule() -> None:
    with pytest.raises(
        GatewayError, match="An owner set this budget: a team's admin may lower it, but not raise, remove"
    ):
        require(Actor("x", "admin"), "reset", "budget", set_by_owner=True)
    with pytest.raises(GatewayError, match="the role 'viewer' may not lower a limit"):
        require(Actor("x", "viewer"), "lower", "limit", set_by_owner=True)


@pytest.mark.parametrize(
    ("wanted", "most", "is_less"), [(None, None, True), (5, None, True), (None, 5, False), (5, 5, True), (6, 5, False)]
)
def test_no_limit_is_more_than_any(wanted: int | None, most: int | None, is_less: bool) -> None:
    assert is_no_more(wanted, most) == is_less


def test_the_bound_of_a_team_binds_its_admin_alone() -> None:
    for actor, wanted, most in (
        (Actor("x", "owner"), 9, 5),
        (Actor("x", "admin"), 5, 5),
        (Actor("x", "admin"), 9, None),
    ):
        require_within_team(actor, "limit_usd", wanted, most)
    with pytest.raises(GatewayError) as raised:
        require_within_team(Actor("x", "admin"), "limit_usd", 9, 5)
    assert (raised.value.code, raised.value.param) == ("role_not_allowed", "limit_usd")


def test_deny_is_the_strictest_and_allow_the_laxest() -> None:
    order = ["deny", "local", "allow"]
    assert [[is_no_laxer(wanted, before) for wanted in order] for before in order] == [
        [True, False, False],
        [True, True, False],
        [True, True, True],
    ]
