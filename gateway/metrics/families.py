"""Families and children: a child is a place in the slots, found once and then only added to."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import Generic, TypeVar

from gateway.metrics.slots import Slots
from gateway.metrics.table import MAX_LABEL_CHARS, OPEN_LABELS, OTHER, Spec


class _Series:
    """One series: where its slots are. A counter or gauge has one, a histogram several."""

    __slots__ = ("_at", "_values")

    def __init__(self, values: memoryview[float], at: int, buckets: tuple[float, ...]) -> None:
        self._values = values
        self._at = at


class _Number(_Series):
    """One slot, which nobody else writes: what is in it need not be read to be added to."""

    __slots__ = ("_now",)

    def __init__(self, values: memoryview[float], at: int, buckets: tuple[float, ...]) -> None:
        super().__init__(values, at, buckets)
        self._now = values[at]

    @property
    def value(self) -> float:
        """What this worker counted or says."""
        return self._now


class Counter(_Number):
    """A number that only grows."""

    __slots__ = ()

    def inc(self, n: float = 1) -> None:
        """Add `n` (not negative), in the family's slot unit: nano-dollars for `cost_usd`, else what the name says."""
        self._now += n
        self._values[self._at] = self._now

    def track(self, total: float) -> None:
        """Take over a total that is counted elsewhere; it must never shrink. For `Metrics.on_collect`."""
        self._values[self._at] = self._now = total


class Gauge(_Number):
    """A number that goes up and down."""

    __slots__ = ()

    def set(self, value: float) -> None:
        """Make it `value`."""
        self._values[self._at] = self._now = value

    def inc(self, n: float = 1) -> None:
        """Add `n`."""
        self._now += n
        self._values[self._at] = self._now

    def dec(self, n: float = 1) -> None:
        """Take `n` away."""
        self._now -= n
        self._values[self._at] = self._now


class Histogram(_Series):
    """Counts of observations by size, and their sum."""

    __slots__ = ("_buckets", "_sum", "_sum_now")

    def __init__(self, values: memoryview[float], at: int, buckets: tuple[float, ...]) -> None:
        super().__init__(values, at, buckets)
        self._buckets = buckets
        self._sum = at + len(buckets) + 1
        self._sum_now = values[self._sum]

    def observe(self, value: float) -> None:
        """Count one observation, in the unit of the metric's name (seconds)."""
        values = self._values
        values[self._at + bisect_left(self._buckets, value)] += 1
        self._sum_now += value
        values[self._sum] = self._sum_now

    @property
    def count(self) -> float:
        """Observations this worker made."""
        return float(sum(self._values[self._at : self._sum]))

    @property
    def sum(self) -> float:
        """Sum of this worker's observations."""
        return self._values[self._sum]


_Child = TypeVar("_Child", bound=_Series)


class Family(Generic[_Child]):
    """All series of one metric, at most `spec.hard_cap` of them and one more."""

    __slots__ = ("_children", "_dropped", "_make", "_slots", "spec")

    def __init__(self, spec: Spec, slots: Slots, make: type[_Child], dropped: Callable[[str], None]) -> None:
        self.spec = spec
        self._slots = slots
        self._make = make
        self._dropped = dropped
        self._children: dict[tuple[str, ...], _Child] = {}

    def child(self, *labels: str) -> _Child:
        """The series with these label values, in the table's order; made when it is new.

        Values are cut to 100 characters. Beyond the cap, open labels (model, provider, target) read
        `other`, and past the room for those, every label does; `series_dropped_total` counts that.
        Raises ValueError for a wrong number of labels.
        """
        return self._children.get(labels) or self._new(labels)

    def _new(self, labels: tuple[str, ...]) -> _Child:
        if len(labels) != len(self.spec.labels):
            raise ValueError(f"{self.spec.name} has the labels {self.spec.labels}, not {len(labels)} values")
        labels = labels_of(*labels)
        known = self._children.get(labels)
        if known is not None:
            return known
        if len(self._children) < self.spec.cap:
            return self._add(labels)
        self._dropped(self.spec.name)
        return self._overflow(labels)

    def _overflow(self, labels: tuple[str, ...]) -> _Child:
        for fewer in (bounded(self.spec, labels), (OTHER,) * len(labels)):
            known = self._children.get(fewer)
            if known is not None:
                return known
            if len(self._children) < self.spec.hard_cap:
                return self._add(fewer)
        return self._add((OTHER,) * len(labels))

    def _add(self, labels: tuple[str, ...]) -> _Child:
        at = self._slots.add(self.spec.name, labels, self.spec.width)
        if at is None:
            return self._make(self._slots.values, self._slots.scratch, self.spec.buckets)
        child = self._make(self._slots.values, at, self.spec.buckets)
        self._children[labels] = child
        return child


def labels_of(*values: str) -> tuple[str, ...]:
    """The values as a series has them: cut, and without lone surrogates, which cannot be written as UTF-8."""
    return tuple(value[:MAX_LABEL_CHARS].encode("utf-8", "replace").decode() for value in values)


def bounded(spec: Spec, labels: tuple[str, ...]) -> tuple[str, ...]:
    """The label values with those of open labels replaced by `other`."""
    return tuple(OTHER if name in OPEN_LABELS else v for name, v in zip(spec.labels, labels, strict=True))


CounterFamily = Family[Counter]
GaugeFamily = Family[Gauge]
HistogramFamily = Family[Histogram]
