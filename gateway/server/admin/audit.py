"""`/admin/audit`: who changed what."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from gateway.server.admin.answers import Payload, page, shown
from gateway.server.admin.fields import Moment, Name, Query
from gateway.server.admin.request import AdminRequest, Route, read_fields
from gateway.services.audit.service import AuditFilter, AuditLog

_MOST_BIGINT = 2**63 - 1


class AuditPage(Query):
    """The query of `GET /admin/audit`; `from` counts in, `to` does not; `after` is the last id of the page before."""

    after: Annotated[int, Field(ge=0, le=_MOST_BIGINT)] | None = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    object_type: Name | None = None
    object_id: Name | None = None
    actor: Name | None = None
    since: Annotated[Moment | None, Field(alias="from")] = None
    until: Annotated[Moment | None, Field(alias="to")] = None


class AuditPages:
    """The handler of `/admin/audit`. A team's admin sees what was changed of its team's."""

    def __init__(self, log: AuditLog) -> None:
        self._log = log

    def routes(self) -> list[Route]:
        """(method, path pattern, handler)."""
        return [("GET", "/admin/audit", self.page)]

    async def page(self, request: AdminRequest) -> Payload:
        """A page, newest first."""
        query = read_fields(AuditPage, request.query)
        wanted = AuditFilter(
            object_type=query.object_type,
            object_id=query.object_id,
            actor=query.actor,
            since=query.since,
            until=query.until,
            team_id=request.only_team,
        )
        records, more = await self._log.page(wanted, after=query.after, limit=query.limit)
        return 200, page([shown("audit.entry", record) for record in records], more=more)
