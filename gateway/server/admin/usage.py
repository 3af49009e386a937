"""`/admin/usage`, its export, and `/admin/requests/{id}`: what was used and what it cost."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import Field, StringConstraints

from gateway.errors import GatewayError
from gateway.server.admin.answers import Payload, page
from gateway.server.admin.fields import Moment, Name, Query
from gateway.server.admin.request import AdminRequest, Download, Route, read_fields
from gateway.services.ledger.export import Exports, Format
from gateway.services.ledger.reports import GROUPS, Cursor, GroupBy, Interval, Reports, Wanted
from gateway.wire.shown import shown_time, usd

_USUAL: Final = {
    "hour": timedelta(days=1),
    "day": timedelta(days=30),
    "month": timedelta(days=365),
    "total": timedelta(days=30),
}
_FILTERS: Final = ("key_id", "team_id", "user_id", "model", "provider", "agent_id", "query_type", "tag")
_TYPES: Final = {"csv": "text/csv; charset=utf-8", "ndjson": "application/x-ndjson"}

_After = Annotated[str, StringConstraints(pattern=r"^\d{1,11}(:[^\x00-\x1f\x7f]{0,500})?$")]


class _Filters(Query):
    """Which rows; None is any. `from` counts in, `to` does not."""

    since: Annotated[Moment | None, Field(alias="from")] = None
    until: Annotated[Moment | None, Field(alias="to")] = None
    key_id: uuid.UUID | None = None
    team_id: uuid.UUID | None = None
    user_id: uuid.UUID | None = None
    model: Name | None = None
    provider: Name | None = None
    agent_id: uuid.UUID | None = None
    query_type: Name | None = None
    tag: Name | None = None

    def named(self, request: AdminRequest) -> dict[str, uuid.UUID | str]:
        """Those that are given, and a team's admin's own team. Raises not_found for another's."""
        given = {name: value for name in _FILTERS if (value := getattr(self, name)) is not None}
        if request.only_team is not None:
            request.must_own(given.setdefault("team_id", request.only_team))
        return given

    def span(self, usual: timedelta) -> tuple[datetime, datetime]:
        """From when to when; up to now, for the `usual` time, where the query does not say. Raises invalid_field."""
        until = self.until or datetime.now(UTC)
        since = self.since or until - usual
        if since >= until:
            raise GatewayError("invalid_field", "`from` is not before `to`.", param="from")
        return since, until


class UsageQuery(_Filters):
    """The query of `GET /admin/usage`; `after` is the last id of the page before."""

    group_by: GroupBy | None = None
    interval: Interval = "day"
    after: _After | None = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 100


class ExportQuery(_Filters):
    """The query of `GET /admin/usage/export`."""

    format: Literal["csv", "ndjson"] = "csv"


class UsagePages:
    """The handlers. A team's admin sees its team's usage."""

    def __init__(self, reports: Reports, exports: Exports) -> None:
        self._reports = reports
        self._exports = exports

    def routes(self) -> list[Route]:
        """(method, path pattern, handler) of each."""
        return [
            ("GET", "/admin/usage", self.page),
            ("GET", "/admin/usage/export", self.export),
            ("GET", "/admin/requests/{id}", self.show_request),
        ]

    async def page(self, request: AdminRequest) -> Payload:
        """Sums by interval and group, oldest first; `from` and `to` say what was added up."""
        query = read_fields(UsageQuery, request.query)
        since, until = query.span(_USUAL[query.interval])
        wanted = Wanted(since, until, query.interval, query.group_by, query.named(request))
        if (name := wanted.contradiction) is not None:
            raise GatewayError("invalid_field", f"`{name}`: sums by tag are kept by team only.", param=name)
        rows, more = await self._reports.page(wanted, after=_cursor(query), limit=query.limit)
        since, until = wanted.span
        shown = page([_shown(row, query.group_by) for row in rows], more=more)
        return 200, {**shown, "from": shown_time(since), "to": shown_time(until)}

    async def export(self, request: AdminRequest) -> tuple[int, Download]:
        """The rows themselves, as CSV or NDJSON, of the last thirty days unless the query says otherwise."""
        query = read_fields(ExportQuery, request.query)
        since, until = query.span(_USUAL["day"])
        filters = query.named(request)
        form: Format = query.format

        return 200, Download(
            _TYPES[form],
            f"usage-{since:%Y%m%d}-{until:%Y%m%d}.{form}",
            lambda write: self._exports.run(form, since, until, filters, write),
        )

    async def show_request(self, request: AdminRequest) -> Payload:
        """All attempts of one request, and what they cost together."""
        rows = await self._reports.request(_request_id(request))
        if not rows:
            raise GatewayError("not_found", "The ledger has no request with this id (yet).")
        request.must_own(rows[0]["team_id"])
        cost = 0
        for row in rows:
            row["timestamp"] = shown_time(row["timestamp"])
            row["cost_usd"] = usd(row["cost_nano_usd"])
            cost += row["cost_nano_usd"]
        return 200, {"object": "request", "id": rows[0]["request_id"], "cost_usd": usd(cost), "attempts": rows}


def _request_id(request: AdminRequest) -> uuid.UUID:
    try:
        return uuid.UUID(request.path["id"])
    except ValueError:
        raise GatewayError("not_found", "A request's id is a UUID, as in the answer's `x-request-id`.") from None


def _shown(row: dict[str, Any], group_by: GroupBy | None) -> dict[str, Any]:
    starts_at, value = row.pop("starts_at"), row.pop("value")
    row_id = f"{int(starts_at.timestamp())}" if value is None else f"{int(starts_at.timestamp())}:{value}"
    named = {} if group_by is None else {GROUPS[group_by][2]: value}
    if "name" in row:
        named[f"{group_by}_name"] = row.pop("name")
    return {
        "object": "usage",
        "id": row_id,
        "starts_at": shown_time(starts_at),
        **named,
        **row,
        "cost_usd": usd(row["cost_nano_usd"]),
    }


def _cursor(query: UsageQuery) -> Cursor | None:
    """Raises invalid_field for an id that no row of such a page has."""
    if query.after is None:
        return None
    seconds, colon, value = query.after.partition(":")
    try:
        if colon and query.group_by is not None and GROUPS[query.group_by][1] == "uuid":
            value = str(uuid.UUID(value))
        return Cursor(datetime.fromtimestamp(int(seconds), UTC), value if colon else None)
    except ValueError:
        raise GatewayError("invalid_field", "`after` is not an id of such a page.", param="after") from None
