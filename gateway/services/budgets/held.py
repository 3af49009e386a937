"""The periods that a worker has in memory. Synchronous and pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gateway.services.budgets.budget import Period

_MOST_END_USERS = 10_000


class HeldPeriods:
    """Periods by budget and end user; of a budget's end users so many, those that came first go first."""

    def __init__(self) -> None:
        self._of: dict[str, dict[str, tuple[Period, ...]]] = {}

    def find(self, budget_id: str, now_us: int, end_user: str) -> Period | None:
        """The period in force: of those that hold `now_us`, the one that began last."""
        for period in self._of.get(budget_id, {}).get(end_user, ()):
            if period.holds(now_us):
                return period
        return None

    def add(self, period: Period) -> None:
        """One more; in the place of the one with the same id."""
        held = self._of.setdefault(period.budget_id, {})
        others = held.get(period.end_user, ())
        held[period.end_user] = _newest_first([period, *(one for one in others if one.id != period.id)])
        if len(held) > _MOST_END_USERS:
            del held[next(iter(held))]

    def replace(self, budget_id: str, found: Iterable[Period]) -> None:
        """All that a budget has: `found` is of everybody, and of those end users that are held."""
        by_user: dict[str, list[Period]] = {}
        for period in found:
            by_user.setdefault(period.end_user, []).append(period)
        self._of[budget_id] = {end_user: _newest_first(periods) for end_user, periods in by_user.items()}

    def forget(self, budget_id: str) -> None:
        """The budget is gone."""
        self._of.pop(budget_id, None)

    def end_users(self, budget_id: str) -> list[str]:
        """Whose periods of this budget are held."""
        return [end_user for end_user in self._of.get(budget_id, ()) if end_user]

    def ending(self, budget_ids: Iterable[str], before_us: int) -> Iterator[tuple[str, int]]:
        """Id and end (Unix microseconds) of each budget whose period ends before then, and that has no next one."""
        for budget_id in budget_ids:
            held = self._of.get(budget_id, {}).get("", ())
            end_us = held[0].ends_at_us if held else None
            if end_us is not None and end_us < before_us:
                yield budget_id, end_us

    def turns(self, budget_ids: Iterable[str]) -> Iterator[tuple[str, int]]:
        """Id and moment (Unix microseconds) of each beginning and end of a period of a budget without end users."""
        for budget_id in budget_ids:
            for period in self._of.get(budget_id, {}).get("", ()):
                yield budget_id, period.starts_at_us
                if period.ends_at_us is not None:
                    yield budget_id, period.ends_at_us


def _newest_first(periods: list[Period]) -> tuple[Period, ...]:
    return tuple(sorted(periods, key=lambda period: period.starts_at_us, reverse=True))
