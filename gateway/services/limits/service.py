"""`Limits`: all limits, in this worker's memory."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import asdict

import asyncpg

from gateway.services.limits.limit import CHANGEABLE, Limit, declared_limits
from gateway.settings import Settings
from gateway.store.audit import CONFIG, note
from gateway.store.follower import Follower
from gateway.store.postgres import Connection, Postgres
from gateway.store.scopes import ScopeIndex
from gateway.store.sql import load
from gateway.tasks import Tasks

_PAGE = 2000


class Limits:
    """Those of the database, which are followed as they change, and those of the configuration, together.

    Give `on_change` to `Postgres.listen("gateway_changes", …)`, and call `load` before serving. `generation` grows
    with every change: what was derived from the answers of `of_caller` and the others holds as long as it stays.
    """

    def __init__(self, postgres: Postgres, tasks: Tasks) -> None:
        self._postgres = postgres
        self._hurried = postgres.for_requests()
        self._sql = load("gateway.services.limits")
        self._made: ScopeIndex[Limit] = ScopeIndex()
        self._declared: ScopeIndex[Limit] = ScopeIndex()
        self._follower = Follower("quota_limits", self._read, tasks)
        self.on_change = self._follower.on_change
        self.catch_up = self._follower.catch_up
        self.generation = 0

    def use(self, settings: Settings) -> None:
        """From now on `settings` are what the configuration declares."""
        self._declared = ScopeIndex(declared_limits(settings))
        self.generation += 1

    async def declare(self, settings: Settings) -> None:
        """Write to the audit log what has changed of what `settings` declare, since it was last written there.

        They have no rows: the audit log itself says what they were. Raises GatewayError store_unavailable.
        """
        after = {limit.id: asdict(limit) for limit in declared_limits(settings)}

        async def write(connection: Connection) -> None:
            await connection.execute(self._sql["lock_declared"])
            rows = await connection.fetch(self._sql["last_declared"])
            before = {row["object_id"]: row["after"] for row in rows if row["after"] is not None}
            for limit_id in dict.fromkeys((*before, *after)):
                was, is_now = before.get(limit_id), after.get(limit_id)
                if was != is_now:
                    action = "created" if was is None else "deleted" if is_now is None else "changed"
                    await note(connection, CONFIG, action, "limit", limit_id, was, is_now)

        await self._postgres.in_transaction(write)

    def __len__(self) -> int:
        """How many are in force."""
        return len(self._made) + len(self._declared)

    @property
    def declared(self) -> tuple[Limit, ...]:
        """What the configuration declares."""
        return tuple(self._declared)

    def of_caller(
        self, organisation_id: str | None, team_id: str | None, user_id: str | None, key_id: str | None
    ) -> tuple[Limit, ...]:
        """What applies to all that somebody asks for: everybody's, its organisation's, team's, user's and key's.

        `key_id` is that of the first key of a line of rotated ones.
        """
        who = (organisation_id, team_id, user_id, key_id)
        return (*self._declared.of_caller(*who), *self._made.of_caller(*who))

    def of_model(self, team_id: str | None, key_id: str | None, model: str) -> tuple[Limit, ...]:
        """What applies when `model` (its name, no alias) is asked for: its own, and its team's and key's for it."""
        return (*self._declared.of_model(team_id, key_id, model), *self._made.of_model(team_id, key_id, model))

    def of_target(self, provider: str, target_name: str) -> tuple[Limit, ...]:
        """What applies when `target_name`, which is `provider/model`, is sent something."""
        return (*self._declared.of_target(provider, target_name), *self._made.of_target(provider, target_name))

    async def load(self) -> None:
        """Read all rows. Raises GatewayError store_unavailable."""
        await self._read(None)

    async def know_keys(self, line_ids: Sequence[str]) -> None:
        """Have read what is set for these keys alone. Raises GatewayError where that cannot be done soon."""
        rows = await self._hurried.fetch(self._sql["of_lines"], list(line_ids))
        await self._follower.know([row["id"] for row in rows], lambda row_id: self._made.get(row_id) is not None)

    async def _read(self, changed: frozenset[uuid.UUID] | None) -> None:
        if changed is None:
            made: ScopeIndex[Limit] = ScopeIndex()
            last: uuid.UUID | None = None
            while rows := await self._postgres.fetch(self._sql["all"], last, _PAGE):
                for row in rows:
                    made.put(_limit(row))
                last = rows[-1]["id"]
            self._made = made
        else:
            rows = await self._postgres.fetch(self._sql["by_id"], list(changed))
            self._replace(changed, [_limit(row) for row in rows])
        self.generation += 1

    def _replace(self, changed: Iterable[uuid.UUID], found: Iterable[Limit]) -> None:
        for row_id in changed:
            self._made.remove(str(row_id))
        for limit in found:
            self._made.put(limit)


def _limit(row: asyncpg.Record) -> Limit:
    return Limit(
        str(row["id"]),
        row["scope"],
        row["subject"],
        row["model"],
        *(row[name] for name in CHANGEABLE),
    )
