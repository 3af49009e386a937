"""`CatalogueRegister`: makes, lists, changes and deletes providers and models, in the database."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import asyncpg
import orjson

from gateway.errors import GatewayError
from gateway.providers.provider import Provider as ProviderType
from gateway.services.catalogue.checks import check_provider
from gateway.services.catalogue.forms import ProviderForm, model_document, provider_document, read_model
from gateway.services.catalogue.overlay import check_model
from gateway.services.catalogue.records import ModelRecord, ProviderRecord, facts_of, model_record, provider_record
from gateway.services.catalogue.service import authentication_of, context_of, costs_of, form_of
from gateway.settings import Model, Settings
from gateway.settings import Provider as ProviderSettings
from gateway.settings.mistakes import nearest
from gateway.store.audit import Actor, note
from gateway.store.crypt import CannotOpen, Cipher
from gateway.store.postgres import Connection, Postgres
from gateway.store.sql import load
from gateway.upstream.addresses import AddressRule

# The use for which the keys of the cipher are derived (`Secret.subkey`).
SUBKEY = "admin-secrets/v1"
_WAIT_S = 2.0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the rows must fit: the settings in force, the provider types there are, the address rule."""

    settings: Callable[[], Settings]
    types: Mapping[str, ProviderType]
    rule: Callable[[], AddressRule]


