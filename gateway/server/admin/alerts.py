"""`/admin/alerts`: the alerts that budgets, and the gateway of itself, gave."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from gateway.server.admin.answers import Payload, page, shown
from gateway.server.admin.fields import Id, Moment, Page
from gateway.server.admin.request import AdminRequest, Route, read_fields
from gateway.services.alerts.alert import Alert, AlertKind, facts_of
from gateway.services.alerts.history import AlertFilter, AlertLog, Delivery
from gateway.wire.shown import shown_time


class AlertPage(Page):
    """The query of `GET /admin/alerts`; `from` counts in, `to` does not."""

    budget: Id | None = None
    kind: AlertKind | None = None
    since: Annotated[Moment | None, Field(alias="from")] = None
    until: Annotated[Moment | None, Field(alias="to")] = None


class AlertPages:
    """The handler of `/admin/alerts`. A team's admin sees the alerts of its team's budgets, without the webhooks."""

    def __init__(self, log: AlertLog) -> None:
        self._log = log

    def routes(self) -> list[Route]:
        """(method, path pattern, handler)."""
        return [("GET", "/admin/alerts", self.page)]

    async def page(self, request: AdminRequest) -> Payload:
        """A page, newest first."""
        query = read_fields(AlertPage, request.query)
        wanted = AlertFilter(
            budget_id=query.budget,
            kind=query.kind,
            since=query.since,
            until=query.until,
            team_id=request.only_team,
        )
        alerts, more = await self._log.page(wanted, after=query.after, limit=query.limit)
        data = [_shown_alert(alert) for alert in alerts]
        if request.only_team is None:
            deliveries = await self._log.deliveries([alert.id for alert in alerts])
            for fields in data:
                fields["deliveries"] = _shown_deliveries(deliveries.get(fields["id"], ()))
        return 200, page(data, more=more)


def _shown_alert(alert: Alert) -> dict[str, Any]:
    return {"object": "alert", "kind": alert.kind, "raised_at": shown_time(alert.raised_at), **facts_of(alert)}


def _shown_deliveries(deliveries: Sequence[Delivery]) -> list[dict[str, Any]]:
    return [{name: value for name, value in shown("", one).items() if name != "object"} for one in deliveries]
