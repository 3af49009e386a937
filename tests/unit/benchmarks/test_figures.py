"""Statistics and targets of the benchmark."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.figures import Check, growth_percent, median, pair_difference, pair_ratio, percentile, summary


def test_percentile_is_the_nearest_rank() -> None:
    values = [float(value) for value in range(1, 101)]
    assert percentile(values, 50) == 50
    assert percentile(values, 99) == 99
    assert percentile(values, 100) == 100
    assert percentile([7.0], 1) == 7


def test_no_values_have_no_percentile_and_no_median() -> None:
    assert math.isnan(percentile([], 50))
    assert math.isnan(median([]))


@given(st.lists(st.floats(0, 1e9), min_size=1), st.floats(0, 100))
def test_percentile_is_one_of_the_values(values: list[float], percent: float) -> None:
    assert percentile(values, percent) in values


def test_a_ratio_is_taken_within_each_pair_so_that_drift_cancels() -> None:
    # The machine halves its speed after every pair; the ratio stays.
    assert pair_ratio([(30.0, 100.0), (15.0, 50.0), (7.5, 25.0)]) == pytest.approx(0.3)


def test_a_difference_is_taken_within_each_pair() -> None:
    assert pair_difference([(5.0, 4.0), (9.0, 7.0), (103.0, 100.0)]) == 2.0


def test_summary_tells_count_and_extremes() -> None:
    result = summary([3.0, 1.0, 2.0])
    assert (result["count"], result["p50"], result["max"]) == (3, 2.0, 3.0)


def test_growth_is_relative_to_before() -> None:
    assert growth_percent(80.0, 84.0) == pytest.approx(5.0)
    assert growth_percent(80.0, 76.0) == pytest.approx(-5.0)


@pytest.mark.parametrize(
    ("check", "passed"),
    [
        (Check("rate", 0.28, "×", least=0.28), True),
        (Check("rate", 0.279, "×", least=0.28), False),
        (Check("time", 0.3, "ms", most=0.3), True),
        (Check("time", 0.31, "ms", most=0.3), False),
        (Check("lost", 0, "", most=0), True),
        (Check("time", math.nan, "ms", most=0.3), False),
    ],
)
def test_a_check_passes_exactly_within_its_bound(check: Check, passed: bool) -> None:
    assert check.passed is passed


def test_a_target_reads_as_people_write_it() -> None:
    assert Check("rate", 1, "×", least=0.28).target == "≥ 0.28 ×"
    assert Check("lost", 1, "", most=0).target == "≤ 0"
