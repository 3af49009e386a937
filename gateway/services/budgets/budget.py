"""One budget and one period of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

import asyncpg

from gateway.services.budgets.period import PeriodKind, current_period, zone_called
from gateway.store.scopes import Scope

BudgetScope = Scope | Literal["end_user"]
OnTooDear = Literal["clamp", "refuse"]
OnStoreFailure = Literal["deny", "allow", "local"]

END_USER: Final = "end_user"
MOST_NANO_USD: Final = 2**53 - 1  # exact in Lua's numbers
DEFAULT_THRESHOLDS: Final = (50, 80, 100)
DEFAULT_MAX_END_USERS: Final = 10_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Budget:
    """What may be spent at one place (see store/scopes.py) in a period.

    The scope end_user, whose subject is a key, gives each `user` named under that key a budget of its own.
    `thresholds` are percents at which to tell somebody. A `hard` budget is never exceeded; `on_too_dear` says what
    becomes of a request whose worst case does not fit, `unbounded_nano_usd` what one may cost whose worst case cannot
    be computed (None: it is refused). `zone` names a time zone.
    """

    id: str
    name: str
    scope: BudgetScope
    subject: str
    model: str | None
    limit_nano_usd: int
    period: PeriodKind
    reset_day: int
    zone: str
    thresholds: tuple[int, ...]
    hard: bool
    on_too_dear: OnTooDear
    unbounded_nano_usd: int | None
    max_end_users: int
    on_store_failure: OnStoreFailure
    created_at_us: int


@dataclass(frozen=True, slots=True)
class Period:
    """A budget's period, of one end user where the budget is for those ("" otherwise). Times are Unix microseconds.

    `settled_nano_usd` is what the ledger had charged when the row was read, `released_nano_usd` what it had given back.
    The period's allowance is the budget's limit and `topped_up_nano_usd`; `lost_nano_usd` counts as spent. `ends_at_us`
    is None for a total.
    """

    id: int
    budget_id: str
    end_user: str
    starts_at_us: int
    ends_at_us: int | None
    settled_nano_usd: int
    topped_up_nano_usd: int
    lost_nano_usd: int
    released_nano_usd: int = 0

    @property
    def extra_nano_usd(self) -> int:
        """What may be charged to it beyond the budget's limit."""
        return self.topped_up_nano_usd + self.released_nano_usd

    def holds(self, now_us: int) -> bool:
        """Has it begun, and not ended?"""
        return self.starts_at_us <= now_us and (self.ends_at_us is None or now_us < self.ends_at_us)


def budget_of(row: asyncpg.Record) -> Budget:
    """The budget in a row of `cost_budgets`."""
    return Budget(
        id=str(row["id"]),
        name=row["budget_name"],
        scope=row["budget_scope"],
        subject=row["scope_identifier"],
        model=row["model"],
        limit_nano_usd=row["limit_nano_usd"],
        period=row["period"],
        reset_day=row["reset_day"],
        zone=row["time_zone"],
        thresholds=tuple(row["alert_thresholds"]),
        hard=row["hard"],
        on_too_dear=row["on_too_dear"],
        unbounded_nano_usd=row["unbounded_nano_usd"],
        max_end_users=row["max_end_users"] or DEFAULT_MAX_END_USERS,
        on_store_failure=row["on_store_failure"],
        created_at_us=microseconds(row["created_at"]),
    )


def period_of(row: asyncpg.Record) -> Period:
    """The period in a row of `budget_periods`."""
    return Period(
        id=row["id"],
        budget_id=str(row["budget_id"]),
        end_user=row["end_user"],
        starts_at_us=microseconds(row["starts_at"]),
        ends_at_us=None if row["ends_at"] is None else microseconds(row["ends_at"]),
        settled_nano_usd=row["settled_nano_usd"],
        topped_up_nano_usd=row["topped_up_nano_usd"],
        lost_nano_usd=row["lost_nano_usd"],
        released_nano_usd=row["released_nano_usd"],
    )


def counter_name(budget_id: str, period_id: int) -> str:
    """The name of the counter of a budget's period."""
    return f"{budget_id}:{period_id}"


def period_id_of(name: str) -> int:
    """The period that the counter called `name` is for."""
    return int(name.rpartition(":")[2])


def calendar_of(budget: asyncpg.Record, at: datetime) -> tuple[datetime, datetime | None]:
    """The period that the calendar of a row of `cost_budgets` gives for `at`: its start, and its end or None."""
    return current_period(
        budget["period"], budget["reset_day"], zone_called(budget["time_zone"]), at, budget["created_at"]
    )


def microseconds(moment: datetime) -> int:
    """Unix microseconds, exactly."""
    return (moment - _EPOCH) // _MICROSECOND


def moment(at_us: int) -> datetime:
    """The time of Unix microseconds, UTC."""
    return _EPOCH + at_us * _MICROSECOND
