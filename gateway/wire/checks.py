"""What the readers of requests share: refusals that name the field, and checked reads."""

from __future__ import annotations

from typing import Any

from gateway.errors import GatewayError
from gateway.wire.dialect import Document


def invalid(field: str, why: str) -> GatewayError:
    """The field is there and wrong."""
    return GatewayError("invalid_field", f"The field '{field}' {why}.", param=field)


def missing(field: str) -> GatewayError:
    """The field is not there."""
    return GatewayError("missing_field", f"The field '{field}' is required.", param=field)


def unsupported(field: str, what: str) -> GatewayError:
    """The field asks for what this model cannot be asked for; `what` ends the sentence that names it."""
    return GatewayError("unsupported_parameter", f"'{field}': {what}.", param=field)


def required_text(holder: Document, name: str, where: str) -> str:
    """The string in `holder[name]`. Raises missing_field or invalid_field under `where.name`."""
    value = holder.get(name)
    if type(value) is str:
        return value
    field = f"{where}.{name}"
    raise missing(field) if value is None else invalid(field, "must be a string")


def optional_text(holder: Document, name: str, where: str) -> str | None:
    """The string in `holder[name]`, None where there is none. Raises invalid_field under `where.name`."""
    value = holder.get(name)
    if value is None or type(value) is str:
        return value
    raise invalid(f"{where}.{name}" if where else name, "must be a string")


def as_object(value: Any, where: str) -> Document:
    """`value`, which has to be an object. Raises invalid_field."""
    if type(value) is dict:
        return value
    raise invalid(where, "must be an object")


def as_list(value: Any, where: str) -> list[Any]:
    """`value`, which has to be an array. Raises invalid_field."""
    if type(value) is list:
        return value
    raise invalid(where, "must be an array")
