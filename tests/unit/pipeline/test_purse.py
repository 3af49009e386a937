"""Which budgets pay, as counters; what a counter opens with."""

from __future__ import annotations

import asyncio
import gc
from dataclasses import replace
from typing import Any

import pytest

from gateway.errors import GatewayError
from gateway.pipeline.purse import Openings, Pot, Purse, exhausted, ids_of
from gateway.services.budgets.budget import Budget, Period, period_id_of
from gateway.services.keys.key import Key
from gateway.services.quota.ask import Refusal
from gateway.services.quota.exchange import Opening
from gateway.store.scopes import ScopeIndex
from tests.unit.pipeline.quotas import FakeQuota
from tests.unit.upstream.fakes import FakeLine, target, whole

DAY_US = 86_400_000_000
KEY = Key(id="k1", name="app", team_id="t1")


def budget(scope: Any = "key", subject: str = "k1", **more: Any) -> Budget:
    fields: dict[str, Any] = {
        "id": f"of {subject}",
        "name": "b",
        "scope": scope,
        "subject": subject,
        "model": None,
        "limit_nano_usd": 1000,
        "period": "day",
        "reset_day": 1,
        "zone": "UTC",
        "thresholds": (),
        "hard": True,
        "on_too_dear": "clamp",
        "unbounded_nano_usd": None,
        "max_end_users": 10,
        "on_store_failure": "local",
        "created_at_us": 0,
    }
    return Budget(**{**fields, **more})


class FakeBudgets:
    """Budgets of a day each; `opened` has the periods, in the order in which they were opened."""

    def __init__(self, *budgets: Budget) -> None:
        self.generation = 1
        self.opened: list[Period] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.set(*budgets)

    def set(self, *budgets: Budget) -> None:
        self._index: ScopeIndex[Any] = ScopeIndex(budgets)
        self.generation += 1

    def of_caller(self, *who: str | None) -> tuple[Budget, ...]:
        return self._index.of_caller(*who)

    def of_model(self, *what: Any) -> tuple[Budget, ...]:
        return self._index.of_model(*what)

    def of_target(self, *what: str) -> tuple[Budget, ...]:
        return self._index.of_target(*what)

    def of_end_users(self, key_id: str | None) -> tuple[Budget, ...]:
        return self._index.at("end_user", key_id)

    def period(self, one: Budget, now_us: int, end_user: str = "") -> Period | None:
        found = [each for each in self.opened if (each.budget_id, each.end_user) == (one.id, end_user)]
        return next((each for each in found if each.holds(now_us)), None)

    async def open_period(self, one: Budget, now_us: int, end_user: str = "") -> Period:
        await self.gate.wait()
        starts = now_us // DAY_US * DAY_US
        period = Period(len(self.opened) + 1, one.id, end_user, starts, starts + DAY_US, 300, 50, 0)
        self.opened.append(period)
        return period


class Bench:
    """A purse whose time is `now_us`."""

    def __init__(self, *budgets: Budget) -> None:
        self.now_us = 10
        self.budgets = FakeBudgets(*budgets)
        quota: Any = FakeQuota()
        known: Any = self.budgets
        self.purse = Purse(quota, known, lambda: self.now_us)


async def test_the_master_key_pays_for_nothing_but_its_targets_do() -> None:
    bench = Bench(budget("global", ""), budget("target", "p/up-1"))
    master = Key(id=None, name="master", is_master=True)
    assert await bench.purse.of_call(master, "m", "") == ()
    assert len(await bench.purse.of_target(target(FakeLine(whole())))) == 1


async def test_a_hard_budget_has_a_counter_of_its_allowance_and_a_soft_one_none() -> None:
    bench = Bench(budget(), budget("team", "t1", hard=False), budget("team", "t2"))
    soft, hard = await bench.purse.of_call(KEY, "m", "")
    assert hard.counter is not None
    assert (hard.counter.limit, hard.left_nano_usd) == (1050, 1050)
    assert soft.counter is None
    assert soft.left_nano_usd == 750
    assert ids_of((soft, hard)) == "{1,2}"
    assert ids_of(()) == ""
    assert period_id_of(hard.counter.name) == 2


async def test_what_is_left_can_be_told_before_anything_was_asked_for_and_without_waiting() -> None:
    end_users = budget("end_user", "k1", id="each", limit_nano_usd=80)
    bench = Bench(budget(limit_nano_usd=900), budget("model", "m", limit_nano_usd=400), end_users)
    bench.budgets.gate.clear()
    left = bench.purse.left_nano_usd
    assert [left(KEY, "", {}), left(KEY, "other", {}), left(KEY, "m", {}), left(KEY, "m", {"user": "ann"})] == [
        900, 900, 400, 80
    ]  # fmt: skip
    assert left(Key(id=None, name="master", is_master=True), "m", {}) is None
    assert left(Key(id="k2", name="b"), "", {}) is None
    bench.budgets.gate.set()
    caller, _ = await bench.purse.of_call(KEY, "m", "")
    assert left(KEY, "", {}) == 650  # by the ledger: 950 with what was topped up, and 300 spent
    assert caller.counter is not None
    caller.counter.available = 20
    assert left(KEY, "", {}) == 20


