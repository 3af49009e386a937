"""One alert, in words and figures. Pure."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from gateway.wire.shown import NANO_PER_USD, shown_time, usd

if TYPE_CHECKING:
    from asyncpg import Record

AlertKind = Literal["threshold", "burn_rate", "exceeded", "journal_unwritable"]


@dataclass(frozen=True, slots=True)
class Alert:
    """What was raised, with its budget and its period.

    `threshold_percent` is 0 for kinds that have none. `limit_nano_usd` is the period's allowance when it was raised,
    top-ups included, `spent_nano_usd` what the ledger had then. `counted_from` is when spending could begin: the
    period's start, or the budget's where that is later. `end_user` is "" but in budgets of end users; `ends_at` None
    for a total. What is about no budget has the scope `gateway`, the place in it as `subject`, and a `reason`.
    """

    id: str
    kind: AlertKind
    threshold_percent: int
    spent_nano_usd: int
    limit_nano_usd: int
    raised_at: datetime
    period_id: int | None
    budget_id: str | None
    budget_name: str | None
    scope: str
    subject: str
    model: str | None
    hard: bool | None
    end_user: str
    starts_at: datetime | None
    ends_at: datetime | None
    counted_from: datetime
    reason: str | None = None

    @property
    def used_up_at(self) -> datetime | None:
        """When the allowance is used up at the rate since `counted_from`; None for kinds other than burn_rate."""
        if self.kind != "burn_rate":
            return None
        return self.counted_from + (self.raised_at - self.counted_from) * (self.limit_nano_usd / self.spent_nano_usd)


_COLUMNS = tuple(field.name for field in fields(Alert))


def alert_of(row: Record) -> Alert:
    """The alert in a row of `raise`, `claim` or `page`."""
    return Alert(**{name: row[name] for name in _COLUMNS})


def facts_of(alert: Alert) -> dict[str, Any]:
    """What is told of it, as JSON."""
    return {
        "id": alert.id,
        "text": text_of(alert),
        "budget_id": alert.budget_id,
        "budget_name": alert.budget_name,
        "scope": alert.scope,
        "subject": alert.subject,
        "model": alert.model,
        "end_user": alert.end_user or None,
        "threshold_percent": alert.threshold_percent or None,
        "spent_usd": None if alert.budget_id is None else usd(alert.spent_nano_usd),
        "limit_usd": None if alert.budget_id is None else usd(alert.limit_nano_usd),
        "used_up_at": None if alert.used_up_at is None else shown_time(alert.used_up_at),
        "starts_at": None if alert.starts_at is None else shown_time(alert.starts_at),
        "ends_at": None if alert.ends_at is None else shown_time(alert.ends_at),
    }


def text_of(alert: Alert) -> str:
    """One line for people."""
    if alert.kind == "journal_unwritable":
        return (
            f"The usage journal cannot be written at {alert.subject} ({alert.reason}): what needs a new journal file "
            "is refused with 503 until it can."
        )
    spent, limit = _dollars(alert.spent_nano_usd), _dollars(alert.limit_nano_usd)
    what = {
        "threshold": f"{alert.threshold_percent} % reached: {spent} of {limit} spent",
        "burn_rate": f"{spent} of {limit} spent; at this rate all of it by {_minute(alert.used_up_at)}",
        "exceeded": f"a provider billed more than was reserved; {spent} of {limit} spent",
    }[alert.kind]
    end = "" if alert.ends_at is None else f"; the period ends {_minute(alert.ends_at)}"
    return f"Budget '{alert.budget_name}' ({_whose(alert)}): {what}{end}."


def _whose(alert: Alert) -> str:
    parts = [f"{alert.scope} {alert.subject}".rstrip()]
    if alert.model is not None:
        parts.append(f"model {alert.model}")
    if alert.end_user:
        parts.append(f"user {alert.end_user}")
    return ", ".join(parts)


def _dollars(nano_usd: int) -> str:
    """Whole cents where that is exact, else all the digits that count."""
    whole, rest = divmod(nano_usd, NANO_PER_USD)
    return f"${whole:,}.{f'{rest:09d}'.rstrip('0'):0<2}"


def _minute(moment: datetime | None) -> str:
    return "" if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
