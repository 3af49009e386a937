"""`Catalogue`: what the admin API made, as it is now, in this worker's memory."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

import asyncpg
import orjson

from gateway.errors import GatewayError
from gateway.providers.provider import Provider as ProviderType
from gateway.services.catalogue.forms import (
    Document,
    ProviderForm,
    model_document,
    plain_fields,
    provider_document,
    read_model,
)
from gateway.services.catalogue.overlay import Made
from gateway.services.catalogue.records import ModelRecord, ProviderRecord, facts_of, model_record, provider_record
from gateway.services.catalogue.row_ids import RowIds
from gateway.settings import Model, Provider, Settings
from gateway.store.audit import CONFIG, note
from gateway.store.crypt import CannotOpen, Cipher
from gateway.store.postgres import Connection, Postgres
from gateway.store.sql import load
from gateway.tasks import Tasks

_log = logging.getLogger("gateway.catalogue")

_Records = dict[tuple[str, str], ProviderRecord | ModelRecord]

_TABLES = ("llm_providers:", "llm_models:")
_BACK_OFF_S = (0.1, 5.0)
_LONGEST_NAME = 255  # of llm_models.model_name
_USD_PER_MTOK = 1_000_000


class Catalogue:
    """Holds the enabled rows that the admin API made, and the ids of those that are declared too.

    Give `on_change` to `Postgres.listen("gateway_changes", …)`; `on_changed()` is called when `snapshot` or `row_ids`
    has become another one.
    """

    def __init__(
        self,
        postgres: Postgres,
        cipher: Cipher,
        tasks: Tasks,
        types: Mapping[str, ProviderType],
        on_changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._postgres = postgres
        self._cipher = cipher
        self._tasks = tasks
        self._types = types
        self._on_changed = on_changed
        self._sql = load("gateway.services.catalogue")
        self._made = Made()
        self._row_ids = RowIds()
        self._reloading: asyncio.Task[Any] | None = None
        self._reload_again = False

    def snapshot(self) -> Made:
        """What was made and is enabled."""
        return self._made

    def row_ids(self) -> RowIds:
        """The rows of what is declared, or made and enabled, by name."""
        return self._row_ids

    # --- what is declared -------------------------------------------------------------------------

    async def declare(self, settings: Settings) -> None:
        """Write down what the configuration declares; rows that are as they should be are not touched.

        A provider or model of the same name that the admin API made becomes the configuration's, and its stored
        secrets are dropped. What changes is written to the audit log. Raises GatewayError store_unavailable.
        """
        providers = [self._declared_provider(settings, name) for name in settings.providers]
        models = [_declared_model(model) for model in settings.models if len(model.name) <= _LONGEST_NAME]

        async def write(connection: Connection) -> None:
            await connection.execute(self._sql["lock"])
            before = await self._records(connection)
            for provider in providers:
                await connection.execute(self._sql["declare_provider"], *provider)
            await connection.execute(self._sql["drop_undeclared_providers"], list(settings.providers))
            for model in models:
                await connection.execute(self._sql["declare_model"], *model)
            await connection.execute(self._sql["drop_undeclared_models"], [model[1] for model in models])
            await _note_changes(connection, before, await self._records(connection))

        await self._postgres.in_transaction(write)

    async def _records(self, connection: Connection) -> _Records:
        """All that is there, by what it is and its id."""
        providers = map(provider_record, await connection.fetch(self._sql["providers"], None))
        models = map(model_record, await connection.fetch(self._sql["models"], None))
        return {**{("provider", one.id): one for one in providers}, **{("model", one.id): one for one in models}}

    def _declared_provider(self, settings: Settings, name: str) -> tuple[Any, ...]:
        provider = settings.providers[name]
        known = self._types[provider.type]
        answered = sorted(
            {target.model for model in settings.models for target in model.targets if target.provider == name}
        )
        base_url = provider.base_url or known.base_url
        return (name, provider.type, base_url, authentication_of(known), answered, provider_document(provider))

    # --- what was made ----------------------------------------------------------------------------

    def on_change(self, payload: str) -> None:
        """Read the rows again where a notification on `gateway_changes` is about them."""
        if payload == "reload" or payload.startswith(_TABLES):
            self._start_reload()

    async def reload(self) -> None:
        """Read the rows again; returns when they are in `snapshot` and `on_changed` has been called."""
        await asyncio.shield(self._start_reload())

    def _start_reload(self) -> asyncio.Task[Any]:
        self._reload_again = True
        if self._reloading is None or self._reloading.done():
            self._reloading = self._tasks.spawn(self._reload(), name="catalogue reload")
        return self._reloading

    async def _reload(self) -> None:
        pause_s, longest_s = _BACK_OFF_S
        while self._reload_again:
            self._reload_again = False
            try:
                await self.load()
            except (GatewayError, asyncpg.PostgresError) as error:
                _log.warning("the catalogue cannot be read (%s); trying again", type(error.__cause__ or error).__name__)
                self._reload_again = True
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, longest_s)

    async def load(self) -> None:
        """Read the rows into `snapshot` and `row_ids`. Raises GatewayError store_unavailable."""
        provider_rows = await self._postgres.fetch(self._sql["providers"], "admin")
        model_rows = await self._postgres.fetch(self._sql["models"], "admin")
        providers: dict[str, Provider] = {}
        problems: dict[str, str] = {}
        for row in provider_rows:
            if row["enabled"]:
                try:
                    providers[row["provider_name"]] = (await self._open(row)).provider()
                except CannotOpen:
                    problems[row["provider_name"]] = "its secrets were stored under another GATEWAY_SECRET_KEY"
                except GatewayError as error:
                    problems[row["provider_name"]] = error.message
        made = Made(providers, tuple(filter(None, map(_made_model, model_rows))), problems)
        row_ids = RowIds(await self._ids("provider_ids"), await self._ids("model_ids"))
        if (made, row_ids) != (self._made, self._row_ids):
            self._made, self._row_ids = made, row_ids
            self._on_changed()

    async def _ids(self, query: str) -> dict[str, str]:
        return {row["name"]: row["id"] for row in await self._postgres.fetch(self._sql[query])}

    async def _open(self, row: asyncpg.Record) -> ProviderForm:
        form, is_current = form_of(row, self._cipher)
        if not is_current:  # so that the secret before can be taken away
            sealed = self._cipher.seal(orjson.dumps(form.secrets), context_of(row["id"]))
            await self._postgres.execute(self._sql["reseal_provider"], row["id"], row["secrets"], sealed)
        return form


async def _note_changes(connection: Connection, before: _Records, after: _Records) -> None:
    for what in dict.fromkeys((*before, *after)):
        was, is_now = facts_of(before.get(what)), facts_of(after.get(what))
        if was != is_now:
            action = "created" if was is None else "deleted" if is_now is None else "changed"
            await note(connection, CONFIG, action, *what, was, is_now)


def context_of(row_id: object) -> str:
    """What a provider's secrets are bound to."""
    return f"llm_providers:{row_id}"


