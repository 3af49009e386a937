"""Looks up whom a limit or a budget is to be set on."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from functools import cache

from gateway.errors import GatewayError
from gateway.store.postgres import Connection
from gateway.store.scopes import SCOPES_BY_ID, SCOPES_WITH_MODEL
from gateway.store.sql import load

_LONGEST_NAME = 255
_PROVIDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom it is set on: an id or a name, as rows have it; `team_id` is the team that it belongs to, if any."""

    subject: str
    team_id: uuid.UUID | None


async def find_subject(connection: Connection, scope: str, subject: str, model: str | None) -> Subject:
    """The subject of `scope` that is called `subject`, which must be there; names are judged by their shape alone.

    Of a key that took the place of another it is the first of the line. Raises GatewayError invalid_field.
    """
    _check_shape(scope, subject, model)
    if scope not in SCOPES_BY_ID:
        return Subject(subject, None)
    kind = "key" if scope == "end_user" else scope
    try:
        row_id = uuid.UUID(subject)
    except ValueError:
        raise _wrong("subject", f"must be the id of {_a(kind)}") from None
    row = await connection.fetchrow(_statements()[kind], row_id)
    if row is None:
        raise _wrong("subject", f"there is no {kind} with the id {row_id}")
    return Subject(row["subject"], row["team_id"])


async def first_key(connection: Connection, key_id: uuid.UUID) -> str:
    """The id of the first key of the line of rotated keys that `key_id` is in."""
    found: str | None = await connection.fetchval(_statements()["first_key"], key_id)
    return found or str(key_id)


async def first_of_line(connection: Connection, subject: str | None) -> str | None:
    """`subject`, or where it is the id of a key, that of the first of its line."""
    try:
        key_id = uuid.UUID(subject or "")
    except ValueError:
        return subject
    return await first_key(connection, key_id)


def _check_shape(scope: str, subject: str, model: str | None) -> None:
    if (scope == "global") != (subject == ""):
        raise _wrong("subject", "the global scope has none" if subject else f"say which {scope}")
    if model is not None and scope not in SCOPES_WITH_MODEL:
        raise _wrong("model", "narrows a limit or a budget of a team or a key")
    for name, text in (("subject", subject), ("model", model or "")):
        if len(text) > _LONGEST_NAME or not text.isprintable() or text != text.strip():
            raise _wrong(name, f"must be printable, of at most {_LONGEST_NAME} characters, with no spaces around it")
    if scope == "provider" and not _PROVIDER.fullmatch(subject):
        raise _wrong("subject", "must be a provider's name")
    if scope == "target":
        provider, slash, rest = subject.partition("/")
        if not slash or not rest or not _PROVIDER.fullmatch(provider):
            raise _wrong("subject", "must be a target, `provider/model`")


def _a(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeio" else f"a {kind}"


def _wrong(field: str, reason: str) -> GatewayError:
    return GatewayError("invalid_field", f"`{field}`: {reason}", param=field)


@cache
def _statements() -> dict[str, str]:
    return load("gateway.store", "subjects.sql")
