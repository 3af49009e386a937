"""Who changed what: one row of `audit_log` for every change that a person makes.

The row is written on the connection, and so in the transaction, of the change itself: neither is there without the
other. The table takes rows only; a trigger refuses to change or delete them.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import orjson

from gateway.store.postgres import Connection
from gateway.store.sql import load

AdminRole = Literal["owner", "admin", "viewer"]
MASTER_ROLE = "master"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who makes a change: `master`, `cli:USER@HOST`, `config` or an admin key's id; its role; where it calls from, if
    over the network."""

    name: str
    role: str
    client_ip: str | None = None


MASTER = Actor(MASTER_ROLE, MASTER_ROLE)
CONFIG = Actor("config", MASTER_ROLE)  # what the configuration declares, at a start or a reload
CLI = Actor("cli", MASTER_ROLE)  # the commands add who and where


async def note(
    connection: Connection,
    actor: Actor,
    action: str,
    object_type: str,
    object_id: str,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
    team_id: uuid.UUID | str | None = None,
) -> None:
    """Write that `actor` did `action` (created, changed, deleted, …) to an object: how it was, and how it is now.

    `before` and `after` must hold no secret, neither a key nor its hash nor a provider's credentials; what JSON does
    not have (decimals, addresses) becomes text. `team_id` says whose it is: that team's admins may read the row.
    Raises asyncpg's errors, which end the caller's transaction, and its change with it.
    """
    await connection.execute(
        _statement(),
        actor.name,
        actor.role,
        actor.client_ip,
        action,
        object_type,
        object_id,
        None if team_id is None else uuid.UUID(str(team_id)),
        _plain(before),
        _plain(after),
    )


@cache
def _statement() -> str:
    return load("gateway.store")["note_change"]


def _plain(fields: Mapping[str, Any] | None) -> Any:
    return None if fields is None else orjson.loads(orjson.dumps(dict(fields), default=str))
