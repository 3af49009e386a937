"""`/admin/teams`: make, list, read, change and delete teams, and say who is a member."""

from __future__ import annotations

import uuid
from typing import Annotated

from pydantic import Field

from gateway.server.admin.answers import Payload, given_changes, page, path_id, shown
from gateway.server.admin.fields import Body, Id, Name, Page
from gateway.server.admin.request import AdminRequest, Route, read_body, read_fields
from gateway.services.tenants.teams import Teams

_Weight = Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]


class NewTeam(Body):
    """`POST /admin/teams`."""

    name: Name
    organisation_id: Id | None = None
    weight: _Weight = 1.0


class TeamChanges(Body):
    """`PATCH /admin/teams/{id}`: what is left away stays; a null organisation is none."""

    name: Name = ""
    organisation_id: Id | None = None
    weight: _Weight = 1.0
    disabled: bool = False


class NewMember(Body):
    """`POST /admin/teams/{id}/members`."""

    user_id: Id


class TeamPage(Page):
    """The query of `GET /admin/teams`."""

    name: Name | None = None
    organisation_id: uuid.UUID | None = None
    include_deleted: bool = False


class TeamHandlers:
    """The handlers of `/admin/teams`. A team's admin reads its own team, and says who is a member of it."""

    def __init__(self, teams: Teams) -> None:
        self._teams = teams

    def routes(self) -> list[Route]:
        """(method, path pattern, handler) of each."""
        return [
            ("POST", "/admin/teams", self.create),
            ("GET", "/admin/teams", self.page),
            ("GET", "/admin/teams/{id}", self.get),
            ("PATCH", "/admin/teams/{id}", self.update),
            ("DELETE", "/admin/teams/{id}", self.delete),
            ("POST", "/admin/teams/{id}/members", self.add_member),
            ("GET", "/admin/teams/{id}/members", self.members),
            ("DELETE", "/admin/teams/{id}/members/{user_id}", self.remove_member),
        ]

    async def create(self, request: AdminRequest) -> Payload:
        """201 with the team's record."""
        body = read_body(NewTeam, request.body)
        record = await self._teams.create(
            body.name, request.actor, organisation_id=body.organisation_id, weight=body.weight
        )
        return 201, shown("team", record)

    async def page(self, request: AdminRequest) -> Payload:
        """A page, newest first."""
        query = read_fields(TeamPage, request.query)
        records, more = await self._teams.page(
            after=query.after,
            limit=query.limit,
            name=query.name,
            organisation_id=query.organisation_id,
            with_deleted=query.include_deleted,
            within=request.only_team,
        )
        return 200, page([shown("team", record) for record in records], more=more)

    async def get(self, request: AdminRequest) -> Payload:
        """One team's record."""
        return 200, shown("team", await self._teams.get(_own_team(request)))

    async def update(self, request: AdminRequest) -> Payload:
        """The changed record."""
        found = _own_team(request)
        changes = given_changes(read_body(TeamChanges, request.body))
        return 200, shown("team", await self._teams.update(found, changes, request.actor))

    async def delete(self, request: AdminRequest) -> Payload:
        """The record, with `deleted: true`."""
        record = await self._teams.delete(_own_team(request), request.actor)
        return 200, {**shown("team", record), "deleted": True}

    async def members(self, request: AdminRequest) -> Payload:
        """A page of the team's members."""
        query = read_fields(Page, request.query)
        records, more = await self._teams.members(_own_team(request), after=query.after, limit=query.limit)
        return 200, page([shown("team.member", record) for record in records], more=more)

    async def add_member(self, request: AdminRequest) -> Payload:
        """201 with the member's record."""
        found = _own_team(request)
        body = read_body(NewMember, request.body)
        return 201, shown("team.member", await self._teams.add_member(found, body.user_id, request.actor))

    async def remove_member(self, request: AdminRequest) -> Payload:
        """The record as it was, with `deleted: true`."""
        found, user_id = _own_team(request), path_id(request, "user", "user_id")
        record = await self._teams.remove_member(found, user_id, request.actor)
        return 200, {**shown("team.member", record), "deleted": True}


def _own_team(request: AdminRequest) -> uuid.UUID:
    found = path_id(request, "team")
    request.must_own(found)
    return found
