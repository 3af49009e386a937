"""A budget as an administrator sees it."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from gateway.services.budgets.budget import DEFAULT_MAX_END_USERS, BudgetScope, OnStoreFailure, OnTooDear
from gateway.services.budgets.period import PeriodKind
from gateway.store.authority import is_no_laxer

# The fields that can be changed, in the order of the columns.
CHANGEABLE = (
    "name",
    "limit_nano_usd",
    "period",
    "reset_day",
    "time_zone",
    "thresholds",
    "hard",
    "on_too_dear",
    "unbounded_nano_usd",
    "max_end_users",
    "on_store_failure",
)
_OF_PERIOD = ("starts_at", "ends_at", "settled_nano_usd", "topped_up_nano_usd", "lost_nano_usd")


@dataclass(frozen=True, slots=True)
class PeriodRecord:
    """The period in force. What is still in a worker's journal is not settled yet."""

    id: int
    starts_at: datetime
    ends_at: datetime | None
    settled_nano_usd: int
    topped_up_nano_usd: int
    lost_nano_usd: int


@dataclass(frozen=True, slots=True)
class BudgetRecord:
    """One budget; `team_id` is the team that it belongs to, `set_by_owner` as in `gateway.store.authority`. `current`
    is None where nothing was spent by anybody yet.

    The other fields are those of `Budget`.
    """

    id: str
    name: str
    scope: BudgetScope
    subject: str
    model: str | None
    limit_nano_usd: int
    period: PeriodKind
    reset_day: int
    time_zone: str
    thresholds: list[int]
    hard: bool
    on_too_dear: OnTooDear
    unbounded_nano_usd: int | None
    max_end_users: int | None
    on_store_failure: OnStoreFailure
    team_id: str | None
    set_by_owner: bool
    created_at: datetime
    updated_at: datetime
    current: PeriodRecord | None

    @property
    def spent_nano_usd(self) -> int:
        """What counts as spent of the period in force; 0 where none was opened yet."""
        return 0 if self.current is None else self.current.settled_nano_usd + self.current.lost_nano_usd

    @property
    def remaining_nano_usd(self) -> int:
        """What is left of the period in force, by what is settled; below zero where more was spent."""
        topped_up = 0 if self.current is None else self.current.topped_up_nano_usd
        return self.limit_nano_usd + topped_up - self.spent_nano_usd


@dataclass(frozen=True, slots=True)
class BudgetFilter:
    """Which budgets a list has: of a scope, on a subject, for a model; `within`: of that team and its keys alone."""

    scope: str | None = None
    subject: str | None = None
    model: str | None = None
    within: uuid.UUID | None = None


def record_of(row: asyncpg.Record) -> BudgetRecord:
    """The record in a row of the queries `record` and `page`."""
    fields = dict(row)
    period_id = fields.pop("period_id")
    period = {name: fields.pop(name) for name in _OF_PERIOD}
    current = None if period_id is None else PeriodRecord(period_id, **period)
    return BudgetRecord(**fields, current=current)


def allows_no_more(before: BudgetRecord, values: Mapping[str, Any]) -> bool:
    """Do `values` of `CHANGEABLE` allow no more than the budget has allowed so far, and are its calendar, its name and
    its thresholds the same?"""
    if any(values[name] != getattr(before, name) for name in ("name", "period", "reset_day", "time_zone")):
        return False
    if list(values["thresholds"]) != list(before.thresholds):
        return False
    unbounded, cap = before.unbounded_nano_usd, values["unbounded_nano_usd"]
    return (
        values["limit_nano_usd"] <= before.limit_nano_usd
        and (cap is None or (unbounded is not None and cap <= unbounded))
        and (values["max_end_users"] or DEFAULT_MAX_END_USERS) <= (before.max_end_users or DEFAULT_MAX_END_USERS)
        and values["hard"] >= before.hard
        and (values["on_too_dear"] == before.on_too_dear or values["on_too_dear"] == "refuse")
        and is_no_laxer(values["on_store_failure"], before.on_store_failure)
    )


def facts(record: BudgetRecord) -> dict[str, Any]:
    """A record for the audit log."""
    return {name: value for name, value in dataclasses.asdict(record).items() if value is not None}
