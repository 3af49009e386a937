"""When an alert is raised, and that it is raised once, on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from gateway.services.alerts.service import AlertOptions
from gateway.services.alerts.webhook import Webhook
from gateway.store.postgres import Postgres
from gateway.upstream.pool import Pool
from tests.integration.services.alerts.budgeting import (
    DAY_S,
    HOUR_S,
    USD,
    Worker,
    add_budget,
    add_period,
    raised,
    slow_down,
    spend,
)

ALL = [("threshold", 50), ("threshold", 80), ("threshold", 100)]


@pytest.fixture
def worker(postgres: Postgres, pool: Pool) -> Worker:
    return Worker(postgres, pool, AlertOptions())


async def test_each_threshold_is_told_of_once_when_it_is_reached(
    postgres: Postgres, worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    period = await add_period(postgres, await add_budget(postgres), 50 * USD - 1)
    assert await worker.alerts.check() == 0
    await spend(postgres, period, 1)
    with caplog.at_level(logging.WARNING, "gateway.alerts"):
        assert await worker.alerts.check() == 1
        assert await worker.alerts.check() == 0
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "Budget 'spring' (global): 50 % reached: $50.00 of $100.00 spent" in caplog.text
    await spend(postgres, period, 60 * USD)
    assert await worker.alerts.check() == 2
    assert await raised(postgres) == ALL
    assert worker.counted("threshold") == 3


async def test_another_period_tells_again(postgres: Postgres, worker: Worker) -> None:
    budget = await add_budget(postgres, thresholds=[100])
    await add_period(postgres, budget, 100 * USD, began_s=2 * DAY_S, lasts_s=2 * DAY_S - HOUR_S / 2)
    await add_period(postgres, budget, 100 * USD)
    await add_period(postgres, budget, 100 * USD, end_user="alice")
    assert await worker.alerts.check() == 3


async def test_what_was_topped_up_and_what_was_lost_count(postgres: Postgres, worker: Worker) -> None:
    budget = await add_budget(postgres, thresholds=[80])
    await add_period(postgres, budget, 80 * USD, topped_up=1)
    await add_period(postgres, budget, 50 * USD, lost=30 * USD, end_user="b")
    assert await worker.alerts.check() == 1
    row = await postgres.fetchrow("SELECT spent_nano_usd, limit_nano_usd FROM budget_alerts")
    assert row is not None
    assert tuple(row) == (80 * USD, 100 * USD)


async def test_a_budget_of_nothing_is_told_of_when_something_is_spent(postgres: Postgres, worker: Worker) -> None:
    period = await add_period(postgres, await add_budget(postgres, limit_nano_usd=0))
    assert await worker.alerts.check() == 0
    await spend(postgres, period, 1)
    assert await worker.alerts.check() == 3


async def test_the_largest_budget_overflows_nothing(postgres: Postgres, worker: Worker) -> None:
    most = 2**53 - 1
    await add_period(postgres, await add_budget(postgres, limit_nano_usd=most, thresholds=[1000]), 10 * most)
    assert await worker.alerts.check() == 1


@pytest.mark.parametrize(
    "budget",
    [
        {"deleted": True},
        {"limit_nano_usd": None},
        {"thresholds": []},
        {"thresholds": None},
        {"thresholds": "80"},
        {"thresholds": {"at": 80}},
        {"thresholds": ["80", True, None, 0, -5, 5000, [50]]},
    ],
)
async def test_what_is_no_live_budget_with_thresholds_tells_nothing(
    postgres: Postgres, worker: Worker, budget: dict[str, Any]
) -> None:
    await add_period(postgres, await add_budget(postgres, **budget), 500 * USD)
    assert await worker.alerts.check() == 0


async def test_a_period_that_ended_is_still_looked_at_while_the_ledger_may_be_behind(
    postgres: Postgres, worker: Worker
) -> None:
    budget = await add_budget(postgres, thresholds=[50])
    await add_period(postgres, budget, 50 * USD, began_s=DAY_S + HOUR_S / 2, lasts_s=DAY_S)
    await add_period(postgres, budget, 50 * USD, began_s=DAY_S + 2 * HOUR_S, lasts_s=DAY_S, end_user="long ago")
    assert await worker.alerts.check() == 1


# A month's allowance of 100 $: 5 % of 30 days are 36 h. Of a day they are 72 minutes, of 10 h half an hour.
@pytest.mark.parametrize(
    ("began_s", "lasts_s", "spent_usd", "age_s", "burns"),
    [
        (37 * HOUR_S, 30 * DAY_S, 6, 60 * DAY_S, True),
        (37 * HOUR_S, 30 * DAY_S, 5, 60 * DAY_S, False),  # at that rate 97 $
        (35 * HOUR_S, 30 * DAY_S, 40, 60 * DAY_S, False),  # too early to tell
        (15 * DAY_S, 30 * DAY_S, 51, 60 * DAY_S, True),
        (15 * DAY_S, 30 * DAY_S, 49, 60 * DAY_S, False),
        (1.3 * HOUR_S, DAY_S, 20, 60 * DAY_S, True),
        (1.1 * HOUR_S, DAY_S, 20, 60 * DAY_S, False),
        (0.9 * HOUR_S, 10 * HOUR_S, 40, 60 * DAY_S, False),  # an hour at least
        (1.1 * HOUR_S, 10 * HOUR_S, 40, 60 * DAY_S, True),
        (15 * DAY_S, 30 * DAY_S, 30, 5 * DAY_S, True),  # the budget is younger: 30 $ in 5 of its 20 days
        (15 * DAY_S, 30 * DAY_S, 24, 5 * DAY_S, False),
        (15 * DAY_S, 30 * DAY_S, 99, HOUR_S, False),  # it is an hour old
        (15 * DAY_S, 30 * DAY_S, 100, 60 * DAY_S, False),  # it is used up already, which the thresholds tell
        (40 * DAY_S, None, 60, 60 * DAY_S, False),  # a total has no end
        (30 * DAY_S + HOUR_S / 2, 30 * DAY_S, 99, 60 * DAY_S, False),  # over
    ],
)
async def test_a_burn_rate_is_told_of_when_it_uses_the_budget_up_too_early(
    postgres: Postgres,
    worker: Worker,
    began_s: float,
    lasts_s: float | None,
    spent_usd: int,
    age_s: float,
    burns: bool,
) -> None:
    budget = await add_budget(postgres, thresholds=[], age_s=age_s)
    await add_period(postgres, budget, spent_usd * USD, began_s=began_s, lasts_s=lasts_s)
    assert await worker.alerts.check() == int(burns)
    assert await worker.alerts.check() == 0
    assert worker.counted("burn_rate") == int(burns)


async def test_a_bill_above_its_reservation_is_told_of_once(
    postgres: Postgres, worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    period = await add_period(postgres, await add_budget(postgres), 3 * USD)
    for _ in range(2):
        worker.alerts.exceeded(period, reserved_nano_usd=5, billed_nano_usd=7)
        worker.alerts.exceeded(period, reserved_nano_usd=50, billed_nano_usd=70)
        worker.alerts.exceeded(99_999_999, reserved_nano_usd=1, billed_nano_usd=2)
        await worker.alerts.check()
    assert await raised(postgres) == [("exceeded", 0)]
    assert "Reserved: 5, billed: 7 nano-USD." in caplog.text
    assert await worker.alerts.check() == 0


async def test_two_workers_raise_each_alert_once_between_them(postgres: Postgres, pool: Pool) -> None:
    webhook = Webhook("https://host/hook")
    first, second = (Worker(postgres, pool, AlertOptions(), webhook) for _ in range(2))
    periods = [await add_period(postgres, await add_budget(postgres), 100 * USD) for _ in range(5)]
    await slow_down(postgres, "INSERT", "budget_alerts")
    for worker in (first, second):
        for period in periods:
            worker.alerts.exceeded(period, reserved_nano_usd=1, billed_nano_usd=2)
    await asyncio.gather(*(worker.alerts.check() for worker in (first, second) for _ in range(2)))
    assert sorted(await raised(postgres)) == sorted([*ALL, ("exceeded", 0)] * 5)
    assert first.counted("threshold") + second.counted("threshold") == 15
    assert first.counted("exceeded") + second.counted("exceeded") == 5
    rows = await postgres.fetch("SELECT webhook, count(*) FROM budget_alert_deliveries GROUP BY 1")
    assert [tuple(row) for row in rows] == [(webhook.name, 20)]