class CatalogueRegister:
    """The rows of `llm_providers` and `llm_models`. `on_written()` is awaited after each change, for this worker's
    own next request to see it. What `actor` changes is written to the audit log in the same transaction.

    All methods raise `GatewayError`: `store_unavailable`, `not_found` for an unknown id, `conflict` for a name that
    is taken and for what the configuration declares, `invalid_field` and `missing_field` naming the field.
    """

    def __init__(
        self, postgres: Postgres, cipher: Cipher, around: Surroundings, on_written: Callable[[], Awaitable[None]]
    ) -> None:
        self._postgres = postgres
        self._cipher = cipher
        self._around = around
        self._on_written = on_written
        self._sql = load("gateway.services.catalogue")

    # --- providers --------------------------------------------------------------------------------

    async def providers(self) -> list[ProviderRecord]:
        """All of them, by name."""
        return [provider_record(row) for row in await self._postgres.fetch(self._sql["providers"], None)]

    async def provider(self, provider_id: uuid.UUID) -> ProviderRecord:
        """One of them."""
        row = await self._postgres.fetchrow(self._sql["provider"], provider_id)
        if row is None:
            raise _not_found("provider", provider_id)
        return provider_record(row)

    async def create_provider(self, name: str, type: str, fields: Mapping[str, Any], actor: Actor) -> ProviderRecord:
        """A new provider; `fields` are as for `ProviderForm.changed`."""
        known = self._around.types.get(type)
        if known is None:
            near = nearest(type, self._around.types)
            hint = f"did you mean `{near}`?" if near else f"there are {', '.join(sorted(self._around.types))}"
            raise GatewayError("invalid_field", f"`type`: there is no such provider type; {hint}", param="type")
        form = ProviderForm(type).changed(fields)
        document = self._document(form)

        async def insert(connection: Connection) -> ProviderRecord:
            await connection.execute(self._sql["lock"])
            row = await connection.fetchrow(self._sql["provider_named"], name)
            if (row is not None and row["in_use"]) or name in self._around.settings().providers:
                raise GatewayError("conflict", f"There is a provider called '{name}' already.", param="name")
            provider_id: uuid.UUID = row["id"] if row is not None else uuid.uuid4()
            await connection.execute(
                self._sql["insert_provider"],
                provider_id,
                name,
                type,
                form.base_url,
                authentication_of(known),
                document,
                self._sealed(form, provider_id),
                form.enabled,
            )
            return await self._provider_noted(connection, actor, "created", provider_id, None)

        record = await self._postgres.in_transaction(insert)
        await self._written()
        return record

    async def update_provider(self, provider_id: uuid.UUID, changes: Mapping[str, Any], actor: Actor) -> ProviderRecord:
        """Change the fields named. missing_field where a stored secret would be sent elsewhere."""

        async def change(connection: Connection) -> ProviderRecord:
            await connection.execute(self._sql["lock"])
            row = await self._own(connection, "provider", provider_id)
            form = self._form(row).changed(changes)
            document = self._document(form)
            sealed = self._sealed(form, provider_id)
            await connection.execute(
                self._sql["update_provider"], provider_id, form.base_url, document, sealed, form.enabled
            )
            return await self._provider_noted(connection, actor, "changed", provider_id, provider_record(row))

        record = await self._postgres.in_transaction(change)
        await self._written()
        return record

    async def delete_provider(self, provider_id: uuid.UUID, actor: Actor) -> ProviderRecord:
        """Take it away, its secrets for good. conflict while a model that was made has it as a target."""

        async def delete(connection: Connection) -> ProviderRecord:
            await connection.execute(self._sql["lock"])
            row = await self._own(connection, "provider", provider_id)
            name = row["provider_name"]
            users = [model.name for model in await self._models(connection) if _uses(model, name)]
            if users:
                raise GatewayError("conflict", f"The provider '{name}' answers for {', '.join(users[:5])}.")
            await connection.execute(self._sql["delete_provider"], provider_id)
            record = provider_record(row)
            await note(connection, actor, "deleted", "provider", record.id, facts_of(record), None)
            return record

        record = await self._postgres.in_transaction(delete)
        await self._written()
        return record

    async def _provider_noted(
        self, connection: Connection, actor: Actor, action: str, provider_id: uuid.UUID, before: ProviderRecord | None
    ) -> ProviderRecord:
        """The provider as it is now, once the audit log has it."""
        after = provider_record(await self._own(connection, "provider", provider_id))
        await note(connection, actor, action, "provider", after.id, facts_of(before), facts_of(after))
        return after

    def _form(self, row: asyncpg.Record) -> ProviderForm:
        try:
            return form_of(row, self._cipher)[0]
        except CannotOpen:
            raise GatewayError(
                "conflict",
                f"The secrets of '{row['provider_name']}' were stored under another GATEWAY_SECRET_KEY; give that one "
                "as GATEWAY_SECRET_KEY_PREVIOUS, or delete the provider and make it anew.",
            ) from None

    def _document(self, form: ProviderForm) -> dict[str, Any]:
        """The form as JSON for the row, once it is seen to be right."""
        provider = form.provider()
        check_provider(form, provider, self._around.types[form.type], self._around.rule())
        return provider_document(provider)

    def _sealed(self, form: ProviderForm, provider_id: uuid.UUID) -> bytes | None:
        return self._cipher.seal(orjson.dumps(form.secrets), context_of(provider_id)) if form.secrets else None

    # --- models -----------------------------------------------------------------------------------

    async def models(self) -> list[ModelRecord]:
        """All of them, by name."""
        return [model_record(row) for row in await self._postgres.fetch(self._sql["models"], None)]

    async def model(self, model_id: uuid.UUID) -> ModelRecord:
        """One of them."""
        row = await self._postgres.fetchrow(self._sql["model"], model_id)
        if row is None:
            raise _not_found("model", model_id)
        return model_record(row)

    async def create_model(self, fields: Mapping[str, Any], actor: Actor, *, enabled: bool = True) -> ModelRecord:
        """A new model; `fields` are as in YAML."""
        model = read_model(fields)

        async def insert(connection: Connection) -> ModelRecord:
            await connection.execute(self._sql["lock"])
            row = await connection.fetchrow(self._sql["model_named"], model.name)
            if row is not None and row["in_use"]:
                raise GatewayError("conflict", f"There is a model called '{model.name}' already.", param="name")
            await self._check(connection, model)
            model_id: uuid.UUID = row["id"] if row is not None else uuid.uuid4()
            values = (model_id, model.targets[0].provider, model.name, *costs_of(model), model_document(model), enabled)
            await connection.execute(self._sql["insert_model"], *values)
            return await self._model_noted(connection, actor, "created", model_id, None)

        record = await self._postgres.in_transaction(insert)
        await self._written()
        return record

    async def update_model(
        self, model_id: uuid.UUID, changes: Mapping[str, Any], actor: Actor, *, enabled: bool | None = None
    ) -> ModelRecord:
        """Change the fields named; None takes one away."""

        async def change(connection: Connection) -> ModelRecord:
            await connection.execute(self._sql["lock"])
            row = await self._own(connection, "model", model_id)
            model = read_model({**row["configuration"], **changes, "name": row["model_name"]})
            await self._check(connection, model)
            stays = row["enabled"] if enabled is None else enabled
            values = (model_id, model.targets[0].provider, *costs_of(model), model_document(model), stays)
            await connection.execute(self._sql["update_model"], *values)
            return await self._model_noted(connection, actor, "changed", model_id, model_record(row))

        record = await self._postgres.in_transaction(change)
        await self._written()
        return record

    async def delete_model(self, model_id: uuid.UUID, actor: Actor) -> ModelRecord:
        """Take it away. Models that fell back to it no longer do."""

        async def delete(connection: Connection) -> ModelRecord:
            await connection.execute(self._sql["lock"])
            row = await self._own(connection, "model", model_id)
            await connection.execute(self._sql["delete_model"], model_id)
            record = model_record(row)
            await note(connection, actor, "deleted", "model", record.id, facts_of(record), None)
            return record

        record = await self._postgres.in_transaction(delete)
        await self._written()
        return record

    async def _model_noted(
        self, connection: Connection, actor: Actor, action: str, model_id: uuid.UUID, before: ModelRecord | None
    ) -> ModelRecord:
        """The model as it is now, once the audit log has it."""
        after = model_record(await self._own(connection, "model", model_id))
        await note(connection, actor, action, "model", after.id, facts_of(before), facts_of(after))
        return after

    async def _check(self, connection: Connection, model: Model) -> None:
        rows = await connection.fetch(self._sql["providers"], "admin")
        made = {row["provider_name"]: ProviderSettings(type=row["provider_type"]) for row in rows}
        others = [other for other in await self._models(connection) if other.name != model.name]
        check_model(self._around.settings(), made, others, model, self._around.types.keys())

    async def _models(self, connection: Connection) -> list[Model]:
        """Those that were made and can be read."""
        found = []
        for row in await connection.fetch(self._sql["models"], "admin"):
            with contextlib.suppress(GatewayError):
                found.append(read_model({**(row["configuration"] or {}), "name": row["model_name"]}))
        return found

    # --- both -------------------------------------------------------------------------------------

    async def _own(self, connection: Connection, what: str, row_id: uuid.UUID) -> asyncpg.Record:
        row = await connection.fetchrow(self._sql[what], row_id)
        if row is None:
            raise _not_found(what, row_id)
        if row["managed_by"] != "admin":
            name = row[f"{what}_name"]
            raise GatewayError("conflict", f"The {what} '{name}' is declared in the configuration; change it there.")
        return row

    async def _written(self) -> None:
        # If the database goes away at this very moment, the change is made all the same, and is heard of later.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_WAIT_S):
                await self._on_written()


def _uses(model: Model, provider: str) -> bool:
    return any(target.provider == provider for target in model.targets)


def _not_found(what: str, row_id: uuid.UUID) -> GatewayError:
    return GatewayError("not_found", f"There is no {what} with the id {row_id}.")