async def test_who_pays_is_known_until_a_period_ends_a_budget_changes_or_the_key_does() -> None:
    bench = Bench(budget(), budget("team", "t2"))
    first = await bench.purse.of_call(KEY, "m", "")
    assert await bench.purse.of_call(KEY, "m", "") is first
    bench.now_us += DAY_US
    second = await bench.purse.of_call(KEY, "m", "")
    assert [pot.period.id for pot in (*first, *second)] == [1, 2]
    moved = await bench.purse.of_call(replace_team(KEY, "t2"), "m", "")
    assert [pot.budget.subject for pot in moved] == ["t2", "k1"]
    bench.budgets.set()
    assert await bench.purse.of_call(KEY, "m", "") == ()


def replace_team(key: Key, team_id: str) -> Key:
    return Key(id=key.id, name=key.name, team_id=team_id)


async def test_what_changes_while_a_period_is_opened_is_not_forgotten() -> None:
    bench = Bench(budget())
    bench.budgets.gate.clear()
    asking = asyncio.ensure_future(bench.purse.of_call(KEY, "m", ""))
    await asyncio.sleep(0)
    bench.budgets.set(budget(limit_nano_usd=5))
    bench.budgets.gate.set()
    await asking
    (pot,) = await bench.purse.of_call(KEY, "m", "")
    assert pot.budget.limit_nano_usd == 5


async def test_counters_of_periods_that_nobody_uses_are_let_go() -> None:
    bench = Bench(budget("end_user", "k1"))
    assert bench.purse.asks_for_end_user(KEY)
    for number in range(50):
        await bench.purse.of_call(KEY, "m", f"user {number}")
    assert len(bench.purse._counters) == 50
    bench.budgets.set()
    await bench.purse.of_call(KEY, "m", "")
    bench.purse.quota.counters.clear()  # type: ignore[attr-defined]
    gc.collect()
    assert len(bench.purse._counters) == 0
    bench.purse.settle(1, 10, 10)  # somebody else's: nothing to be done


async def test_what_the_ledger_says_reaches_the_counter() -> None:
    bench = Bench(budget())
    (pot,) = await bench.purse.of_call(KEY, "m", "")
    assert pot.counter is not None
    bench.purse.settle(pot.period.id, 10, 77)
    assert pot.counter.limit == 77


@pytest.mark.parametrize(
    ("reason", "code", "shown", "status", "should_retry"),
    [
        ("limit", "budget_exceeded", "insufficient_quota", 429, False),
        ("rebuilding", "budget_rebuilding", "budget_rebuilding", 503, None),
        ("away", "budget_rebuilding", "budget_rebuilding", 503, None),
    ],
)
async def test_a_budgets_refusal_names_it(
    reason: str, code: str, shown: str, status: int, should_retry: bool | None
) -> None:
    bench = Bench(budget(name="pocket money"), budget("team", "t1", name="the team's"))
    pots = await bench.purse.of_call(KEY, "m", "")
    refusing: Pot = pots[1]
    assert refusing.counter is not None
    error = exhausted(Refusal(refusing.counter, reason, 9.0), pots)
    assert (error.code, error.shown_code, error.status, error.should_retry) == (code, shown, status, should_retry)
    assert "'pocket money'" in error.message
    assert error.retry_after_s == (None if reason == "limit" else 1.0)


class FakeTotals:
    """What the ledger has of period 9, opened before in the epoch `before`; workers are absent for `absences` looks."""

    def __init__(self, before: str | None, absences: int = 0) -> None:
        self.before = before
        self.absences = absences
        self.steps: list[object] = []

    async def opened_epoch(self, period_id: int) -> str | None:
        assert period_id == 9
        return self.before

    async def open_in(self, epoch: str, period_id: int) -> int:
        assert period_id == 9
        self.steps.append("read")
        return 70

    async def absent(self, name: str, epoch: str) -> list[str]:
        assert name == "some budget:9"
        self.absences -= 1
        return ["w"] if self.absences >= 0 else []

    async def pause(self, seconds: float) -> None:
        self.steps.append(seconds)

    def now(self) -> float:
        return sum(step for step in self.steps if isinstance(step, float))


@pytest.mark.parametrize(
    ("before", "opening", "steps"),
    [
        (None, Opening(70, 0), ["read"]),
        ("old", Opening(70, 0), [0.05, 0.05, "read"]),
        ("e1", Opening(70, 5000), [0.3, 0.05, 0.05, "read"]),
    ],
)
async def test_a_counter_opens_with_the_ledgers_total_once_all_are_known_of(
    before: str | None, opening: Opening, steps: list[object]
) -> None:
    totals = FakeTotals(before, absences=2)
    openings = Openings(totals, totals.absent, 5000, pause=totals.pause, now=totals.now)
    assert await openings.open("some budget:9", "e1") == opening
    assert totals.steps == steps


async def test_a_counter_stays_closed_while_a_worker_is_absent_and_only_at_first_is_that_waited_out() -> None:
    totals = FakeTotals("old", absences=10**9)
    openings = Openings(totals, totals.absent, 5000, pause=totals.pause, now=totals.now)
    for epoch, patience_s in (("e1", 1.0), ("e1", 0.0), ("e2", 1.0)):
        began = totals.now()
        with pytest.raises(GatewayError) as raised:
            await openings.open("some budget:9", epoch)
        assert raised.value.code == "budget_rebuilding"
        assert totals.now() - began == pytest.approx(patience_s + 0.05, abs=0.06)
    assert "read" not in totals.steps


def test_a_pot_that_is_overspent_has_nothing_left() -> None:
    spent = Period(1, "b", "", 0, None, 5000, 0, 0)
    assert Pot(budget(), spent, None).left_nano_usd == 0
    assert Pot(budget(), replace(spent, settled_nano_usd=0, lost_nano_usd=990), None).left_nano_usd == 10
