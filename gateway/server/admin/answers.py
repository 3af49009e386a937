"""What the admin API's handlers have in common: ids in paths, records and pages as JSON."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from gateway.errors import GatewayError
from gateway.server.admin.request import AdminRequest
from gateway.wire.shown import shown_time

Payload = tuple[int, dict[str, Any]]


def path_id(request: AdminRequest, what: str, name: str = "id") -> uuid.UUID:
    """The id that the path has under `name`. Raises not_found, naming `what`, for what is none."""
    text = request.path[name]
    try:
        found = uuid.UUID(text)
    except ValueError:
        found = None
    if found is None or str(found) != text.lower():
        raise GatewayError(
            "not_found", f"There is no {what} with this id; ids are UUIDs, as `GET /admin/{what}s` lists them."
        )
    return found


def shown(what: str, record: Any) -> dict[str, Any]:
    """A record (a dataclass) as a JSON object of the kind `what`: times in ISO 8601, UTC."""
    fields: dict[str, Any] = {"object": what}
    for name, value in dataclasses.asdict(record).items():
        fields[name] = shown_time(value) if isinstance(value, datetime) else value
    return fields


def page(data: Sequence[dict[str, Any]], *, more: bool) -> dict[str, Any]:
    """A page of a list; `last_id` is what the next page comes `after`."""
    return {"object": "list", "data": list(data), "has_more": more, "last_id": data[-1]["id"] if data else None}


def given_changes(body: BaseModel) -> dict[str, Any]:
    """The fields that a PATCH names, null too. Raises missing_field where it names none."""
    if not body.model_fields_set:
        raise GatewayError("missing_field", f"Nothing to change; give one of {', '.join(type(body).model_fields)}.")
    return {name: getattr(body, name) for name in body.model_fields_set}
