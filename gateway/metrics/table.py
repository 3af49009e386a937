"""The one table of metrics: name, kind, help, labels, buckets, bound and how workers are joined.

Names follow https://prometheus.io/docs/practices/naming/: base units, `_total` for counters. Every
name is exposed with the prefix `gateway_`. docs/metrics.md is generated from this table.
"""

from __future__ import annotations

import zlib
from enum import Enum
from typing import Final, NamedTuple

PREFIX: Final = "gateway_"

# What a label set beyond a family's cap is counted under.
OTHER: Final = "other"
MAX_LABEL_CHARS: Final = 100

# Labels whose values come from configuration or clients; all others are fixed sets of the code.
OPEN_LABELS: Final = frozenset({"model", "provider", "target"})


class Kind(Enum):
    """Prometheus's metric types that are used here."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Across(Enum):
    """How the values of several live workers make one gauge (counters and histograms are summed)."""

    SUM = "sum"
    MAX = "max"
    MIN = "min"


class Spec(NamedTuple):
    """One row. `cap` bounds the number of series; `slots_per_unit` is what a slot holds for one unit shown."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    cap: int = 200
    across: Across = Across.SUM
    slots_per_unit: float = 1.0

    @property
    def width(self) -> int:
        """Slots a series takes: a histogram has one a bucket, one for +Inf and one for the sum."""
        return len(self.buckets) + 2 if self.kind is Kind.HISTOGRAM else 1

    @property
    def hard_cap(self) -> int:
        """Series with the room kept for label sets whose open labels read `other`."""
        return self.cap + max(16, self.cap // 4)

    @property
    def slots(self) -> int:
        """Most slots the family can take; one series more for the set whose labels all read `other`."""
        return (self.hard_cap + 1) * self.width


# 50 µs … 1 s: what the gateway adds is between a tenth of a millisecond and a few.
ADDED_BUCKETS: Final = (
    *(0.00005, 0.0001, 0.00015, 0.0002, 0.0003, 0.0005, 0.00075),
    *(0.001, 0.0015, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0),
)
# Model calls last from milliseconds (embeddings, mocks) to minutes (reasoning).
CALL_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)

_C, _G, _H = Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM
_MODEL = ("model", "provider")

