"""What is written down of requests, and for how long."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from gateway.settings.section import Count, Megabytes, Milliseconds, Seconds, Section

_Months = Annotated[int, Field(strict=True, ge=1, le=1200)]


class Ledger(Section):
    """The journal of attempts on disk and its copy in PostgreSQL."""

    fsync: Literal["never", "interval", "always"] = Field(
        default="interval",
        description="when records are forced to disk; a crash of the gateway loses none in any mode, "
        "one of the machine those not yet forced",
    )
    fsync_interval_ms: Milliseconds = Field(default=1000, description="pause between two fsyncs in mode interval")
    segment_mb: Megabytes = Field(default=16, description="size at which the journal begins a new file")
    copy_interval_ms: Milliseconds = Field(default=200, description="pause between two copies to PostgreSQL")
    batch_rows: int = Field(default=1000, strict=True, ge=1, le=100_000, description="most records in one copy")
    statement_timeout_s: Seconds = Field(default=30, description="how long one copy may take")
    adopt_interval_s: Seconds = Field(default=5, description="pause between two looks for journals of dead workers")
    max_journal_mb: Megabytes = Field(
        default=1024,
        description="size of one worker's journal files that are not copied yet at which it is full; "
        "at least four times segment_mb",
    )
    on_journal_full: Literal["refuse", "drop"] = Field(
        default="refuse",
        description="refuse: new attempts fail with 503 before they are sent; drop: they are sent, and their rows "
        "lost, but for those that a hard budget pays for, which are refused",
    )
    lost_lease_hours: int = Field(
        default=24,
        strict=True,
        ge=1,
        le=8760,
        description="a worker that was not heard of for so long, and whose journal nobody has copied: "
        "what it had set aside of budgets counts as spent",
    )
    months_ahead: int = Field(
        default=2, strict=True, ge=0, le=120, description="months for which partitions are made in advance"
    )
    retention_months: _Months | None = Field(
        default=None,
        description="whole months before this one whose rows are kept; older ones are dropped; none keeps all",
    )
    rollup_retention_months: _Months | None = Field(
        default=None, description="the same for the sums by hour and day; none keeps all"
    )

    @model_validator(mode="after")
    def _journal_holds_segments(self) -> Self:
        if self.max_journal_mb < 4 * self.segment_mb:
            raise ValueError("max_journal_mb must be at least four times segment_mb")
        return self


class Reporting(Section):
    """Tags and end users that callers name: `x-gateway-tags`, `metadata.tags`, `user`."""

    max_distinct_tags: Count = Field(
        default=1000,
        description="tags of a team (or of a key without one) that a worker reports by name in a day; later ones are "
        "`other`",
    )
    max_distinct_users: Count = Field(
        default=100_000,
        description="end users of a team (or of a key without one) that a worker reports by name in a day; later ones "
        "are `other`",
    )
    hash_users: bool = Field(
        default=False,
        description="write down a keyed hash of `user`, in rows, budgets, alerts and logs; "
        "the key comes from GATEWAY_SECRET_KEY",
    )
