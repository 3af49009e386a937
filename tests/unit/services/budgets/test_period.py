"""Periods by the calendar: they follow on each other without gap or overlap, and begin when the local day does."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.services.budgets.period import PeriodKind, current_period, known_zones, zone_called

CREATED = datetime(2026, 3, 5, 12, tzinfo=UTC)
# Their clocks change, or changed, at midnight; St. John's changed at one minute past, Apia skipped a whole day,
# Toronto once skipped from 23:30 to 00:30, Lord Howe changes by half an hour.
ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/Sao_Paulo",
    "Africa/Cairo",
    "Asia/Beirut",
    "America/Havana",
    "America/St_Johns",
    "Pacific/Apia",
    "America/Toronto",
    "Australia/Lord_Howe",
    "America/New_York",
    "Asia/Kathmandu",
]
zones = st.one_of(st.sampled_from(ZONES), st.sampled_from(sorted(known_zones())))
moments = st.datetimes(datetime(1919, 1, 1), datetime(2120, 1, 1), timezones=st.just(UTC))
calendars = st.tuples(st.sampled_from(["day", "week", "month"]), st.integers(1, 31))


def bounds(
    period: PeriodKind, zone: str, now: datetime, reset_day: int = 1, created: datetime = CREATED
) -> tuple[datetime, datetime]:
    start, end = current_period(period, reset_day, ZoneInfo(zone), now, created)
    assert end is not None
    return start, end


@given(calendars, zones, moments)
@example(("day", 1), "America/St_Johns", datetime(2008, 11, 2, 2, 45, tzinfo=UTC))
@example(("day", 1), "America/Toronto", datetime(1919, 3, 31, 4, 40, tzinfo=UTC))
@example(("day", 1), "Pacific/Apia", datetime(2011, 12, 30, 9, 59, tzinfo=UTC))
def test_a_period_holds_the_moment_that_it_is_asked_for(
    calendar: tuple[PeriodKind, int], zone: str, now: datetime
) -> None:
    start, end = bounds(calendar[0], zone, now, calendar[1])
    assert start <= now < end


@given(calendars, zones, moments)
@example(("day", 1), "America/St_Johns", datetime(2008, 11, 2, 2, 45, tzinfo=UTC))
@example(("day", 1), "Pacific/Apia", datetime(2011, 12, 30, 9, 59, tzinfo=UTC))
def test_periods_follow_on_each_other_without_gap_or_overlap(
    calendar: tuple[PeriodKind, int], zone: str, now: datetime
) -> None:
    period, reset_day = calendar
    start, end = bounds(period, zone, now, reset_day)
    tick = timedelta(microseconds=1)
    for inside in (start, start + (end - start) / 2, end - tick):
        assert bounds(period, zone, inside, reset_day) == (start, end)
    assert bounds(period, zone, end, reset_day)[0] == end
    assert bounds(period, zone, start - tick, reset_day)[1] == start


@given(calendars, zones, moments)
def test_a_period_begins_at_local_midnight_or_at_the_change_of_clocks_that_skips_it(
    calendar: tuple[PeriodKind, int], zone: str, now: datetime
) -> None:
    start, _ = bounds(calendar[0], zone, now, calendar[1])
    local = start.astimezone(ZoneInfo(zone))
    before = (start - timedelta(hours=25)).astimezone(ZoneInfo(zone)).utcoffset()
    assert before is not None
    midnight_by_the_clock_before = (start + before).time() == datetime.min.time()
    assert local.time() == datetime.min.time() or midnight_by_the_clock_before


@given(st.integers(1, 31), zones, moments)
def test_a_month_begins_on_its_reset_day_or_on_its_last_day(reset_day: int, zone: str, now: datetime) -> None:
    start, _ = bounds("month", zone, now, reset_day)
    local = (start + timedelta(hours=2)).astimezone(ZoneInfo(zone)).date()
    last_of_month = (local.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
    assert local.day == min(reset_day, last_of_month.day) or zone == "Pacific/Apia"


@pytest.mark.parametrize(
    ("now", "hours"),
    [
        (datetime(2026, 3, 29, 12, tzinfo=UTC), 23),
        (datetime(2026, 10, 25, 12, tzinfo=UTC), 25),
        (datetime(2026, 6, 1, 12, tzinfo=UTC), 24),
    ],
)
def test_a_day_is_as_long_as_the_clocks_make_it(now: datetime, hours: int) -> None:
    start, end = bounds("day", "Europe/Berlin", now)
    assert end - start == timedelta(hours=hours)


@pytest.mark.parametrize(
    ("zone", "day", "starts"),
    [
        # Midnight is skipped: the day begins at one o'clock, which is when midnight would have been.
        ("America/Sao_Paulo", date(2018, 11, 4), "2018-11-04T01:00:00-02:00"),
        ("Africa/Cairo", date(2026, 4, 24), "2026-04-24T01:00:00+03:00"),
        ("Asia/Beirut", date(2026, 3, 29), "2026-03-29T01:00:00+03:00"),
        # The clocks go back at midnight: the day before is an hour longer.
        ("America/Sao_Paulo", date(2019, 2, 17), "2019-02-17T00:00:00-03:00"),
        ("Africa/Cairo", date(2026, 10, 30), "2026-10-30T00:00:00+02:00"),
        # Midnight strikes twice, for the clocks go back at one: the day begins with the first.
        ("America/Havana", date(2026, 11, 1), "2026-11-01T00:00:00-04:00"),
    ],
)
def test_a_day_begins_once_where_the_clocks_change_at_midnight(zone: str, day: date, starts: str) -> None:
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=ZoneInfo(zone))
    assert bounds("day", zone, noon)[0] == datetime.fromisoformat(starts)


def test_a_week_begins_on_monday() -> None:
    start, end = bounds("week", "Asia/Tokyo", datetime(2026, 11, 22, 14, 59, tzinfo=UTC))
    assert start == datetime.fromisoformat("2026-11-16T00:00+09:00")
    assert end == datetime.fromisoformat("2026-11-23T00:00+09:00")


def test_the_31st_becomes_the_last_day_of_a_short_month() -> None:
    starts = []
    now = datetime(2028, 1, 31, tzinfo=UTC)
    for _ in range(5):
        start, now = bounds("month", "UTC", now, 31)
        starts.append(start.date().isoformat())
    assert starts == ["2028-01-31", "2028-02-29", "2028-03-31", "2028-04-30", "2028-05-31"]


def test_a_total_begins_when_it_was_made_and_never_ends() -> None:
    assert current_period("total", 1, ZoneInfo("UTC"), CREATED + timedelta(days=900), CREATED) == (CREATED, None)


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../../etc/passwd", "Europe", "a\0b"])
def test_a_zone_that_is_not_there_is_taken_for_utc(name: str) -> None:
    assert name not in known_zones()
    assert zone_called(name) == ZoneInfo("UTC")
