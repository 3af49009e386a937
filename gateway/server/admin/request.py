"""What an admin handler gets, and how it reads a body: pure of aiohttp, so that tests and the CLI use it too."""

from __future__ import annotations

import difflib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from gateway.errors import GatewayError


@dataclass(frozen=True, slots=True)
class AdminRequest:
    """One request to `/admin/…`. `path` has the pattern's parameters; `actor` is who asks, for the log."""

    method: str
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    actor: str = "master"


AdminHandler = Callable[[AdminRequest], Awaitable[tuple[int, dict[str, Any]]]]
Route = tuple[str, str, AdminHandler]
Model = TypeVar("Model", bound=BaseModel)


def read_body(model: type[Model], body: bytes, *, unenforced: frozenset[str] = frozenset()) -> Model:
    """The body as a `model`. Raises `GatewayError` `invalid_json`, `invalid_field` or `missing_field`.

    `unenforced` fields are refused for what they are: limits that would be stored and not kept to. The
    messages name the field and never repeat its value, which may be a secret.
    """
    try:
        fields = orjson.loads(body) if body.strip() else {}
    except orjson.JSONDecodeError:
        raise GatewayError("invalid_json", "The body is not valid JSON.") from None
    if not isinstance(fields, dict):
        raise GatewayError("invalid_json", "The body must be a JSON object.")
    for name in unenforced & fields.keys():
        # null is "no limit", which is what there is.
        if fields.pop(name) is not None:
            raise GatewayError(
                "invalid_field",
                f"`{name}` is not enforced by this version of the gateway, so it is refused rather than ignored.",
                param=name,
            )
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
        known = list(model.model_fields)
        near = difflib.get_close_matches(place, known, n=1)
        hint = f"did you mean `{near[0]}`?" if near else f"it may have {', '.join(f'`{name}`' for name in known)}."
        return GatewayError("invalid_field", f"`{place}`: there is no such field; {hint}", param=place)
    if first["type"] == "missing":
        return GatewayError("missing_field", f"`{place}` is missing.", param=place)
    reason = first["msg"].removeprefix("Value error, ")
    return GatewayError("invalid_field", f"`{place}`: {reason}", param=place)
