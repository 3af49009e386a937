"""The limits that are part of a key's record: `rpm`, `tpm` and `max_concurrency`.

They are the limit on the key alone, for all models. Keys that were rotated into each other share it.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

from gateway.services.limits.limit import NUMBERS
from gateway.services.limits.register import delete_limit, locked_at, put_limit
from gateway.store.audit import Actor
from gateway.store.postgres import Connection
from gateway.store.scopes import Scope
from gateway.store.sql import load
from gateway.store.subjects import first_key

# By the field of a key's record, that of the limit.
KEY_FIELDS: Final = {"rpm": "requests_per_minute", "tpm": "tokens_per_minute", "max_concurrency": "max_concurrency"}


async def put_for_key(
    connection: Connection, key_id: uuid.UUID, fields: Mapping[str, int | None], actor: Actor
) -> None:
    """Set those of `KEY_FIELDS` that `fields` name, inside the transaction that makes or changes the key.

    None takes one away; a limit of which nothing is left is deleted.
    """
    changes = {KEY_FIELDS[name]: value for name, value in fields.items()}
    if not changes:
        return
    place: tuple[Scope, str, str | None] = ("key", await first_key(connection, key_id), None)
    before = await locked_at(connection, _statements(), place)
    kept: dict[str, Any] = {} if before is None else {name: getattr(before, name) for name in NUMBERS}
    if before is not None:
        kept["on_store_failure"] = before.on_store_failure
    values = {**kept, **changes}
    if any(values.get(name) is not None for name in NUMBERS):
        await put_limit(connection, _statements(), place, values, actor)
    elif before is not None:
        await delete_limit(connection, _statements(), before, actor)


async def of_keys(connection: Connection, key_ids: Sequence[uuid.UUID]) -> dict[str, dict[str, int | None]]:
    """`{"rpm": …, "tpm": …, "max_concurrency": …}` by key id; a key without a limit is left out."""
    rows = await connection.fetch(_statements()["of_keys"], list(key_ids))
    return {str(row["key_id"]): {name: row[name] for name in KEY_FIELDS} for row in rows}


@cache
def _statements() -> dict[str, str]:
    return load("gateway.services.limits")
