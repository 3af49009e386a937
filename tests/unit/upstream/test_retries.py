"""When to try again: the budget, the back-off, and what an upstream asks for."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.retries import RetryBudget, RetryOptions, backoff_s, retry_after_s
from tests.unit.upstream.fakes import Clock


def test_a_few_calls_may_be_tried_again_up_to_the_least_budget() -> None:
    budget = RetryBudget(RetryOptions(budget_min=10), Clock())
    budget.count_call()
    assert [budget.spend() for _ in range(12)] == [True] * 10 + [False] * 2


def test_many_calls_may_be_tried_again_up_to_their_share() -> None:
    budget = RetryBudget(RetryOptions(budget_share=0.1, budget_min=10), Clock())
    for _ in range(1000):
        budget.count_call()
    assert sum(budget.spend() for _ in range(200)) == 100


def test_what_is_older_than_the_window_counts_no_more() -> None:
    clock = Clock()
    budget = RetryBudget(RetryOptions(budget_min=1, budget_window_s=10.0), clock)
    assert budget.spend()
    clock.now += 9
    assert not budget.spend()
    clock.now += 1
    assert budget.spend()
    clock.now += 1_000_000
    assert budget.spend()


def test_calls_leave_the_window_second_by_second() -> None:
    clock = Clock()
    budget = RetryBudget(RetryOptions(budget_min=0, budget_share=0.1), clock)
    for _ in range(10):
        for _ in range(100):
            budget.count_call()
        clock.now += 1
    assert sum(budget.spend() for _ in range(200)) == 90  # the first second has just left


@given(st.integers(0, 10_000), st.integers(0, 2**32))
def test_a_back_off_lies_between_nothing_and_its_doubling_limit(retry: int, seed: int) -> None:
    options = RetryOptions(base_delay_s=0.2, max_delay_s=5.0)
    pause_s = backoff_s(options, retry, random.Random(seed))
    assert 0.0 <= pause_s <= min(5.0, 0.2 * 2.0 ** min(retry, 60))


def test_jitter_is_full() -> None:
    rng = random.Random(7)
    pauses = [backoff_s(RetryOptions(base_delay_s=1.0, max_delay_s=8.0), 3, rng) for _ in range(2000)]
    assert min(pauses) < 0.1
    assert max(pauses) > 7.9
    assert 3.8 < sum(pauses) / len(pauses) < 4.2


NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "asked"),
    [
        ([(b"retry-after", b"3")], 3.0),
        ([(b"retry-after", b"0.5")], 0.5),
        ([(b"retry-after", b"Sun, 22 Nov 2026 12:00:07 GMT")], 7.0),
        ([(b"retry-after", b"Sun, 22 Nov 2026 11:00:00 GMT")], 0.0),
        ([(b"retry-after-ms", b"250"), (b"retry-after", b"9")], 0.25),
        ([(b"retry-after", b"9"), (b"retry-after-ms", b"250")], 0.25),
        ([(b"retry-after-ms", b"soon"), (b"retry-after", b"9")], 9.0),
        ([(b"retry-after", b"1_0")], None),
        ([(b"retry-after", b"-1")], None),
        ([(b"retry-after", b"nan")], None),
        ([(b"retry-after", b"inf")], None),
        ([(b"retry-after", b"\xff\xfe")], None),
        ([], None),
    ],
)
def test_an_upstreams_wish_is_read_in_all_its_forms(headers: list[tuple[bytes, bytes]], asked: float | None) -> None:
    assert retry_after_s(headers, NOW) == asked


@given(
    st.binary(max_size=40)
    | st.from_regex(r"[A-Z][a-z]{2}, \d{1,9} Nov \d{1,9} \d\d:\d\d:\d\d [-+]?\w{1,9}").map(str.encode)
)
def test_no_value_breaks_the_reader(value: bytes) -> None:
    asked = retry_after_s([(b"retry-after", value)], NOW)
    assert asked is None or asked >= 0.0
