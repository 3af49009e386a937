"""A worker's providers and models: what the configuration declares and what the admin API made, as one."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

from gateway.assembly.options import fetch_limits, proxy_of
from gateway.errors import GatewayError
from gateway.providers.provider import usual_variables
from gateway.providers.registry import PROVIDERS
from gateway.server.admin.models import ModelHandlers
from gateway.server.admin.providers import LiveProviders, ProviderHandlers
from gateway.server.admin.request import Route
from gateway.server.admin.trial import Trials
from gateway.services.catalogue.overlay import Effective, overlay
from gateway.services.catalogue.register import SUBKEY, CatalogueRegister
from gateway.services.catalogue.register import Surroundings as RegisterSurroundings
from gateway.services.catalogue.row_ids import RowIds
from gateway.services.catalogue.service import Catalogue
from gateway.services.keys.secret import Secrets
from gateway.services.limits.service import Limits
from gateway.services.routing.build import Breakers, Surroundings, build_routes
from gateway.services.routing.key_rings import KeyRings
from gateway.services.routing.routes import Routes, Routing
from gateway.settings import Settings, secret_values
from gateway.store.crypt import Cipher
from gateway.store.postgres import Postgres
from gateway.tasks import Tasks
from gateway.upstream.addresses import AddressRule
from gateway.upstream.credentials.fetch import Fetch, PoolFetch
from gateway.upstream.dispatch import Dispatch
from gateway.upstream.fetching import Fetcher
from gateway.upstream.key_ring import ProviderKey
from gateway.upstream.media_types import FILES
from gateway.upstream.pool import Pool
from gateway.upstream.target import Account

_log = logging.getLogger("gateway")


class InForce:
    """`build` lays both over each other; `settings`, `accounts`, `rule`, `fetcher` and `left_out` are of the last
    build. `changed` is called when the admin API has changed something, in this worker or another.
    """

    catalogue: Catalogue
    fetcher: Fetcher

    def __init__(self, environ: Mapping[str, str], answering: tuple[str, ...], pool: Pool) -> None:
        self._environ = environ
        self._answering = answering
        self._pool = pool
        self._breakers = Breakers(time.monotonic)
        self.rings = KeyRings(_note_benched)
        self.settings = self.declared = Settings()
        self.accounts: Mapping[str, Account] = {}
        self.rule = AddressRule()
        self.left_out: Mapping[tuple[str, str], str] = {}

    async def open(
        self, postgres: Postgres, tasks: Tasks, secrets: Secrets, settings: Settings, changed: Callable[[], None]
    ) -> None:
        """Write down what `settings` declare and read what was made. Raises GatewayError store_unavailable."""
        self.declared = settings
        self._postgres = postgres
        self._tasks = tasks
        self._cipher = Cipher([secret.subkey(SUBKEY) for secret in secrets.all])
        self.catalogue = Catalogue(postgres, self._cipher, tasks, PROVIDERS, changed)
        await self.catalogue.declare(settings)
        await self.catalogue.load()

    def declare(self, limits: Limits) -> None:
        """Write down what a reload declares, in the background."""
        self._tasks.spawn(self._declare(self.declared, limits), name="declare providers")

    async def _declare(self, settings: Settings, limits: Limits) -> None:
        try:
            await self.catalogue.declare(settings)
            await limits.declare(settings)
        except GatewayError as error:
            _log.warning("the changed configuration is in force, but not noted in the database: %s", error)

    def build(self, settings: Settings) -> Routes:
        """The routes for `settings` and what was made, all or nothing. Raises SettingsError for what is declared."""
        effective: Effective = overlay(settings, self.catalogue.snapshot(), PROVIDERS.keys())
        rule = AddressRule.of(settings.security.allow_private_upstreams)
        around = Surroundings(
            PROVIDERS,
            self._environ,
            self._answering,
            self._pool,
            self._breakers,
            self.rings,
            effective.made,
            rule,
            tasks=self._tasks,
        )
        routes, accounts = build_routes(effective.settings, around)
        left_out = {**effective.left_out, **{("provider", name): why for name, why in around.left_out.items()}}
        for (what, name), why in left_out.items():
            if self.left_out.get((what, name)) != why:
                _log.warning("the %s '%s' that was made over the admin API is left out: %s", what, name, why)
        self.declared, self.settings, self.accounts, self.rule = settings, effective.settings, accounts, rule
        self.left_out = left_out
        self.fetcher = Fetcher(self._pool, rule, fetch_limits(settings), proxy=self._proxy())
        return routes

    def secrets(self) -> set[str]:
        """The values of all secrets that providers may be sent, and of all others that the settings name."""
        variables = {name for known in PROVIDERS.values() for name in usual_variables(known.auth)}
        found = {self._environ.get(name, "").strip() for name in variables}
        return {value for value in found | secret_values(self.settings, self._environ) if value}

    def row_ids(self) -> RowIds:
        """The rows of what is in force, by all the names that clients may use."""
        return self.catalogue.row_ids().with_aliases(self.settings.models)

    def admin_routes(self, routing: Routing, dispatch: Callable[[], Dispatch]) -> list[Route]:
        """`/admin/providers` and `/admin/models`."""
        register = CatalogueRegister(
            self._postgres,
            self._cipher,
            RegisterSurroundings(lambda: self.declared, PROVIDERS, lambda: self.rule),
            self.catalogue.reload,
        )
        live = LiveProviders(
            types=PROVIDERS,
            accounts=lambda: self.accounts,
            left_out=lambda: self.left_out,
            rings=self.rings,
            routing=routing,
            fetch=self._fetch_for,
        )
        providers = ProviderHandlers(register, live, Trials(dispatch))
        return [*providers.routes(), *ModelHandlers(register, routing, lambda: self.left_out).routes()]

    async def fetch(self, url: str) -> tuple[str, bytes]:
        """The media type and the bytes of an image or a file that a client named. Raises GatewayError."""
        return await self.fetcher.fetch(url, FILES)

    def _fetch_for(self, provider: str) -> Fetch:
        made = provider not in self.declared.providers
        return PoolFetch(self._pool, proxy=self._proxy(), rule=self.rule if made else None)

    def _proxy(self) -> str | None:
        return proxy_of(self.declared, self._environ)


def _note_benched(provider: str, key: ProviderKey, code: str, for_s: float) -> None:
    _log.warning("provider '%s' refuses its key %s (%s): left alone for %g s", provider, key.label, code, for_s)
