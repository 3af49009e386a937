"""Budget periods by the calendar of a time zone. Pure.

A day is from local midnight to local midnight, 23 or 25 hours long where the clocks change; a week begins on Monday, a
month on its reset day or, where it is too short for that, on its last day. Where the clocks skip midnight, the day
begins when it would have struck by the clock before the change; where midnight strikes twice, it begins the first time.
"""

from __future__ import annotations

import calendar
import functools
import zoneinfo
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from typing import Literal, get_args

PeriodKind = Literal["day", "week", "month", "total"]
PERIODS: tuple[PeriodKind, ...] = get_args(PeriodKind)

_MONDAY = date(1970, 1, 5).toordinal()  # any Monday
_WEEK_DAYS = 7
_MONTHS = 12

DateOf = Callable[[int], date]


def current_period(
    period: PeriodKind, reset_day: int, zone: zoneinfo.ZoneInfo, now: datetime, created: datetime
) -> tuple[datetime, datetime | None]:
    """The start and the end (exclusive), UTC, of the period that `now` is in.

    `reset_day` (1 to 31) counts for months alone. A total began when it was `created` and has no end. `now` and
    `created` have a time zone, whichever.
    """
    if period == "total":
        return created.astimezone(UTC), None
    first_day, number = _numbered(period, reset_day, now.astimezone(zone).date())

    def begins(count: int) -> datetime:
        return datetime.combine(first_day(count), time.min, zone).astimezone(UTC)

    # The date alone may be off by one where midnight is skipped or strikes twice.
    while begins(number) > now:
        number -= 1
    while (end := begins(number + 1)) <= now:
        number += 1
    return begins(number), end


def _numbered(period: PeriodKind, reset_day: int, today: date) -> tuple[DateOf, int]:
    """How to tell the first day of a period by its number, and the number of about the one that `today` is in."""
    if period == "day":
        return date.fromordinal, today.toordinal()
    if period == "week":

        def monday(number: int) -> date:
            return date.fromordinal(_MONDAY + number * _WEEK_DAYS)

        return monday, (today.toordinal() - _MONDAY) // _WEEK_DAYS

    def day_of_month(number: int) -> date:
        year, month = divmod(number, _MONTHS)
        return date(year, month + 1, min(reset_day, calendar.monthrange(year, month + 1)[1]))

    return day_of_month, today.year * _MONTHS + today.month - 1


@functools.cache
def known_zones() -> frozenset[str]:
    """The names of all time zones. Reads files the first time."""
    return frozenset(zoneinfo.available_timezones())


def zone_called(name: str) -> zoneinfo.ZoneInfo:
    """The time zone `name`; UTC for one that this machine does not know, for a budget must not fall away with it."""
    try:
        return zoneinfo.ZoneInfo(name)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        return zoneinfo.ZoneInfo("UTC")
