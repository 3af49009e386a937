"""Figures that other parts keep as plain numbers, shown as metrics when these are read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

from gateway.metrics import Metrics
from gateway.metrics.families import Gauge
from gateway.server.gate import Gate
from gateway.services.keys.service import Keys
from gateway.services.ledger.service import Ledger
from gateway.services.quota.rollcall import Rollcall
from gateway.services.quota.service import Quota
from gateway.services.routing.routes import Routing
from gateway.store.reach import Reach
from gateway.upstream.health import CLOSED
from gateway.upstream.pool import Pool
from gateway.upstream.target import Account

# So many at a time have series of their own: whoever may ask for undeclared ones must not use up the declared ones'.
_MOST_UNDECLARED = 100


def show_gauges(
    metrics: Metrics,
    *,
    gate: Gate,
    pool: Pool,
    ledger: Ledger,
    keys: Keys,
    routing: Routing,
    valkey_is_up: Callable[[], bool],
    reach: Reach,
) -> None:
    """Have `metrics` show connections, pool, journal, listener, stores and breakers."""
    states = {state: metrics.pool_connections.child(state) for state in ("idle", "active", "waiting")}
    connections, in_flight = metrics.connections_open.child(), metrics.requests_in_flight.child()
    draining = metrics.draining.child()
    created, reused = metrics.pool_created.child(), metrics.pool_reused.child()
    stale = metrics.listener_stale.child()
    refused = metrics.store_refused.child()
    postgres_up, valkey_up = metrics.store_up.child("postgres"), metrics.store_up.child("valkey")

    def collect() -> None:
        connections.set(len(gate.connections))
        in_flight.set(gate.in_flight)
        draining.set(gate.draining)
        states["idle"].set(pool.idle)
        states["active"].set(pool.open - pool.idle)
        states["waiting"].set(pool.waiting)
        created.track(pool.created)
        reused.track(pool.reused)
        stale_s = keys.stale_s()
        stale.set(stale_s)
        postgres_up.set(stale_s < 3.0 and reach.away_since is None)
        refused.track(reach.refused)
        valkey_up.set(valkey_is_up())

    metrics.on_collect(collect)
    show_breakers(metrics, routing)
    show_journal(metrics, ledger)


def show_breakers(metrics: Metrics, routing: Routing) -> None:
    """Have `metrics` show the breakers of all declared targets and of some undeclared ones that were asked for; closed
    for one that is gone. Where targets share a series, it has the worst."""
    shown: dict[tuple[Gauge, Gauge], tuple[int, float]] = {}

    def collect() -> None:
        routes = routing.routes
        gone = dict.fromkeys(shown, (CLOSED, 0.0))
        shown.clear()
        for target in (*routes.targets, *routes.asked_for()[:_MOST_UNDECLARED]):
            labels = target.provider, target.name
            series = metrics.breaker_state.child(*labels), metrics.breaker_retry.child(*labels)
            breaker = target.breaker
            shown[series] = max(shown.get(series, (CLOSED, 0.0)), (breaker.state, breaker.retry_in_s()))
        for (state, retry), (state_now, retry_s) in {**gone, **shown}.items():
            state.set(state_now)
            retry.set(retry_s)

    metrics.on_collect(collect)


def show_journal(metrics: Metrics, ledger: Ledger) -> None:
    """Have `metrics` show how far the ledger's copy is, and what became of what it could not copy or write."""
    lag_rows, lag_bytes = metrics.journal_lag_rows.child(), metrics.journal_lag_bytes.child()
    copied, refused = metrics.journal_copied_rows.child(), metrics.journal_refused_rows.child()
    failures, unmade = metrics.journal_copy_failures.child(), metrics.journal_write_failures.child()
    adopted, unknown = metrics.journal_adopted.child(), metrics.journal_unknown_rows.child()
    torn, garbage = metrics.journal_torn_records.child(), metrics.journal_garbage_bytes.child()
    full_refused, full_dropped = metrics.journal_full_refused.child(), metrics.journal_full_dropped_rows.child()

    def collect() -> None:
        lag_rows.set(ledger.lag_rows)
        lag_bytes.set(ledger.lag_bytes)
        copied.track(ledger.copied_rows)
        refused.track(ledger.refused_rows)
        failures.track(ledger.copy_failures)
        unmade.track(ledger.write_failures)
        adopted.track(ledger.adopted_journals)
        unknown.track(ledger.unknown_rows)
        torn.track(ledger.torn_records)
        garbage.track(ledger.garbage_bytes)
        full_refused.track(ledger.refused_attempts)
        full_dropped.track(ledger.dropped_rows)

    metrics.on_collect(collect)


def show_quota(metrics: Metrics, quota: Quota, refusals: Mapping[str, int], rollcall: Rollcall) -> None:
    """Have `metrics` show how limits and budgets were decided about, `refusals` by scope, and how the counters fare."""
    decisions = {how: metrics.quota_decisions.child(how) for how in ("leased", "asked", "alone")}
    away, rebuilds = metrics.quota_away.child(), metrics.quota_rebuilds.child()
    awaited = metrics.quota_awaited_workers.child()

    def note(event: str) -> None:
        if event == "rebuilt":
            rebuilds.inc()

    def collect() -> None:
        decisions["leased"].track(quota.leased)
        decisions["asked"].track(quota.asked)
        decisions["alone"].track(quota.alone)
        since = quota.away_since
        away.set(0.0 if since is None else time.monotonic() - since)
        awaited.set(len(rollcall.awaited))
        for scope, count in refusals.items():
            metrics.limit_refusals.child(scope).track(count)

    quota.on_event = note
    metrics.on_collect(collect)


def show_benched_keys(metrics: Metrics, accounts: Callable[[], Mapping[str, Account]]) -> None:
    """Have `metrics` show how many keys of each of `accounts`, by provider, are benched; 0 for one that is gone."""
    shown: set[str] = set()

    def collect() -> None:
        now = time.monotonic()
        benched = {name: account.keys.benched(now) for name, account in accounts().items() if account.keys is not None}
        for name in shown.difference(benched):
            metrics.provider_keys_benched.child(name).set(0)
        shown.clear()
        shown.update(benched)
        for name, keys in benched.items():
            metrics.provider_keys_benched.child(name).set(keys)

    metrics.on_collect(collect)


async def keep_fresh(metrics: Metrics, interval_s: float = 1.0) -> None:
    """Refresh the metrics for scrapes by other workers, and watch how late the loop runs its timers."""
    loop = asyncio.get_running_loop()
    lag = metrics.event_loop_lag.child()
    while True:
        due = loop.time() + interval_s
        await asyncio.sleep(interval_s)
        lag.set(max(0.0, loop.time() - due))
        metrics.refresh()
