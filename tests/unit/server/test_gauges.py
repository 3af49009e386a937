"""Figures that are kept elsewhere, as the metrics show them."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

from gateway.metrics import Metrics
from gateway.server.gauges import show_benched_keys, show_journal, show_quota
from gateway.upstream.connection import Limits
from gateway.upstream.demo import DemoLine
from gateway.upstream.key_ring import KeyRing, ProviderKey
from gateway.upstream.target import Account, Manner

FAMILY = "provider_keys_benched"


def account(name: str, *secrets: str) -> Account:
    keys = [ProviderKey(f"key {number}", secret) for number, secret in enumerate(secrets, 1)]
    return Account(
        name=name,
        type="openai",
        base_url="http://127.0.0.1/v1",
        base_path="/v1",
        host=b"127.0.0.1",
        headers={},
        line=DemoLine(),
        limits=Limits(connect_s=5, first_byte_s=30, idle_s=30, total_s=60),
        manner=Manner(keys=KeyRing(name, keys) if keys else None),
        local=False,
    )


def test_benched_keys_are_counted_by_provider_without_a_word_of_the_keys() -> None:
    metrics = Metrics.in_memory()
    accounts = {"two": account("two", "sk-s3cret-1", "sk-s3cret-2"), "none": account("none")}
    show_benched_keys(metrics, lambda: accounts)
    metrics.refresh()
    assert metrics.total(FAMILY, "two") == 0
    ring = accounts["two"].keys
    assert ring is not None
    for key in ring.keys:
        ring.bench(key, "upstream_auth", time.monotonic())
    text = metrics.render()[0].decode()
    assert 'gateway_provider_keys_benched{provider="two"} 2.0' in text
    assert 'provider="none"' not in text
    assert "s3cret" not in text
    ring.restore(ring.keys[0])
    metrics.refresh()
    assert metrics.total(FAMILY, "two") == 1
    del accounts["two"]
    metrics.refresh()
    assert metrics.total(FAMILY, "two") == 0


def test_each_figure_of_the_journal_has_a_metric_of_its_own() -> None:
    metrics = Metrics.in_memory()
    figures = {
        "lag_rows": "journal_lag_rows",
        "lag_bytes": "journal_lag_bytes",
        "copied_rows": "journal_copied_rows_total",
        "refused_rows": "journal_refused_rows_total",
        "copy_failures": "journal_copy_failures_total",
        "write_failures": "journal_write_failures_total",
        "adopted_journals": "journal_adopted_total",
        "unknown_rows": "journal_unknown_rows_total",
        "torn_records": "journal_torn_records_total",
        "garbage_bytes": "journal_garbage_bytes_total",
        "refused_attempts": "journal_full_refused_total",
        "dropped_rows": "journal_full_dropped_rows_total",
    }
    ledger = SimpleNamespace(**{name: number for number, name in enumerate(figures, 11)})
    show_journal(metrics, ledger)  # type: ignore[arg-type]
    metrics.refresh()
    assert [metrics.total(name) for name in figures.values()] == list(range(11, 11 + len(figures)))


class FakeQuota:
    """The figures of a quota."""

    leased, asked, alone = 95, 4, 1
    away_since: float | None = None

    def on_event(self, what: str) -> None:
        """Is replaced."""


def test_decisions_refusals_and_the_counters_health_are_shown() -> None:
    metrics = Metrics.in_memory()
    quota: Any = FakeQuota()
    refusals = {"key": 2}
    rollcall: Any = SimpleNamespace(awaited=["a worker", "another"])
    show_quota(metrics, quota, refusals, rollcall)
    quota.away_since = time.monotonic() - 5
    for event in ("away", "rebuilt", "back"):
        quota.on_event(event)
    refusals["team"] = 1
    metrics.refresh()
    assert [metrics.total("quota_decisions_total", how) for how in ("leased", "asked", "alone")] == [95, 4, 1]
    assert [metrics.total("limit_refusals_total", scope) for scope in ("key", "team")] == [2, 1]
    assert metrics.total("quota_rebuilds_total") == 1
    assert 5 <= metrics.total("quota_away_seconds") < 60
    assert metrics.total("quota_awaited_workers") == 2
    quota.away_since, rollcall.awaited = None, []
    metrics.refresh()
    assert metrics.total("quota_away_seconds") == metrics.total("quota_awaited_workers") == 0
