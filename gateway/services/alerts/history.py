"""`AlertLog`: the alerts that were raised, for whoever asks later."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

from gateway.services.alerts.alert import Alert, AlertKind, alert_of
from gateway.store.postgres import Postgres
from gateway.store.sql import load


@dataclass(frozen=True, slots=True)
class AlertFilter:
    """Which alerts; None is any. `since` counts in, `until` does not; `team_id`: of its budgets and its keys'."""

    budget_id: uuid.UUID | None = None
    kind: AlertKind | None = None
    since: datetime | None = None
    until: datetime | None = None
    team_id: uuid.UUID | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """How an alert fares with one webhook; `next_attempt_at` is None where there will be none."""

    webhook: str
    attempts: int
    next_attempt_at: datetime | None
    delivered_at: datetime | None
    last_error: str | None


class AlertLog:
    """The rows of `budget_alerts`, read."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._sql = load("gateway.services.alerts")

    async def page(
        self, wanted: AlertFilter, *, after: uuid.UUID | None = None, limit: int = 100
    ) -> tuple[list[Alert], bool]:
        """A page, newest first, older than the alert `after`; and whether there are more.

        Raises `GatewayError` `store_unavailable`.
        """
        rows = await self._postgres.fetch(
            self._sql["page"],
            *(after, wanted.budget_id, wanted.kind, wanted.since, wanted.until, wanted.team_id),
            limit + 1,
        )
        return [alert_of(row) for row in rows[:limit]], len(rows) > limit

    async def deliveries(self, alert_ids: list[str]) -> dict[str, list[Delivery]]:
        """By alert, those that have any. Raises `GatewayError` `store_unavailable`."""
        found: dict[str, list[Delivery]] = {}
        for row in await self._postgres.fetch(self._sql["deliveries"], alert_ids):
            found.setdefault(row["alert_id"], []).append(
                Delivery(**{name: value for name, value in row.items() if name != "alert_id"})
            )
        return found
