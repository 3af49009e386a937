"""`Organisations`: makes, lists, changes and deletes them, in the database."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import asyncpg

from gateway.services.tenants.records import (
    OrganisationRecord,
    name_taken,
    organisation_record,
)
from gateway.services.tenants.rows import Rows
from gateway.store.audit import Actor
from gateway.store.postgres import Connection, Postgres
from gateway.store.sql import load


class Organisations:
    """The rows of `organisations`.

    All methods raise `GatewayError`: `store_unavailable`, `not_found` for an unknown id, `conflict` for a name that
    is taken and for what has been deleted.
    """

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._sql = load("gateway.services.tenants")
        self._rows = Rows(postgres, self._sql, "organisation", organisation_record)

    async def page(
        self, *, after: uuid.UUID | None = None, limit: int = 100, name: str | None = None, with_deleted: bool = False
    ) -> tuple[list[OrganisationRecord], bool]:
        """A page, newest first, older than the one `after`; and whether there are more."""
        rows = await self._postgres.fetch(self._sql["organisations"], after, name, with_deleted, limit + 1)
        return [organisation_record(row) for row in rows[:limit]], len(rows) > limit

    async def get(self, organisation_id: uuid.UUID) -> OrganisationRecord:
        """One of them, deleted or not."""
        return await self._rows.get(organisation_id)

    async def create(self, name: str, actor: Actor) -> OrganisationRecord:
        """A new one."""

        async def insert(connection: Connection) -> OrganisationRecord:
            made = await connection.fetchval(self._sql["insert_organisation"], name)
            return await self._rows.noted(connection, actor, "created", made, None)

        try:
            return await self._postgres.in_transaction(insert)
        except asyncpg.UniqueViolationError:
            raise name_taken("organisation", name) from None

    async def update(self, organisation_id: uuid.UUID, changes: Mapping[str, Any], actor: Actor) -> OrganisationRecord:
        """Set the fields in `changes`: `name`, `disabled`."""

        async def change(connection: Connection) -> OrganisationRecord:
            before = await self._rows.locked(connection, organisation_id)
            values = (changes.get("name"), changes.get("disabled"))
            await connection.execute(self._sql["update_organisation"], organisation_id, list(changes), *values)
            return await self._rows.noted(connection, actor, "changed", organisation_id, before)

        try:
            return await self._postgres.in_transaction(change)
        except asyncpg.UniqueViolationError:
            raise name_taken("organisation", changes["name"]) from None

    async def delete(self, organisation_id: uuid.UUID, actor: Actor) -> OrganisationRecord:
        """Mark it as deleted: the keys of its teams are refused from now on."""
        return await self._postgres.in_transaction(
            lambda connection: self._rows.delete(connection, organisation_id, actor)
        )
