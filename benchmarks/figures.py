"""Statistics and targets: how measurements become the figures that are printed and published. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Check:
    """One target of the project and what was measured against it.

    `least` and `most` are inclusive bounds in `unit`; exactly one of them is set.
    """

    name: str
    measured: float
    unit: str
    least: float | None = None
    most: float | None = None

    @property
    def passed(self) -> bool:
        """Whether the measured value meets the target; a value that is not a number never does."""
        if math.isnan(self.measured):
            return False
        return (self.least is None or self.measured >= self.least) and (self.most is None or self.measured <= self.most)

    @property
    def target(self) -> str:
        """The target in words, such as `≥ 0.28 ×`."""
        bound = f"≥ {self.least:,g}" if self.least is not None else f"≤ {self.most:,g}"
        return f"{bound} {self.unit}".rstrip()

    def as_json(self) -> dict[str, Any]:
        """A flat dict for the results file."""
        return {**asdict(self), "target": self.target, "passed": self.passed}


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that `percent` % of `values` do not exceed (nearest rank); NaN for no values."""
    if not values:
        return math.nan
    ordered = sorted(values)
    rank = max(math.ceil(percent / 100 * len(ordered)), 1)
    return ordered[rank - 1]


def median(values: Sequence[float]) -> float:
    """The middle value; NaN for no values."""
    return statistics.median(values) if values else math.nan


def summary(values: Sequence[float]) -> dict[str, float]:
    """Count, median, p90, p99, p99.9 and the largest of `values`."""
    ordered = sorted(values)
    return {
        "count": len(ordered),
        "p50": percentile(ordered, 50),
        "p90": percentile(ordered, 90),
        "p99": percentile(ordered, 99),
        "p99.9": percentile(ordered, 99.9),
        "max": ordered[-1] if ordered else math.nan,
    }


def pair_ratio(pairs: Sequence[tuple[float, float]]) -> float:
    """Median over the pairs of first / second: each pair ran side by side, so the machine's drift cancels."""
    return median([first / second for first, second in pairs])


def pair_difference(pairs: Sequence[tuple[float, float]]) -> float:
    """Median over the pairs of first − second."""
    return median([first - second for first, second in pairs])


def growth_percent(before: float, after: float) -> float:
    """By how many per cent `after` exceeds `before` (negative: it shrank)."""
    return (after / before - 1) * 100
