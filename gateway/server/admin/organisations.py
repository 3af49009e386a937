"""`/admin/organisations`: make, list, read, change and delete organisations."""

from __future__ import annotations

from gateway.server.admin.answers import Payload, given_changes, page, path_id, shown
from gateway.server.admin.fields import Body, Name, Page
from gateway.server.admin.request import AdminRequest, Route, read_body, read_fields
from gateway.services.tenants.organisations import Organisations


class NewOrganisation(Body):
    """`POST /admin/organisations`."""

    name: Name


class OrganisationChanges(Body):
    """`PATCH /admin/organisations/{id}`: what is left away stays."""

    name: Name = ""
    disabled: bool = False


class OrganisationPage(Page):
    """The query of `GET /admin/organisations`."""

    name: Name | None = None
    include_deleted: bool = False


class OrganisationHandlers:
    """The handlers of `/admin/organisations`."""

    def __init__(self, organisations: Organisations) -> None:
        self._organisations = organisations

    def routes(self) -> list[Route]:
        """(method, path pattern, handler) of each."""
        return [
            ("POST", "/admin/organisations", self.create),
            ("GET", "/admin/organisations", self.page),
            ("GET", "/admin/organisations/{id}", self.get),
            ("PATCH", "/admin/organisations/{id}", self.update),
            ("DELETE", "/admin/organisations/{id}", self.delete),
        ]

    async def create(self, request: AdminRequest) -> Payload:
        """201 with the organisation's record."""
        body = read_body(NewOrganisation, request.body)
        return 201, shown("organisation", await self._organisations.create(body.name, request.actor))

    async def page(self, request: AdminRequest) -> Payload:
        """A page, newest first."""
        query = read_fields(OrganisationPage, request.query)
        records, more = await self._organisations.page(
            after=query.after, limit=query.limit, name=query.name, with_deleted=query.include_deleted
        )
        return 200, page([shown("organisation", record) for record in records], more=more)

    async def get(self, request: AdminRequest) -> Payload:
        """One organisation's record."""
        return 200, shown("organisation", await self._organisations.get(path_id(request, "organisation")))

    async def update(self, request: AdminRequest) -> Payload:
        """The changed record."""
        found = path_id(request, "organisation")
        changes = given_changes(read_body(OrganisationChanges, request.body))
        return 200, shown("organisation", await self._organisations.update(found, changes, request.actor))

    async def delete(self, request: AdminRequest) -> Payload:
        """The record, with `deleted: true`."""
        record = await self._organisations.delete(path_id(request, "organisation"), request.actor)
        return 200, {**shown("organisation", record), "deleted": True}
