"""The budget that is part of a key's record: `{limit_usd, period, reset_day}`.

It is the budget on the key alone, for all models. Keys that were rotated into each other share it.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from gateway.errors import GatewayError
from gateway.services.budgets.period import PeriodKind
from gateway.services.budgets.rows import BudgetRows
from gateway.store.audit import Actor
from gateway.store.postgres import Connection
from gateway.store.sql import load
from gateway.store.subjects import first_key


@dataclass(frozen=True, slots=True)
class KeyBudget:
    """The budget of a key; where it has several, the oldest."""

    id: str
    limit_nano_usd: int
    period: PeriodKind
    reset_day: int


async def put_for_key(
    connection: Connection, key_id: uuid.UUID, fields: Mapping[str, Any] | None, actor: Actor
) -> None:
    """Give a key its budget, inside the transaction that makes or changes the key.

    `fields` are some of limit_nano_usd, period, reset_day: of a budget that is there the others stay. None takes the
    budget away. Raises GatewayError missing_field for a new budget without a limit, conflict for a key that has
    several, which are changed one by one.
    """
    rows = _rows()
    subject = await first_key(connection, key_id)
    await rows.lock(connection)
    there = await rows.of_key(connection, subject)
    if len(there) > 1:
        raise GatewayError("conflict", "The key has several budgets; change them at /admin/budgets.", param="budget")
    before = await rows.read(connection, there[0]) if there else None
    if before is not None and fields is None:
        await rows.delete(connection, before, actor)
    elif before is not None and fields:
        await rows.update(connection, before, fields, actor)
    elif before is None and fields is not None:
        if "limit_nano_usd" not in fields:
            raise GatewayError("missing_field", "`budget.limit_usd` is missing.", param="budget.limit_usd")
        await rows.insert(connection, ("key", subject, None), fields, actor)


async def of_keys(connection: Connection, key_ids: Sequence[uuid.UUID]) -> dict[str, KeyBudget]:
    """The budget by key id; a key without one is left out."""
    return {
        str(row["key_id"]): KeyBudget(row["budget_id"], row["limit_nano_usd"], row["period"], row["reset_day"])
        for row in await connection.fetch(_statements()["of_keys"], list(key_ids))
    }


@cache
def _rows() -> BudgetRows:
    return BudgetRows()


@cache
def _statements() -> dict[str, str]:
    return load("gateway.services.budgets")
