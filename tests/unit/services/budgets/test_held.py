"""The periods in memory."""

from __future__ import annotations

import pytest

from gateway.services.budgets import held as held_module
from gateway.services.budgets.budget import Period
from gateway.services.budgets.held import HeldPeriods


def period(id: int, starts: int, ends: int | None, end_user: str = "", budget: str = "b") -> Period:
    return Period(id, budget, end_user, starts, ends, 0, 0, 0)


def found(held: HeldPeriods, now: int, end_user: str = "") -> int | None:
    period = held.find("b", now, end_user)
    return period and period.id


def test_the_period_in_force_is_the_one_that_began_last_and_has_not_ended() -> None:
    held = HeldPeriods()
    held.replace("b", [period(1, 0, 100), period(2, 50, 100), period(3, 100, 200)])
    assert [found(held, now) for now in (-1, 0, 49, 50, 99, 100, 199, 200)] == [None, 1, 1, 2, 2, 3, 3, None]


def test_a_period_without_end_stays_in_force() -> None:
    held = HeldPeriods()
    held.add(period(1, 0, None))
    assert found(held, 2**60) == 1
    held.add(period(2, 10, None))
    assert found(held, 2**60) == 2


def test_each_end_user_has_its_own() -> None:
    held = HeldPeriods()
    held.add(period(1, 0, 100, "ann"))
    held.add(period(2, 0, 100, "bob"))
    assert (found(held, 1, "ann"), found(held, 1, "bob"), found(held, 1, "cy"), found(held, 1)) == (1, 2, None, None)
    assert held.end_users("b") == ["ann", "bob"]


def test_a_period_that_is_read_again_takes_its_own_place() -> None:
    held = HeldPeriods()
    held.add(period(1, 0, 100))
    held.add(period(1, 0, 50))
    assert found(held, 60) is None


def test_what_has_no_successor_and_ends_soon_is_told() -> None:
    held = HeldPeriods()
    held.add(period(1, 0, 100, budget="ends"))
    held.add(period(2, 0, 100, budget="followed"))
    held.add(period(3, 100, 200, budget="followed"))
    held.add(period(4, 0, None, budget="total"))
    assert list(held.ending(["ends", "followed", "total", "unknown"], 150)) == [("ends", 100)]


def test_end_users_that_came_first_are_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_module, "_MOST_END_USERS", 2)
    held = HeldPeriods()
    for number, end_user in enumerate("abc"):
        held.add(period(number, 0, 100, end_user))
    assert held.end_users("b") == ["b", "c"]
