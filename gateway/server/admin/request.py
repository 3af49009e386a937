"""What an admin handler gets, and how it reads a body: pure of aiohttp, so that tests and the CLI use it too."""

from __future__ import annotations

import difflib
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from gateway.errors import GatewayError
from gateway.store.audit import MASTER, Actor


@dataclass(frozen=True, slots=True)
class AdminRequest:
    """One request to `/admin/…`. `path` has the pattern's parameters; `actor` is who asks, `team_id` its team.

    What a team's admin asks for is confined to its team: a handler whose route is open to that role narrows its
    lists to `only_team`, and calls `must_own` before it shows or changes a thing.
    """

    method: str
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    actor: Actor = MASTER
    team_id: uuid.UUID | None = None

    @property
    def only_team(self) -> uuid.UUID | None:
        """The team to which the asker is confined; None for whoever may see all teams."""
        return self.team_id if self.actor.role == "admin" else None

    def must_own(self, team_id: uuid.UUID | str | None) -> None:
        """Hide from a team's admin what is not its own team's: GatewayError `not_found`."""
        if self.only_team is not None and str(team_id) != str(self.only_team):
            raise GatewayError("not_found", "There is no such object in the team of this admin key.")


@dataclass(frozen=True, slots=True)
class Download:
    """An answer that is too long to be held: `send(write)` writes it, waiting for the client at each piece."""

    content_type: str
    filename: str
    send: Callable[[Callable[[bytes], Awaitable[None]]], Awaitable[None]]


AdminHandler = Callable[[AdminRequest], Awaitable[tuple[int, dict[str, Any] | Download]]]
Route = tuple[str, str, AdminHandler]
Model = TypeVar("Model", bound=BaseModel)


def read_body(model: type[Model], body: bytes) -> Model:
    """The body as a `model`. Raises `GatewayError` `invalid_json`, `invalid_field` or `missing_field`.

    The messages name the field and never repeat its value, which may be a secret.
    """
    try:
        fields = orjson.loads(body) if body.strip() else {}
    except orjson.JSONDecodeError:
        raise GatewayError("invalid_json", "The body is not valid JSON.") from None
    if not isinstance(fields, dict):
        raise GatewayError("invalid_json", "The body must be a JSON object.")
    return read_fields(model, fields)


def read_fields(model: type[Model], fields: Mapping[str, object]) -> Model:
    """`fields` (a body's or a query's) as a `model`; raises as `read_body` does."""
    try:
        return model.model_validate(dict(fields))
    except ValidationError as error:
        raise _refusal(model, error) from None


def _refusal(model: type[BaseModel], error: ValidationError) -> GatewayError:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])[:200]
    if first["type"] == "extra_forbidden":
        known = [form.alias or name for name, form in model.model_fields.items()]
        near = difflib.get_close_matches(place, known, n=1)
        hint = f"did you mean `{near[0]}`?" if near else f"it may have {', '.join(f'`{name}`' for name in known)}."
        return GatewayError("invalid_field", f"`{place}`: there is no such field; {hint}", param=place)
    if first["type"] == "missing":
        return GatewayError("missing_field", f"`{place}` is missing.", param=place)
    reason = first["msg"].removeprefix("Value error, ")
    return GatewayError("invalid_field", f"`{place}`: {reason}", param=place)
