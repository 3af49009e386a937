"""What others keep of a key's record: its limits and its budget."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from gateway.errors import GatewayError
from gateway.store.audit import Actor
from gateway.store.postgres import Connection

ALLOWANCES = ("rpm", "tpm", "max_concurrency", "budget")


class Allowances(Protocol):
    """Keeps `ALLOWANCES` for keys: the first three are numbers, the budget a dictionary; None is no limit."""

    async def put(self, connection: Connection, key_id: uuid.UUID, fields: Mapping[str, Any], actor: Actor) -> None:
        """Set those that `fields` names, in the caller's transaction. Raises GatewayError."""

    async def of(self, connection: Connection, key_ids: Sequence[uuid.UUID]) -> Mapping[str, Mapping[str, Any]]:
        """Those that are set, by key id."""


class NoAllowances:
    """Where nobody enforces them, they are refused rather than ignored."""

    async def put(self, connection: Connection, key_id: uuid.UUID, fields: Mapping[str, Any], actor: Actor) -> None:
        """Raises GatewayError invalid_field for any that is not None."""
        for name, value in fields.items():
            if value is not None:
                raise GatewayError("invalid_field", f"`{name}` is not enforced here, so it is refused.", param=name)

    async def of(self, connection: Connection, key_ids: Sequence[uuid.UUID]) -> Mapping[str, Mapping[str, Any]]:
        """None."""
        return {}