def authentication_of(known: ProviderType) -> str:
    """A word for the column authentication_type: bearer, headerkey, signed, noauth."""
    return type(known.auth).__name__.lower()


def form_of(row: asyncpg.Record, cipher: Cipher) -> tuple[ProviderForm, bool]:
    """A row that the admin API made, and whether its secrets are sealed under the key in force. Raises CannotOpen."""
    secrets: Document = {}
    is_current = True
    if row["secrets"] is not None:
        plain, is_current = cipher.open(bytes(row["secrets"]), context_of(row["id"]))
        secrets = orjson.loads(plain)
    fields = plain_fields(row["configuration"] or {})
    form = ProviderForm(row["provider_type"], row["api_endpoint"], bool(row["enabled"]), fields, secrets)
    return form, is_current


def _made_model(row: asyncpg.Record) -> Model | None:
    if not row["enabled"]:
        return None
    try:
        return read_model({**(row["configuration"] or {}), "name": row["model_name"]})
    except GatewayError as error:
        _log.warning("the model '%s' in the database is left out: %s", row["model_name"], error.message)
        return None


def _declared_model(model: Model) -> tuple[Any, ...]:
    return (model.targets[0].provider, model.name, *costs_of(model), model_document(model))


def costs_of(model: Model) -> tuple[Any, Any]:
    """Input and output price in US dollars for a token; None where the model has no price of its own."""
    price = model.price
    if price is None:
        return None, None
    return price.input_usd_per_mtok / _USD_PER_MTOK, price.output_usd_per_mtok / _USD_PER_MTOK
