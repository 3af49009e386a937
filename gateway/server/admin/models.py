"""`/admin/models`: make, list, read, change and delete models."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from gateway.errors import GatewayError
from gateway.server.admin.answers import Payload, path_id
from gateway.server.admin.catalogue_bodies import ModelChanges, NewModel
from gateway.server.admin.request import AdminRequest, Route, read_body
from gateway.services.catalogue.records import ModelRecord
from gateway.services.catalogue.register import CatalogueRegister
from gateway.services.routing.routes import Routing
from gateway.wire.shown import shown_time

_log = logging.getLogger("gateway.admin")


class ModelHandlers:
    """The handlers of `/admin/models`. `left_out` says why a model that was made is not in force."""

    def __init__(
        self, register: CatalogueRegister, routing: Routing, left_out: Callable[[], Mapping[tuple[str, str], str]]
    ) -> None:
        self._register = register
        self._routing = routing
        self._left_out = left_out

    def routes(self) -> list[Route]:
        """(method, path pattern, handler) of each."""
        return [
            ("POST", "/admin/models", self.create),
            ("GET", "/admin/models", self.list_all),
            ("GET", "/admin/models/{id}", self.get),
            ("PATCH", "/admin/models/{id}", self.update),
            ("DELETE", "/admin/models/{id}", self.delete),
        ]

    async def create(self, request: AdminRequest) -> Payload:
        """201 with the model's record."""
        body = read_body(NewModel, request.body)
        record = await self._register.create_model(body.given("enabled"), request.actor, enabled=body.enabled)
        _note(request, "created", record)
        return 201, self._shown(record)

    async def list_all(self, request: AdminRequest) -> Payload:
        """All of them, by name."""
        records = await self._register.models()
        return 200, {"object": "list", "data": [self._shown(record) for record in records]}

    async def get(self, request: AdminRequest) -> Payload:
        """One model's record."""
        return 200, self._shown(await self._register.model(path_id(request, "model")))

    async def update(self, request: AdminRequest) -> Payload:
        """The changed record."""
        found = path_id(request, "model")
        body = read_body(ModelChanges, request.body)
        if not body.model_fields_set:
            raise GatewayError("missing_field", "Nothing to change; give one of the model's fields.")
        enabled = body.enabled if "enabled" in body.model_fields_set else None
        record = await self._register.update_model(found, body.given("enabled"), request.actor, enabled=enabled)
        _note(request, "changed", record)
        return 200, self._shown(record)

    async def delete(self, request: AdminRequest) -> Payload:
        """The record as it was, with `deleted: true`."""
        record = await self._register.delete_model(path_id(request, "model"), request.actor)
        _note(request, "deleted", record)
        return 200, {**self._shown(record), "deleted": True}

    def _shown(self, record: ModelRecord) -> dict[str, Any]:
        """A record as JSON, with how it is in this worker."""
        return {
            **record.document,
            "object": "model",
            "id": record.id,
            "name": record.name,
            "managed_by": record.managed_by,
            "enabled": record.enabled,
            "in_force": self._routing.routes.find(record.name) is not None,
            "problem": self._left_out().get(("model", record.name)),
            "created_at": shown_time(record.created_at),
            "updated_at": shown_time(record.updated_at),
        }


def _note(request: AdminRequest, what: str, record: ModelRecord) -> None:
    _log.info("model %s (%s) %s by %s", record.name, record.id, what, request.actor.name)
