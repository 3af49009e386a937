"""The admin API's routes over what stands in the database alone: keys, who pays, usage, and who changed what."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from gateway.server.admin.alerts import AlertPages
from gateway.server.admin.audit import AuditPages
from gateway.server.admin.keys import KeyHandlers
from gateway.server.admin.organisations import OrganisationHandlers
from gateway.server.admin.request import Route
from gateway.server.admin.teams import TeamHandlers
from gateway.server.admin.usage import UsagePages
from gateway.server.admin.users import UserHandlers
from gateway.services.alerts.history import AlertLog
from gateway.services.audit.service import AuditLog
from gateway.services.budgets import of_keys as budgets
from gateway.services.keys.register import KeyRegister
from gateway.services.ledger.export import Exports
from gateway.services.ledger.reports import Reports
from gateway.services.limits import of_keys as limits
from gateway.services.tenants.organisations import Organisations
from gateway.services.tenants.teams import Teams
from gateway.services.tenants.users import Users
from gateway.store.audit import Actor
from gateway.store.postgres import Connection, Postgres


def register_routes(postgres: Postgres, keys: KeyRegister) -> list[Route]:
    """`/admin/keys`, `/admin/organisations`, `/admin/teams`, `/admin/users`, `/admin/usage`, `/admin/requests`,
    `/admin/alerts` and `/admin/audit`."""
    return [
        *KeyHandlers(keys).routes(),
        *OrganisationHandlers(Organisations(postgres)).routes(),
        *TeamHandlers(Teams(postgres)).routes(),
        *UserHandlers(Users(postgres)).routes(),
        *UsagePages(Reports(postgres), Exports(postgres)).routes(),
        *AlertPages(AlertLog(postgres)).routes(),
        *AuditPages(AuditLog(postgres)).routes(),
    ]


class KeyAllowances:
    """The limits and the budget of a key, where `KeyRegister` makes and shows them as part of it."""

    async def put(self, connection: Connection, key_id: uuid.UUID, fields: Mapping[str, Any], actor: Actor) -> None:
        """Set those that `fields` names, in the caller's transaction. Raises GatewayError."""
        limited = {name: value for name, value in fields.items() if name in limits.KEY_FIELDS}
        await limits.put_for_key(connection, key_id, limited, actor)
        if "budget" in fields:
            await budgets.put_for_key(connection, key_id, fields["budget"], actor)

    async def of(self, connection: Connection, key_ids: Sequence[uuid.UUID]) -> dict[str, dict[str, Any]]:
        """Those that are set, by key id."""
        found: dict[str, dict[str, Any]] = {**await limits.of_keys(connection, key_ids)}
        for key_id, budget in (await budgets.of_keys(connection, key_ids)).items():
            found[key_id] = {**found.get(key_id, {}), "budget": asdict(budget)}
        return found
