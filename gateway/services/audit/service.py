"""`AuditLog`: reads what `note` wrote."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gateway.store.postgres import Postgres
from gateway.store.sql import load


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One change. `actor` is `master`, `cli:USER@HOST`, `config`, `gateway` or an admin key's id; `before` is None for
    what was made."""

    id: int
    at: datetime
    actor: str
    actor_role: str
    client_ip: str | None
    action: str
    object_type: str
    object_id: str
    team_id: str | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which changes; None is any. The actor `cli` is everybody on the command line. `since` counts in, `until` not."""

    object_type: str | None = None
    object_id: str | None = None
    actor: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    team_id: uuid.UUID | None = None


class AuditLog:
    """The rows of `audit_log`."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._sql = load("gateway.services.audit")

    async def page(
        self, wanted: AuditFilter, *, after: int | None = None, limit: int = 100
    ) -> tuple[list[AuditRecord], bool]:
        """A page, newest first, older than the row `after`; and whether there are more.

        Raises `GatewayError` `store_unavailable`.
        """
        rows = await self._postgres.fetch(
            self._sql["page"],
            after,
            wanted.object_type,
            wanted.object_id,
            wanted.actor,
            wanted.since,
            wanted.until,
            wanted.team_id,
            limit + 1,
        )
        return [
            AuditRecord(**{**row, "team_id": None if row["team_id"] is None else str(row["team_id"])})
            for row in rows[:limit]
        ], len(rows) > limit
