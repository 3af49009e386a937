"""`/admin/providers`: make, list, read, change, delete and try providers, and list their models."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from gateway.errors import GatewayError
from gateway.providers.provider import Provider as ProviderType
from gateway.server.admin.answers import Payload, path_id
from gateway.server.admin.catalogue_bodies import NewProvider, ProviderChanges, TrialBody
from gateway.server.admin.request import AdminRequest, Route, read_body
from gateway.server.admin.trial import Trial, Trials
from gateway.services.catalogue.records import ProviderRecord
from gateway.services.catalogue.register import CatalogueRegister
from gateway.services.routing.key_rings import KeyRings
from gateway.services.routing.routes import Routing
from gateway.upstream.credentials.fetch import Fetch
from gateway.upstream.listing import hide_secrets, list_models
from gateway.upstream.target import Account
from gateway.wire.shown import shown_time

_log = logging.getLogger("gateway.admin")


@dataclass(frozen=True, slots=True)
class LiveProviders:
    """This worker's providers as they are in force. What is given as a function is asked anew by every request."""

    types: Mapping[str, ProviderType]
    accounts: Callable[[], Mapping[str, Account]]
    left_out: Callable[[], Mapping[tuple[str, str], str]]
    rings: KeyRings
    routing: Routing
    fetch: Callable[[str], Fetch]


class ProviderHandlers:
    """The handlers of `/admin/providers`."""

    def __init__(self, register: CatalogueRegister, live: LiveProviders, trials: Trials) -> None:
        self._register = register
        self._live = live
        self._trials = trials

    def routes(self) -> list[Route]:
        """(method, path pattern, handler) of each."""
        return [
            ("POST", "/admin/providers", self.create),
            ("GET", "/admin/providers", self.list_all),
            ("GET", "/admin/providers/{id}", self.get),
            ("PATCH", "/admin/providers/{id}", self.update),
            ("DELETE", "/admin/providers/{id}", self.delete),
            ("POST", "/admin/providers/{id}/test", self.test),
            ("GET", "/admin/providers/{id}/models", self.models),
        ]

    async def create(self, request: AdminRequest) -> Payload:
        """201 with the provider's record."""
        body = read_body(NewProvider, request.body)
        record = await self._register.create_provider(body.name, body.type, body.given("name", "type"), request.actor)
        _note(request, "created", record)
        return 201, self._shown(record)

    async def list_all(self, request: AdminRequest) -> Payload:
        """All of them, by name."""
        records = await self._register.providers()
        return 200, {"object": "list", "data": [self._shown(record) for record in records]}

    async def get(self, request: AdminRequest) -> Payload:
        """One provider's record."""
        return 200, self._shown(await self._register.provider(provider_id(request)))

    async def update(self, request: AdminRequest) -> Payload:
        """The changed record."""
        found = provider_id(request)
        changes = read_body(ProviderChanges, request.body).given()
        if not changes:
            raise GatewayError("missing_field", "Nothing to change; give one of the provider's fields.")
        record = await self._register.update_provider(found, changes, request.actor)
        _note(request, "changed", record)
        return 200, self._shown(record)

    async def delete(self, request: AdminRequest) -> Payload:
        """The record as it was, with `deleted: true`."""
        record = await self._register.delete_provider(provider_id(request), request.actor)
        _note(request, "deleted", record)
        return 200, {**self._shown(record), "deleted": True}

    async def test(self, request: AdminRequest) -> Payload:
        """How one cheap call went. 200 also where it failed: `ok` says so, and `error` how."""
        record = await self._register.provider(provider_id(request))
        model = read_body(TrialBody, request.body).model or self._a_model(record.name)
        account = self._account(record)
        trial = await self._list_as_trial(record, account) if model is None else await self._trials.chat(account, model)
        return 200, self._shown_trial(record, trial)

    async def models(self, request: AdminRequest) -> Payload:
        """The provider's own list of its models, now."""
        record = await self._register.provider(provider_id(request))
        try:
            names = await self._list(record, self._account(record))
        except GatewayError as error:
            raise GatewayError(
                error.code,
                self._safe(record.name, error.message),
                status=error.status,
                retry_after_s=error.retry_after_s,
            ) from None
        return 200, {"object": "list", "data": [{"object": "provider.model", "id": name} for name in names]}

    # --- inside -----------------------------------------------------------------------------------

    async def _list(self, record: ProviderRecord, account: Account) -> list[str]:
        live = self._live
        ring = account.keys
        key = None if ring is None else ring.pick(time.monotonic()) or ring.keys[0]
        return await list_models(account, live.types[record.type], live.fetch(record.name), key)

    async def _list_as_trial(self, record: ProviderRecord, account: Account) -> Trial:
        began = time.perf_counter()
        error = None
        try:
            await self._list(record, account)
        except GatewayError as failure:
            error = failure
        return Trial("models", None, round((time.perf_counter() - began) * 1000, 1), error)

    def _a_model(self, provider: str) -> str | None:
        targets = self._live.routing.routes.targets
        return next((target.model for target in targets if target.provider == provider), None)

    def _account(self, record: ProviderRecord) -> Account:
        account = self._live.accounts().get(record.name)
        if account is None:
            reason = "it is disabled" if not record.enabled else self._problem(record) or "it is being built"
            raise GatewayError("conflict", f"The provider '{record.name}' is not in force: {reason}.")
        return account

    def _problem(self, record: ProviderRecord) -> str | None:
        return self._live.left_out().get(("provider", record.name))

    def _safe(self, provider: str, message: str) -> str:
        ring = self._live.rings.find(provider)
        return hide_secrets(message, [] if ring is None else [key.secret for key in ring.keys])

    def _shown(self, record: ProviderRecord) -> dict[str, Any]:
        """A record as JSON, with how it is in this worker: `keys` as each was last met by it."""
        known = self._live.types.get(record.type)
        ring = self._live.rings.find(record.name)
        return {
            **record.document,
            "object": "provider",
            "id": record.id,
            "name": record.name,
            "type": record.type,
            "base_url": record.base_url or (known.base_url if known else None),
            "managed_by": record.managed_by,
            "enabled": record.enabled,
            "in_force": record.name in self._live.accounts(),
            "problem": self._problem(record),
            "keys": [] if ring is None else [asdict(state) for state in ring.state(time.monotonic())],
            "created_at": shown_time(record.created_at),
            "updated_at": shown_time(record.updated_at),
        }

    def _shown_trial(self, record: ProviderRecord, trial: Trial) -> dict[str, Any]:
        error = trial.error
        return {
            "object": "provider.test",
            "ok": error is None,
            "call": trial.call,
            "model": trial.model,
            "latency_ms": trial.latency_ms,
            "status": trial.status,
            "error": error and {"code": error.code, "message": self._safe(record.name, error.message)},
        }


def provider_id(request: AdminRequest) -> uuid.UUID:
    """The id in the path. Raises not_found for what is none."""
    return path_id(request, "provider")


def _note(request: AdminRequest, what: str, record: ProviderRecord) -> None:
    _log.info("provider %s (%s) %s by %s", record.name, record.id, what, request.actor.name)
