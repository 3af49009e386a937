"""What was used and spent, from the roll-ups; and the attempts of one request."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from gateway.store.postgres import Postgres
from gateway.store.sql import load

GroupBy = Literal["key", "team", "user", "model", "provider", "agent", "query_type", "tag"]
Interval = Literal["hour", "day", "month", "total"]

# What a group's rows are by: the column, its type, and what a row calls it.
GROUPS: Final[Mapping[GroupBy, tuple[str, str, str]]] = {
    "key": ("key_id", "uuid", "key_id"),
    "team": ("team_id", "uuid", "team_id"),
    "user": ("user_id", "uuid", "user_id"),
    "model": ("model_name", "text", "model"),
    "provider": ("provider_name", "text", "provider"),
    "agent": ("agent_id", "uuid", "agent_id"),
    "query_type": ("query_type", "text", "query_type"),
    "tag": ("tag", "text", "tag"),
}
_BUCKETS: Final[Mapping[Interval, str]] = {
    "hour": "starts_at",
    "day": "starts_at",
    "month": "date_trunc('month', starts_at, 'UTC')",
    "total": "$1::timestamptz",
}
COLUMNS: Final[Mapping[str, str]] = {name: column for column, _, name in GROUPS.values()}
_TAGGED: Final = frozenset({"team_id", "tag"})
_TIMEOUT_S: Final = 30.0
_MOST: Final = 2**63 - 1
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last row of a page: the next one begins behind it."""

    starts_at: datetime
    value: str | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to add up. `filters` are by the names in `COLUMNS`: a UUID for ids, else text.

    `since` counts in, `until` does not; both are moved outwards, to the hour for the interval `hour`, to the (UTC) day
    for all others.
    """

    since: datetime
    until: datetime
    interval: Interval = "day"
    group_by: GroupBy | None = None
    filters: Mapping[str, uuid.UUID | str] = field(default_factory=dict)

    @property
    def span(self) -> tuple[datetime, datetime]:
        """From when to when rows are added up."""
        unit = timedelta(hours=1) if self.interval == "hour" else _DAY
        return _floor(self.since, unit), _floor(self.until + unit - timedelta(microseconds=1), unit)

    @property
    def by_tag(self) -> bool:
        """Are the sums by tag asked, which know teams and nothing else?"""
        return self.group_by == "tag" or "tag" in self.filters

    @property
    def contradiction(self) -> str | None:
        """The field that sums by tag know nothing of, or None."""
        if not self.by_tag:
            return None
        if self.group_by not in (None, "tag", "team"):
            return "group_by"
        return next((name for name in self.filters if name not in _TAGGED), None)


class Reports:
    """Reads. What is still in a worker's journal is not counted yet (`journal_lag_rows`)."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._sql = load("gateway.services.ledger", "reports.sql")

    async def page(
        self, wanted: Wanted, *, after: Cursor | None = None, limit: int = 100
    ) -> tuple[list[dict[str, Any]], bool]:
        """Sums by interval and group, oldest first, and whether there are more.

        Each has `starts_at`, `value` (what it is by, None also for what has none), the sums of `usage_hourly` and, by
        key, team or user, that one's `name`, None where it has none. Raises GatewayError
        `store_unavailable`. Needs a `wanted` without contradiction.
        """
        statement, arguments = self._statement(wanted, after, limit)
        rows = await self._postgres.fetch(statement, *arguments, timeout_s=_TIMEOUT_S)
        return [_sums(dict(row)) for row in rows[:limit]], len(rows) > limit

    def _statement(self, wanted: Wanted, after: Cursor | None, limit: int) -> tuple[str, list[object]]:
        column, kind, _ = ("NULL::text", "text", "") if wanted.group_by is None else GROUPS[wanted.group_by]
        bucket = _BUCKETS[wanted.interval]
        since, until = wanted.span
        arguments: list[object] = [since, until]
        filters = ""
        for name, value in wanted.filters.items():
            arguments.append(value)
            filters += f" AND {COLUMNS[name]} = ${len(arguments)}"
        beyond = ""
        if after is not None:
            arguments.append(after.starts_at)
            at = f"${len(arguments)}::timestamptz"
            beyond = f"AND ({bucket} > {at}"
            if wanted.interval != "total":
                filters += f" AND starts_at >= {at}"
            if wanted.group_by is not None and after.value is not None:
                arguments.append(after.value)
                # Null, which stands for none, is last.
                beyond += f" OR {bucket} = {at} AND ({column} > ${len(arguments)}::text::{kind} OR {column} IS NULL)"
            beyond += ")"
        table = ("usage_hourly" if wanted.interval == "hour" else "usage_daily") + ("_tags" if wanted.by_tag else "")
        statement = self._sql["page"].format(
            bucket=bucket, value=column, table=table, filters=filters, beyond=beyond, limit=limit + 1
        )
        if (names := self._sql.get(f"names_of_{wanted.group_by}")) is not None:
            statement = self._sql["named"].format(page=statement.rstrip(";"), names=names)
        return statement, arguments

    async def request(self, request_id: uuid.UUID) -> list[dict[str, Any]]:
        """All attempts of a request, in order; empty where there is none (yet). Raises `store_unavailable`."""
        rows = await self._postgres.fetch(self._sql["request"], request_id, timeout_s=_TIMEOUT_S)
        return [dict(row) for row in rows]


def _sums(row: dict[str, Any]) -> dict[str, Any]:
    value = row.pop("value")
    starts_at = row.pop("starts_at")
    named = {"name": row.pop("name")} if "name" in row else {}
    sums = {name: min(int(total), _MOST) for name, total in row.items()}
    return {"starts_at": starts_at, "value": None if value is None else str(value), **named, **sums}


def _floor(moment: datetime, unit: timedelta) -> datetime:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return epoch + (moment - epoch) // unit * unit
