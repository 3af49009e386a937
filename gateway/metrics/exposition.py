"""Totals to text, through prometheus_client: the formats, the escaping and the negotiation are the library's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Final

from prometheus_client import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from gateway.metrics.table import PREFIX, TABLE, Kind, Spec
from gateway.metrics.totals import Totals

_PAUSE_EVERY: Final = 16


class Pace:
    """Steps aside for other threads: called often, it sleeps `rest_s` after each `slice_s` of work.

    A Python thread otherwise keeps the interpreter's lock for 5 ms at a time, and the event loop waits.
    """

    def __init__(self, slice_s: float = 0.0003, rest_s: float = 0.00005) -> None:
        self._slice_s = slice_s
        self._rest_s = rest_s
        self._since = time.perf_counter()

    def __call__(self) -> None:
        if time.perf_counter() - self._since > self._slice_s:
            time.sleep(self._rest_s)
            self._since = time.perf_counter()


class _PacedSamples(list[Sample]):
    """Samples that pause while the library iterates over them."""

    def __init__(self, samples: list[Sample], pause: Callable[[], None]) -> None:
        super().__init__(samples)
        self._pause = pause

    def __iter__(self) -> Iterator[Sample]:
        for n, sample in enumerate(super().__iter__()):
            if n % _PAUSE_EVERY == 0:
                self._pause()
            yield sample


class _TotalsCollector(Collector):
    def __init__(self, totals: Totals, pause: Callable[[], None]) -> None:
        self._totals = totals
        self._pause = pause

    def collect(self) -> Iterator[Metric]:
        for spec in TABLE:
            rows = self._totals.get(spec.name)
            if rows:
                yield self._metric(spec, rows)

    def _metric(self, spec: Spec, rows: dict[tuple[str, ...], list[float]]) -> Metric:
        name = PREFIX + spec.name
        metric = Metric(name.removesuffix("_total"), spec.help, spec.kind.value)
        samples: list[Sample] = []
        for n, (values, row) in enumerate(sorted(rows.items())):
            if n % _PAUSE_EVERY == 0:
                self._pause()
            labels = dict(zip(spec.labels, values, strict=True))
            if spec.kind is Kind.HISTOGRAM:
                samples.extend(_histogram(name, spec, labels, row))
            else:
                samples.append(Sample(name, labels, row[0] / spec.slots_per_unit))
        metric.samples = _PacedSamples(samples, self._pause)
        return metric


def _histogram(name: str, spec: Spec, labels: dict[str, str], row: list[float]) -> Iterator[Sample]:
    """The samples of one histogram: cumulative buckets, count, sum. `row` has one count a bucket, +Inf, sum."""
    *counts, total = row
    bounds = [str(float(bound)) for bound in spec.buckets] + ["+Inf"]
    count = 0.0
    for bound, count in zip(bounds, accumulate(counts), strict=True):
        yield Sample(f"{name}_bucket", {**labels, "le": bound}, count)
    yield Sample(f"{name}_count", labels, count)
    yield Sample(f"{name}_sum", labels, total)


def render(totals: Totals, accept: str, pause: Callable[[], None]) -> tuple[bytes, str]:
    """The exposition of `totals` and its content type, in the format that `accept` asks for."""
    encode, content_type = choose_encoder(accept)
    return encode(_TotalsCollector(totals, pause)), content_type
