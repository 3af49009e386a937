"""`/admin/limits`: set, list, read, change and delete limits."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterable
from typing import Any

from gateway.server.admin.answers import Payload, given_changes, page, path_id, shown
from gateway.server.admin.governance_bodies import LimitChanges, LimitPage, NewLimit
from gateway.server.admin.request import AdminRequest, Route, read_body, read_fields
from gateway.services.limits.limit import Limit
from gateway.services.limits.register import LimitFilter, LimitRecord, LimitRegister

_log = logging.getLogger("gateway.admin")


class LimitHandlers:
    """The handlers of `/admin/limits`. `declared` gives the limits of the configuration, which are only listed."""

    def __init__(self, register: LimitRegister, declared: Callable[[], Iterable[Limit]] = tuple) -> None:
        self._register = register
        self._declared = declared

    def routes(self) -> list[Route]:
        """(method, path pattern, handler) of each."""
        return [
            ("POST", "/admin/limits", self.put),
            ("GET", "/admin/limits", self.page),
            ("GET", "/admin/limits/{id}", self.get),
            ("PATCH", "/admin/limits/{id}", self.change),
            ("DELETE", "/admin/limits/{id}", self.delete),
        ]

    async def put(self, request: AdminRequest) -> Payload:
        """201 with the record, or 200 where it took the place of the limit that was set there."""
        body = read_body(NewLimit, request.body)
        place = (body.scope, body.subject, body.model)
        fields = body.given("scope", "subject", "model")
        record, is_new = await self._register.put(place, fields, request.actor, within=request.only_team)
        _note(request, "created" if is_new else "changed", record)
        return 201 if is_new else 200, shown("limit", record)

    async def page(self, request: AdminRequest) -> Payload:
        """A page, newest first; `declared` has the limits that the configuration declares, all of them."""
        query = read_fields(LimitPage, request.query)
        wanted = LimitFilter(query.scope, query.subject, query.model, request.only_team)
        records, more = await self._register.page(wanted, after=query.after, limit=query.limit)
        declared = [_shown_declared(limit) for limit in self._declared() if _is_wanted(limit, wanted)]
        return 200, {**page([shown("limit", record) for record in records], more=more), "declared": declared}

    async def get(self, request: AdminRequest) -> Payload:
        """One limit's record."""
        record = await self._register.get(path_id(request, "limit"))
        request.must_own(record.team_id)
        return 200, shown("limit", record)

    async def change(self, request: AdminRequest) -> Payload:
        """The changed record."""
        body = read_body(LimitChanges, request.body)
        given_changes(body)
        changes = body.given()
        limit_id = path_id(request, "limit")
        record = await self._register.change(limit_id, changes, request.actor, within=request.only_team)
        _note(request, "changed", record)
        return 200, shown("limit", record)

    async def delete(self, request: AdminRequest) -> Payload:
        """The record as it was, with `deleted: true`."""
        limit_id = path_id(request, "limit")
        record = await self._register.delete(limit_id, request.actor, within=request.only_team)
        _note(request, "deleted", record)
        return 200, {**shown("limit", record), "deleted": True}


def _shown_declared(limit: Limit) -> dict[str, Any]:
    return {"object": "limit", **dataclasses.asdict(limit), "set_by_owner": True, "managed_by": "config"}


def _is_wanted(limit: Limit, wanted: LimitFilter) -> bool:
    return (
        wanted.within is None
        and wanted.scope in (None, limit.scope)
        and wanted.subject in (None, limit.subject)
        and wanted.model in (None, limit.model)
    )


def _note(request: AdminRequest, what: str, record: LimitRecord) -> None:
    _log.info("limit %s (%s %s) %s by %s", record.id, record.scope, record.subject, what, request.actor.name)
