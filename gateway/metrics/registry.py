"""`Metrics`: every family of the table as an attribute, opened by a worker and scraped from any."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from gateway import __version__
from gateway.metrics.exposition import Pace, render
from gateway.metrics.families import Counter, CounterFamily, Family, Gauge, GaugeFamily, Histogram, HistogramFamily
from gateway.metrics.slots import Slots
from gateway.metrics.table import SPECS, TABLE, Kind
from gateway.metrics.totals import Directory, Memory, Rows, Totals

_log = logging.getLogger("gateway.metrics")


class _Source(Protocol):
    def read(self, pause: Callable[[], None]) -> Totals: ...
    def read_gauge(self, metric: str) -> list[Rows]: ...
    def fold(self) -> int: ...


class Metrics:
    """All metrics of this process. Children may be changed by the event loop's thread only."""

    def __init__(self, slots: Slots, source: _Source) -> None:
        self._slots = slots
        self._source = source
        self._callbacks: list[Callable[[], None]] = []
        self._series_dropped: dict[str, Counter] = {}
        counter, gauge, histogram = self._counter, self._gauge, self._histogram
        self.series_dropped: CounterFamily = counter("series_dropped_total")

        self.requests: CounterFamily = counter("requests_total")
        self.failures: CounterFamily = counter("failures_total")
        self.tokens: CounterFamily = counter("tokens_total")
        self.cost_usd: CounterFamily = counter("cost_usd_total")
        self.usage_estimated: CounterFamily = counter("usage_estimated_total")
        self.unpriced_attempts: CounterFamily = counter("unpriced_attempts_total")
        self.added_latency: HistogramFamily = histogram("added_latency_seconds")
        self.request_duration: HistogramFamily = histogram("request_duration_seconds")
        self.time_to_first_token: HistogramFamily = histogram("time_to_first_token_seconds")
        self.idempotent_requests: CounterFamily = counter("idempotent_requests_total")
        self.requests_in_flight: GaugeFamily = gauge("requests_in_flight")
        self.streams_open: GaugeFamily = gauge("streams_open")
        self.connections_open: GaugeFamily = gauge("connections_open")
        self.client_disconnects: CounterFamily = counter("client_disconnects_total")

        self.attempts: CounterFamily = counter("attempts_total")
        self.attempt_duration: HistogramFamily = histogram("attempt_duration_seconds")
        self.retries: CounterFamily = counter("retries_total")
        self.fallbacks: CounterFamily = counter("fallbacks_total")
        self.retry_budget_exhausted: CounterFamily = counter("retry_budget_exhausted_total")
        self.breaker_state: GaugeFamily = gauge("breaker_state")
        self.breaker_retry: GaugeFamily = gauge("breaker_retry_seconds")
        self.provider_keys_benched: GaugeFamily = gauge("provider_keys_benched")
        self.pool_connections: GaugeFamily = gauge("pool_connections")
        self.pool_created: CounterFamily = counter("pool_created_total")
        self.pool_reused: CounterFamily = counter("pool_reused_total")

        self.key_lookups: CounterFamily = counter("key_lookups_total")
        self.limit_refusals: CounterFamily = counter("limit_refusals_total")
        self.store_waits: CounterFamily = counter("store_waits_total")
        self.quota_decisions: CounterFamily = counter("quota_decisions_total")
        self.quota_rebuilds: CounterFamily = counter("quota_rebuilds_total")
        self.quota_away: GaugeFamily = gauge("quota_away_seconds")
        self.quota_awaited_workers: GaugeFamily = gauge("quota_awaited_workers")
        self.reservation_exceeded: CounterFamily = counter("reservation_exceeded_total")
        self.budget_clamped: CounterFamily = counter("budget_clamped_total")
        self.budget_alerts: CounterFamily = counter("budget_alerts_total")
        self.listener_stale: GaugeFamily = gauge("listener_stale_seconds")
        self.journal_lag_rows: GaugeFamily = gauge("journal_lag_rows")
        self.journal_lag_bytes: GaugeFamily = gauge("journal_lag_bytes")
        self.journal_copied_rows: CounterFamily = counter("journal_copied_rows_total")
        self.journal_refused_rows: CounterFamily = counter("journal_refused_rows_total")
        self.journal_adopted: CounterFamily = counter("journal_adopted_total")
        self.journal_unknown_rows: CounterFamily = counter("journal_unknown_rows_total")
        self.journal_torn_records: CounterFamily = counter("journal_torn_records_total")
        self.journal_garbage_bytes: CounterFamily = counter("journal_garbage_bytes_total")
        self.journal_write_failures: CounterFamily = counter("journal_write_failures_total")
        self.journal_full_refused: CounterFamily = counter("journal_full_refused_total")
        self.journal_full_dropped_rows: CounterFamily = counter("journal_full_dropped_rows_total")
        self.journal_copy_failures: CounterFamily = counter("journal_copy_failures_total")
        self.store_up: GaugeFamily = gauge("store_up")
        self.store_refused: CounterFamily = counter("store_refused_total")

        self.config_reloads: CounterFamily = counter("config_reloads_total")
        self.config_loaded_timestamp: GaugeFamily = gauge("config_loaded_timestamp_seconds")
        self.workers: GaugeFamily = gauge("workers")
        self.worker_deaths: CounterFamily = counter("worker_deaths_total")
        self.resident_memory_bytes: GaugeFamily = gauge("resident_memory_bytes")
        self.open_file_descriptors: GaugeFamily = gauge("open_file_descriptors")
        self.cpu_seconds: CounterFamily = counter("cpu_seconds_total")
        self.event_loop_lag: GaugeFamily = gauge("event_loop_lag_seconds")
        self.draining: GaugeFamily = gauge("draining")
        self.build_info: GaugeFamily = gauge("build_info")
        self.log_lines_sampled_out: CounterFamily = counter("log_lines_sampled_out_total")
        self.log_lines_dropped: CounterFamily = counter("log_lines_dropped_total")
        self.spans_dropped: CounterFamily = counter("spans_dropped_total")

        self.build_info.child(__version__).set(1)
        self._show_zeroes()

    @classmethod
    def open(cls, directory: Path, worker: str) -> Metrics:
        """Metrics kept in `directory` (`<run_dir>/metrics`, shared by all workers of this gateway).

        Folds what dead workers left there. Raises OSError when the files cannot be made or the disk is
        full, ValueError for a worker name outside [A-Za-z0-9_-].
        """
        shared = Directory(directory)
        return cls(shared.create(worker), shared)

    @classmethod
    def in_memory(cls) -> Metrics:
        """Metrics of this process alone, for tests and short commands."""
        slots = Slots.in_memory()
        return cls(slots, Memory(slots))

    def on_collect(self, callback: Callable[[], None]) -> None:
        """Have `callback` called before the metrics are read, to set them from plain numbers kept elsewhere."""
        self._callbacks.append(callback)

    def refresh(self) -> None:
        """Call the callbacks. Other workers read this one's file at any time: do it every second or so."""
        for callback in self._callbacks:
            try:
                callback()
            except Exception:
                _log.exception("a metrics callback failed")

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """The metrics of all workers, and their content type for the scraper's `Accept`. Blocks for milliseconds."""
        self.refresh()
        return render(self._source.read(lambda: None), accept, lambda: None)

    async def expose(self, accept: str = "") -> tuple[bytes, str]:
        """As `render`, made in a thread that steps aside for the event loop every fraction of a millisecond."""
        self.refresh()
        return await asyncio.to_thread(self._expose, accept)

    def _expose(self, accept: str) -> tuple[bytes, str]:
        pace = Pace()
        return render(self._source.read(pace), accept, pace)

    def fold(self) -> int:
        """Fold the files of dead workers into one, and return how many; totals stay the same."""
        return self._source.fold()

    def total(self, name: str, *labels: str) -> float:
        """A counter's or gauge's value over all workers, 0 where the series is new; for tests and status pages.

        Raises KeyError for a name that is not in the table (given without `gateway_`).
        """
        spec = SPECS[name]
        row = self._source.read(lambda: None).get(name, {}).get(labels)
        return row[0] / spec.slots_per_unit if row else 0.0

    async def of_each_worker(self, name: str) -> list[dict[tuple[str, ...], float]]:
        """A gauge's values in each live worker, by their labels: this worker's as they are now, the others' as of their
        last refresh. A worker without any is left out. Raises KeyError for a name that is not in the table."""
        spec = SPECS[name]
        self.refresh()
        workers = await asyncio.to_thread(self._source.read_gauge, name)
        return [{labels: row[0] / spec.slots_per_unit for labels, row in rows.items()} for rows in workers]

    def close(self) -> None:
        """Stop being a live worker: gauges vanish from scrapes, totals stay."""
        self._slots.close()

    def _show_zeroes(self) -> None:
        # A counter without labels is shown as 0 before its first event, so that rate() sees the first one.
        for spec in TABLE:
            if not spec.labels and spec.kind is Kind.COUNTER:
                self._by_name(spec.name).child()

    def _by_name(self, name: str) -> CounterFamily:
        for family in vars(self).values():
            if isinstance(family, Family) and family.spec.name == name:
                return family
        raise KeyError(name)

    def _counter(self, name: str) -> CounterFamily:
        return Family(SPECS[name], self._slots, Counter, self._drop)

    def _gauge(self, name: str) -> GaugeFamily:
        return Family(SPECS[name], self._slots, Gauge, self._drop)

    def _histogram(self, name: str) -> HistogramFamily:
        return Family(SPECS[name], self._slots, Histogram, self._drop)

    def _drop(self, family: str) -> None:
        if family != self.series_dropped.spec.name:
            self.series_dropped.child(family).inc()