TABLE: Final[tuple[Spec, ...]] = (
    # --- requests ------------------------------------------------------------------------------
    Spec(
        "requests_total",
        _C,
        "Finished requests by what the client asked for and the HTTP status it got.",
        ("endpoint", "model", "provider", "status"),
        cap=1000,
    ),
    Spec("failures_total", _C, "Requests that ended in an error, by error code.", ("code", "endpoint"), cap=400),
    Spec(
        "tokens_total",
        _C,
        "Tokens as the answers report them, by kind; a fallback's by its own model.",
        (*_MODEL, "kind"),
        cap=1000,
    ),
    Spec("cost_usd_total", _C, "Cost of the attempts, in US dollars.", _MODEL, slots_per_unit=1e9),
    Spec("usage_estimated_total", _C, "Attempts whose usage was estimated, for no report came.", _MODEL),
    Spec("unpriced_attempts_total", _C, "Attempts metered at no cost, for the model has no price.", _MODEL),
    Spec(
        "added_latency_seconds",
        _H,
        "Time a request spent in the gateway, apart from the time upstream.",
        ("endpoint",),
        ADDED_BUCKETS,
        cap=50,
    ),
    Spec(
        "request_duration_seconds",
        _H,
        "Time from a request's head to its answer's last byte.",
        ("endpoint", "model"),
        CALL_BUCKETS,
    ),
    Spec(
        "time_to_first_token_seconds",
        _H,
        "Time from a request's head to the first event of its stream.",
        _MODEL,
        CALL_BUCKETS,
    ),
    Spec(
        "idempotent_requests_total",
        _C,
        "Requests with an Idempotency-Key: first, replayed, key_reused, in_progress, outcome_unknown, "
        "answer_too_large or store_unavailable.",
        ("result",),
        cap=10,
    ),
    Spec("requests_in_flight", _G, "Requests being served now."),
    Spec("streams_open", _G, "Streams being sent to clients now."),
    Spec("connections_open", _G, "Connections of clients that are open now."),
    Spec("client_disconnects_total", _C, "Requests whose client went away before the end."),
    # --- upstream ------------------------------------------------------------------------------
    Spec("attempts_total", _C, "Attempts at providers, by outcome: ok or an error code.", ("provider", "outcome")),
    Spec(
        "attempt_duration_seconds",
        _H,
        "Time of one attempt at a provider, from its start to its last byte.",
        ("provider",),
        CALL_BUCKETS,
    ),
    Spec("retries_total", _C, "Second and later tries at the same target, by error code.", ("provider", "reason")),
    Spec("fallbacks_total", _C, "Moves on to another target, by the model asked for.", ("model",)),
    Spec("retry_budget_exhausted_total", _C, "Retries not made because the gateway-wide retry budget was used up."),
    Spec(
        "breaker_state",
        _G,
        "Circuit breaker of a target: 0 closed, 1 half-open, 2 open.",
        ("provider", "target"),
        cap=400,
        across=Across.MAX,
    ),
    Spec(
        "breaker_retry_seconds",
        _G,
        "How long an open circuit breaker still keeps a target from being tried.",
        ("provider", "target"),
        cap=400,
        across=Across.MAX,
    ),
    Spec(
        "provider_keys_benched",
        _G,
        "Keys of a provider that are left alone because it refused them (401, 403, quota), "
        "of the worker that left most alone.",
        ("provider",),
        across=Across.MAX,
    ),
    Spec("pool_connections", _G, "Upstream connections by state: idle, active or waiting for one.", ("state",), cap=10),
    Spec("pool_created_total", _C, "Upstream connections made."),
    Spec("pool_reused_total", _C, "Attempts that used a kept-alive upstream connection."),
    # --- keys, ledger, stores ------------------------------------------------------------------
    Spec(
        "key_lookups_total",
        _C,
        "Look-ups of callers' keys by result: warm, found, unknown, forged or error.",
        ("result",),
        cap=10,
    ),
    Spec(
        "limit_refusals_total",
        _C,
        "Requests and attempts that a limit refused, by the limit's scope.",
        ("scope",),
        cap=10,
    ),
    Spec(
        "quota_decisions_total",
        _C,
        "Decisions about limits and hard budgets: leased (without a word to Valkey), asked (Valkey was asked first) or "
        "alone (Valkey did not answer).",
        ("how",),
        cap=10,
    ),
    Spec(
        "store_waits_total",
        _C,
        "Requests that went to an upstream, by whether they had to wait for PostgreSQL or Valkey before the first try: "
        "no or yes.",
        ("waited",),
        cap=4,
    ),
    Spec("quota_rebuilds_total", _C, "Times that the counters in Valkey were begun anew because they were lost."),
    Spec(
        "quota_away_seconds", _G, "How long Valkey has been away for the worker that misses it most.", across=Across.MAX
    ),
    Spec(
        "quota_awaited_workers",
        _G,
        "Workers whose journals hard budgets wait for since the counters were lost; see `budgets write-off`.",
        across=Across.MAX,
    ),
    Spec("reservation_exceeded_total", _C, "Attempts that cost more than the worst case that was set aside for them."),
    Spec("budget_clamped_total", _C, "Attempts whose output cap was cut to what a budget had left."),
    Spec(
        "budget_alerts_total",
        _C,
        "Alerts that were raised, by kind: threshold, burn_rate, exceeded or journal_unwritable.",
        ("kind",),
        cap=10,
    ),
    Spec(
        "listener_stale_seconds",
        _G,
        "Time since the database's change listener was last heard.",
        across=Across.MAX,
    ),
    Spec("journal_lag_rows", _G, "Records in the journals that are not yet in Postgres."),
    Spec("journal_lag_bytes", _G, "Bytes of the journals that are not yet in Postgres."),
    Spec("journal_copied_rows_total", _C, "Journal records copied to Postgres."),
    Spec("journal_refused_rows_total", _C, "Journal records that Postgres refused and that were set aside."),
    Spec("journal_adopted_total", _C, "Journals of dead workers that were copied to Postgres."),
    Spec(
        "journal_unknown_rows_total", _C, "Attempts in them that had begun and not ended, now in Postgres as unknown."
    ),
    Spec("journal_torn_records_total", _C, "Records in them that their worker died in."),
    Spec("journal_garbage_bytes_total", _C, "Bytes in them that are no records and were set aside."),
    Spec("journal_write_failures_total", _C, "Journal files that could not be made, for the disk is full or broken."),
    Spec("journal_full_refused_total", _C, "Attempts that were refused because the journal was full."),
    Spec("journal_full_dropped_rows_total", _C, "Journal records that were LOST because the journal was full."),
    Spec("journal_copy_failures_total", _C, "Copies of a journal batch that failed and are tried again."),
    Spec(
        "store_up",
        _G,
        "1 while a store (postgres, valkey) answers every worker, else 0.",
        ("store",),
        cap=10,
        across=Across.MIN,
    ),
    Spec(
        "store_refused_total",
        _C,
        "Questions of requests to Postgres that were not asked, for it had just not answered.",
    ),
    # --- the process ---------------------------------------------------------------------------
    Spec("config_reloads_total", _C, "Reloads of the configuration, by result: ok or rejected.", ("result",), cap=10),
    Spec(
        "config_loaded_timestamp_seconds",
        _G,
        "Unix time at which the configuration in force was loaded, of the worker that is furthest behind.",
        across=Across.MIN,
    ),
    Spec("workers", _G, "Worker processes that are ready."),
    Spec("worker_deaths_total", _C, "Worker processes that ended without being asked to."),
    Spec("resident_memory_bytes", _G, "Resident memory of all the gateway's processes."),
    Spec("open_file_descriptors", _G, "Open file descriptors of all the gateway's processes."),
    Spec("cpu_seconds_total", _C, "CPU time used by the gateway's processes, user and system."),
    Spec("event_loop_lag_seconds", _G, "How late the event loop ran its last timer.", across=Across.MAX),
    Spec("draining", _G, "1 while a worker drains before it ends.", across=Across.MAX),
    Spec("build_info", _G, "Always 1; the gateway's version.", ("version",), cap=10, across=Across.MAX),
    Spec("log_lines_sampled_out_total", _C, "Request log lines left out by sampling."),
    Spec("log_lines_dropped_total", _C, "Log lines dropped because stderr was slow or closed."),
    Spec("spans_dropped_total", _C, "Requests whose spans could not be recorded."),
    Spec(
        "series_dropped_total",
        _C,
        "Look-ups of label sets beyond a family's cap, counted under `other`.",
        ("family",),
        cap=100,
    ),
)

SPECS: Final[dict[str, Spec]] = {spec.name: spec for spec in TABLE}

# Room for every family at its cap, and a scratch series for what cannot be listed (disk full).
SCRATCH_SLOTS: Final = max(spec.width for spec in TABLE)
TOTAL_SLOTS: Final = sum(spec.slots for spec in TABLE) + SCRATCH_SLOTS

# Files of a gateway with another table are not read: their slots may mean something else.
FINGERPRINT: Final = f"{zlib.crc32(repr([(s.name, s.kind.value, s.labels, s.buckets) for s in TABLE]).encode()):08x}"
