"""`/admin/users`: make, list, read, change and delete users."""

from __future__ import annotations

import uuid
from typing import Annotated

from pydantic import AfterValidator, StringConstraints

from gateway.errors import GatewayError
from gateway.server.admin.answers import Payload, given_changes, page, path_id, shown
from gateway.server.admin.fields import Body, Name, Page, printable
from gateway.server.admin.request import AdminRequest, Route, read_body, read_fields
from gateway.services.tenants.users import Users

# RFC 5321, 4.5.3.1: 64 characters, `@`, 255 characters.
_Email = Annotated[
    str, StringConstraints(min_length=3, max_length=320, pattern=r"^[^@\s]+@[^@\s]+$"), AfterValidator(printable)
]


class NewUser(Body):
    """`POST /admin/users`: a name or an e-mail address, or both."""

    name: Name | None = None
    email: _Email | None = None


class UserChanges(Body):
    """`PATCH /admin/users/{id}`: what is left away stays."""

    name: Name = ""
    email: _Email | None = None
    disabled: bool = False


class UserPage(Page):
    """The query of `GET /admin/users`; `team_id` lists that team's members."""

    name: Name | None = None
    email: _Email | None = None
    team_id: uuid.UUID | None = None
    include_deleted: bool = False


class UserHandlers:
    """The handlers of `/admin/users`. A team's admin sees the members of its team."""

    def __init__(self, users: Users) -> None:
        self._users = users

    def routes(self) -> list[Route]:
        """(method, path pattern, handler) of each."""
        return [
            ("POST", "/admin/users", self.create),
            ("GET", "/admin/users", self.page),
            ("GET", "/admin/users/{id}", self.get),
            ("PATCH", "/admin/users/{id}", self.update),
            ("DELETE", "/admin/users/{id}", self.delete),
        ]

    async def create(self, request: AdminRequest) -> Payload:
        """201 with the user's record."""
        body = read_body(NewUser, request.body)
        if body.name is None and body.email is None:
            raise GatewayError("missing_field", "Give a `name` or an `email`.", param="name")
        return 201, shown("user", await self._users.create(body.name, body.email, request.actor))

    async def page(self, request: AdminRequest) -> Payload:
        """A page, by id."""
        query = read_fields(UserPage, request.query)
        if query.team_id is not None:
            request.must_own(query.team_id)
        records, more = await self._users.page(
            after=query.after,
            limit=query.limit,
            name=query.name,
            email=query.email,
            team_id=query.team_id or request.only_team,
            with_deleted=query.include_deleted,
        )
        return 200, page([shown("user", record) for record in records], more=more)

    async def get(self, request: AdminRequest) -> Payload:
        """One user's record."""
        record = await self._users.get(path_id(request, "user"))
        own = str(request.only_team)
        request.must_own(own if own in record.teams else None)
        return 200, shown("user", record)

    async def update(self, request: AdminRequest) -> Payload:
        """The changed record."""
        found = path_id(request, "user")
        changes = given_changes(read_body(UserChanges, request.body))
        return 200, shown("user", await self._users.update(found, changes, request.actor))

    async def delete(self, request: AdminRequest) -> Payload:
        """The record, with `deleted: true`."""
        record = await self._users.delete(path_id(request, "user"), request.actor)
        return 200, {**shown("user", record), "deleted": True}
