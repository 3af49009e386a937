"""What an attempt sets aside, and what it gives back however it ends."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.pipeline.purse import Pot
from gateway.pipeline.reservation import Reservation, kept_nano_usd
from gateway.providers.billing import Billing
from gateway.providers.price import PriceOverride, make_price
from gateway.services.bounds.worst_case import worst_case
from gateway.services.budgets.budget import Period
from gateway.services.quota.counter import HELD, MONEY, RATE
from gateway.upstream.job import Outcome
from gateway.wire.usage import Usage
from tests.unit.pipeline.quotas import FakeQuota
from tests.unit.pipeline.test_purse import budget
from tests.unit.upstream.fakes import FakeLine, target, whole
from tests.unit.upstream.fakes import outcome as outcome_of

PRICE = make_price(PriceOverride(1_000_000, 10_000_000))
TARGET = target(FakeLine(whole()))
AMOUNT = 5000


def reserved(**numbers: int) -> tuple[Reservation, Any]:
    """An attempt that has `AMOUNT` of 10,000 nano-dollars, 40 of 100 tokens and one of two at once."""
    quota: Any = FakeQuota()
    made = Reservation(quota, TARGET)
    money = quota.counter("b:1", MONEY, 10_000)
    soft = Pot(budget(hard=False), Period(2, "s", "", 0, None, 0, 0, 0), None)
    made.pots = (Pot(budget(), Period(1, "b", "", 0, None, 0, 0, 0), money), soft)
    made.hard, made.amount = True, AMOUNT
    held, tokens = quota.counter("held", HELD, 2), quota.counter("tokens", RATE, 100)
    made.held, made.tokens = (held,), [(tokens, 40, tokens.window)]
    assert quota.take([(money, AMOUNT), (held, 1), (tokens, 40)])
    return made, quota


def left(quota: Any) -> tuple[int, int, int]:
    """Money, units at once and tokens that can be had."""
    found = quota.counters
    return found["b:1"].available, found["held"].available, found["tokens"].available


def outcome(code: str = "ok", **more: Any) -> Outcome:
    return outcome_of(TARGET, code=code, **{"sent": True, **more})


@pytest.mark.parametrize(
    ("cost", "tokens", "beyond", "after"),
    [
        (0, 0, 0, (10_000, 2, 100)),
        (1200, 30, 0, (8800, 2, 70)),
        (5000, 40, 0, (5000, 2, 60)),
        (5600, 90, 600, (4400, 2, 10)),
    ],
)
def test_what_an_attempt_cost_stays_and_the_rest_is_free(
    cost: int, tokens: int, beyond: int, after: tuple[int, int, int]
) -> None:
    made, quota = reserved()
    assert made.close(cost, tokens) == beyond
    assert left(quota) == after


@pytest.mark.parametrize(
    ("failed", "between", "cost"),
    [
        (outcome("upstream_5xx", billable=False), (10_000, 2, 100), 0),
        (outcome("upstream_connect_failed", sent=False), (10_000, 2, 100), 0),
        (outcome("upstream_reset_after_write"), (5000, 2, 60), AMOUNT),
    ],
)
def test_a_failed_attempt_stands_in_nobodys_way_before_its_account_is_closed(
    failed: Outcome, between: tuple[int, int, int], cost: int
) -> None:
    made, quota = reserved()
    made.fail(failed)
    made.fail(failed)
    assert left(quota) == between
    made.close(cost, 0)
    assert left(quota) == (10_000 - cost, 2, 100)


@pytest.mark.parametrize(("turned", "requests"), [(False, 3), (True, 2)])
def test_an_attempt_that_is_not_made_counts_as_no_request_of_a_window_that_lasts(turned: bool, requests: int) -> None:
    made, quota = reserved()
    counter = quota.counter("requests", RATE, 3)
    assert quota.take([(counter, 1)])
    made.requests = [(counter, counter.window)]
    quota.window += turned
    made.forgo()
    assert counter.available == requests
    assert left(quota) == (10_000, 2, 60 if turned else 100)


def test_an_attempt_that_was_made_counts_as_a_request_whatever_became_of_it() -> None:
    made, quota = reserved()
    counter = quota.counter("requests", RATE, 3)
    assert quota.take([(counter, 1)])
    made.requests = [(counter, counter.window)]
    made.fail(outcome("upstream_connect_failed", sent=False))
    made.close(0, 0)
    assert counter.available == 2


def bounded(**more: Any) -> Reservation:
    made, _ = reserved()
    document = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 1000}
    made.bound = worst_case(document, 100, "chat", PRICE, Billing(), "m")
    made.amount = made.bound.nano_usd
    for name, value in more.items():
        setattr(made, name, value)
    return made


WHOLE = bounded().amount
CUT: dict[str, Any] = {"streamed": True, "most_streamed_tokens": 12}


@pytest.mark.parametrize(
    ("made", "ended", "kept"),
    [
        (bounded(), outcome(usage=Usage(7, 5)), -1),
        (bounded(), outcome(), WHOLE),
        (bounded(), outcome(sent=False), -1),
        (bounded(), outcome("upstream_5xx", billable=False), -1),
        (bounded(hard=False), outcome(), -1),
        (bounded(), outcome("upstream_truncated", **CUT), WHOLE),
        (bounded(all_seen=True), outcome("upstream_truncated", **CUT), WHOLE),
        (bounded(), outcome("client_gone", **CUT), WHOLE),
        (bounded(), outcome("client_gone", usage=Usage(7, 1), **CUT), WHOLE),
        (bounded(all_seen=True), outcome("client_gone", streamed=False, most_streamed_tokens=12), WHOLE),
        (bounded(bound=None), outcome(usage=Usage(7, 5)), -1),
        (bounded(bound=None), outcome(usage=Usage()), WHOLE),
        (bounded(bound=None, amount=3), outcome(), 3),
    ],
)
def test_what_is_not_known_costs_what_was_set_aside(made: Reservation, ended: Outcome, kept: int) -> None:
    assert kept_nano_usd(made, ended, PRICE) == kept


def test_a_cut_stream_costs_what_came_where_the_provider_stops_with_it() -> None:
    made = bounded(all_seen=True)
    assert made.bound is not None
    assert kept_nano_usd(made, outcome("client_gone", **CUT), PRICE) == made.bound.nano_usd_at(12) < made.amount
    more = outcome("client_gone", streamed=True, most_streamed_tokens=10**6)
    assert kept_nano_usd(made, more, PRICE) == made.amount


def test_an_answer_without_a_price_costs_what_was_set_aside_for_it() -> None:
    assert kept_nano_usd(bounded(bound=None), outcome(usage=Usage(7, 5)), None) == WHOLE
