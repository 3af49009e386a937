"""Figures that other parts keep as plain numbers, shown as metrics when these are read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.metrics import Metrics
from gateway.server.gate import Gate
from gateway.services.keys.service import Keys
from gateway.services.ledger.service import Ledger
from gateway.services.routing.routes import Routing
from gateway.upstream.pool import Pool


def show_gauges(
    metrics: Metrics,
    *,
    gate: Gate,
    pool: Pool,
    ledger: Ledger,
    keys: Keys,
    routing: Routing,
    valkey_is_up: Callable[[], bool],
) -> None:
    """Have `metrics` show connections, pool, journal, listener, stores and breakers."""
    states = {state: metrics.pool_connections.child(state) for state in ("idle", "active", "waiting")}
    connections = metrics.connections_open.child()
    draining = metrics.draining.child()
    created, reused = metrics.pool_created.child(), metrics.pool_reused.child()
    lag_rows, lag_bytes = metrics.journal_lag_rows.child(), metrics.journal_lag_bytes.child()
    copied, refused = metrics.journal_copied_rows.child(), metrics.journal_refused_rows.child()
    failures = metrics.journal_copy_failures.child()
    stale = metrics.listener_stale.child()
    postgres_up, valkey_up = metrics.store_up.child("postgres"), metrics.store_up.child("valkey")

    def collect() -> None:
        connections.set(len(gate.connections))
        draining.set(gate.draining)
        states["idle"].set(pool.idle)
        states["active"].set(pool.open - pool.idle)
        states["waiting"].set(pool.waiting)
        created.track(pool.created)
        reused.track(pool.reused)
        lag_rows.set(ledger.lag_rows)
        lag_bytes.set(ledger.lag_bytes)
        copied.track(ledger.copied_rows)
        refused.track(ledger.refused_rows)
        failures.track(ledger.copy_failures)
        stale_s = keys.stale_s()
        stale.set(stale_s)
        postgres_up.set(stale_s < 3.0)
        valkey_up.set(valkey_is_up())
        for target in routing.routes.targets:
            metrics.breaker_state.child(target.provider, target.name).set(target.breaker.state)

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
