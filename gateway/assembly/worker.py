"""One worker: every object of it, built once and joined."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from gateway.assembly.in_force import InForce
from gateway.assembly.options import (
    gate_limits,
    is_loopback,
    keys_options,
    ledger_options,
    price_overrides,
    retry_options,
    telemetry_of,
)
from gateway.errors import GatewayError
from gateway.metrics import Metrics
from gateway.metrics.process import watch_process
from gateway.pipeline.order import ORDER
from gateway.pipeline.pipeline import Pipeline
from gateway.pipeline.stage import Stage
from gateway.pipeline.stages.authenticate import Authenticate
from gateway.pipeline.stages.choose_route import ChooseRoute
from gateway.pipeline.stages.meter import Meter, NoMeter
from gateway.pipeline.stages.read_request import ReadRequest
from gateway.providers.registry import PROVIDERS
from gateway.server import routes
from gateway.server.admin.keys import KeyHandlers
from gateway.server.admin.request import Route
from gateway.server.admin.state import StatePages
from gateway.server.anthropic.token_count import TokenCounts
from gateway.server.app import make_app, open_lanes
from gateway.server.body_log import BodyLog
from gateway.server.gate import Gate
from gateway.server.gauges import keep_fresh, show_gauges
from gateway.server.line_sink import LineSink
from gateway.server.logs import is_terminal, set_up_logging
from gateway.server.openai.models import ModelList
from gateway.server.openai.passthrough_routes import passthrough_routes
from gateway.server.openapi import openapi_document
from gateway.server.ports import Ports, bind, server_tls
from gateway.server.recorder import Recorder
from gateway.server.redact import Redactor
from gateway.server.request_log import RequestLog
from gateway.server.retry_counts import RetryCounts
from gateway.server.status_pages import StatusPages
from gateway.server.telemetry import Telemetry
from gateway.services.keys.secret import Secrets
from gateway.services.keys.service import Keys
from gateway.services.ledger.service import Ledger
from gateway.services.ledger.spending import Spending
from gateway.services.prices.service import Prices
from gateway.services.routing.routes import Routes, Routing
from gateway.settings import (
    Settings,
    SettingsError,
    diff,
    dump,
    fingerprint,
    host_and_port,
    load,
    needs_restart,
    watched_files,
)
from gateway.store.postgres import Address, Postgres
from gateway.store.valkey import Valkey
from gateway.tasks import Tasks
from gateway.upstream.dispatch import Dispatch
from gateway.upstream.passages import Passages
from gateway.upstream.pool import Pool
from gateway.upstream.relay import Relay
from gateway.upstream.retries import RetryBudget

_log = logging.getLogger("gateway")

_CHANGES = "gateway_changes"
_WATCH_S = 1.0
_FLUSH_S = 10.0
_STALE_S = 3.0
_MB = 1_048_576
SWITCHABLE = {stage.name: stage.switchable for stage in (Authenticate, ReadRequest, ChooseRoute, Meter)}
STAGES = {name: SWITCHABLE[name] for name in ORDER}
KEY_VARIABLES = {name: known.auth.env or None for name, known in PROVIDERS.items()}


@dataclass(frozen=True, slots=True)
class Ground:
    """What a worker stands on: where it keeps things, its stores' addresses, its secrets."""

    home: Path
    config: Path | None
    postgres: Address
    listen: Address | None
    valkey: str
    secrets: Secrets
    master_key: str
    worker: str
    workers: int
    environ: Mapping[str, str]
    answering: Collection[str]


class Worker:
    """One process that serves: `open` builds it, `apply` puts settings in force, `drain` and `close` end it."""

    metrics: Metrics
    gate: Gate
    ports: Ports

    def __init__(self, ground: Ground, settings: Settings) -> None:
        self.ground = ground
        self.settings = settings
        self.tasks = Tasks()
        self.metrics = Metrics.open(ground.home / "run" / "metrics", ground.worker)
        self.redactor = Redactor([ground.master_key])
        self._sink = LineSink(2, self.metrics.log_lines_dropped.child())
        readable = is_terminal(2)
        set_up_logging(self._sink, self.redactor, level=settings.logging.level.upper(), readable=readable)
        sampled_out = self.metrics.log_lines_sampled_out.child()
        self._request_log = RequestLog(self._sink, sampled_out, self.redactor, readable=readable)
        pool = settings.upstream.pool
        self._pool = Pool(
            max_connections_per_origin=pool.max_connections_per_origin,
            max_idle_per_origin=pool.max_idle_per_origin,
            idle_timeout_s=pool.idle_timeout_s,
        )
        self.in_force = InForce(ground.environ, tuple(ground.answering), self._pool)
        self._started = int(time.time())
        self._valkey: Valkey | None = None
        self._telemetry: Telemetry | None = None
        self._runners: list[web.AppRunner] = []
        self._watch(watched_files(settings))
        self.reload_state: dict[str, Any] = {"result": "ok", "error": None, "needs_restart": []}

    @classmethod
    async def open(cls, ground: Ground, settings: Settings) -> Worker:
        """A worker that is ready to serve but does not listen yet.

        Raises SettingsError, GatewayError (a store is away), OSError.
        """
        worker = cls(ground, settings)
        try:
            await worker._build()
        except BaseException:
            await worker.close()
            raise
        return worker

    async def _build(self) -> None:
        ground, settings = self.ground, self.settings
        database = settings.database
        self._postgres = postgres = await Postgres.open(
            ground.postgres, listen_address=ground.listen, min_size=database.pool_min, max_size=database.pool_max
        )
        await self._open_valkey()
        self.keys = Keys(
            postgres, ground.secrets, self.tasks, master_key=ground.master_key, options=keys_options(settings)
        )
        await self.keys.register.check_secret()
        await postgres.listen(_CHANGES, self.keys.on_change)
        await self.in_force.open(postgres, self.tasks, ground.secrets, settings, self._catalogue_changed)
        self._ledger = await Ledger.open(ground.home / "journal", postgres, ledger_options(settings))
        self._telemetry = telemetry_of(settings, self.metrics)
        self.recorder = Recorder(self.metrics, self._request_log, self._telemetry)
        self._authenticate = Authenticate(self.keys, self.metrics)
        self.routing = Routing(Routes({}, (), lambda provider, model: None, ()), random.Random())
        self._meter = Meter(self._ledger, Prices.load({}), self.metrics)
        self.gate = Gate(self._pipeline(settings, meter=self._meter), self.recorder, gate_limits(settings))
        self.ports = Ports(self.gate)
        self.apply(settings)
        await postgres.listen(_CHANGES, self.in_force.catalogue.on_change)
        self.in_force.catalogue.on_change("reload")  # what was made since it was read
        watch_process(self.metrics)
        show_gauges(
            self.metrics,
            gate=self.gate,
            pool=self._pool,
            ledger=self._ledger,
            keys=self.keys,
            routing=self.routing,
            valkey_is_up=lambda: self._valkey is not None,
        )
        self.tasks.spawn(keep_fresh(self.metrics), name="refresh metrics")

    async def _open_valkey(self) -> None:
        try:
            self._valkey = await Valkey.open(self.ground.valkey)
        except GatewayError as error:  # nothing on the request's path needs it yet
            _log.warning("Valkey does not answer: %s", error)

    def apply(self, settings: Settings) -> None:
        """Put `settings` in force, all or nothing. Raises SettingsError, and then nothing has changed."""
        self._use_routes(settings)
        metered = settings.stage_enabled(Meter.name)
        self.gate.pipeline = self._pipeline(settings, meter=self._meter if metered else None)
        self.gate.limits = gate_limits(settings)
        self._request_log.set_sample(settings.logging.requests.sample)
        self.recorder.bodies = BodyLog(settings.logging.bodies)
        self.settings = settings
        self.metrics.config_loaded_timestamp.child().set(time.time())

    def _use_routes(self, settings: Settings) -> None:
        routes = self.in_force.build(settings)
        self.routing.routes = routes
        self._meter.use_prices(Prices.load(price_overrides(self.in_force.settings)))

    def _catalogue_changed(self) -> None:
        if not hasattr(self, "ports"):
            return  # it is read for the first time, and `apply` follows
        try:
            self._use_routes(self.settings)
        except SettingsError as error:  # a file or a variable that was there is not there any more
            _log.error("a change made over the admin API cannot be put in force: %s", error)

    def _pipeline(self, settings: Settings, *, meter: Meter | None) -> Pipeline:
        made: dict[str, Stage] = {
            Authenticate.name: self._authenticate,
            ReadRequest.name: ReadRequest(),
            ChooseRoute.name: ChooseRoute(self.routing),
        }
        if meter is not None:
            made[Meter.name] = meter
        retries = retry_options(settings, self.ground.workers)
        dispatch = Dispatch(
            meter if meter is not None else NoMeter(),
            retries,
            RetryBudget(retries, time.monotonic),
            RetryCounts(self.metrics),
            random.Random(),
            Passages(self.in_force.fetch),
        )
        self.dispatch = dispatch
        return Pipeline([made[name] for name in ORDER if name in made], dispatch)

    async def serve(self, host: str, port: int) -> None:
        """Listen. Raises PortTakenError, and OSError or ssl.SSLError for TLS files that are no use."""
        settings = self.settings
        pages = StatusPages(self.gate, self.metrics, self._details, openapi_document)
        models = ModelList(self._authenticate, self.routing, Spending(self._postgres), self._started)
        relay = Relay(lambda: self.dispatch, self.tasks)
        counts = TokenCounts(self.gate, self._authenticate, ChooseRoute(self.routing), relay)
        public = [
            *routes.pipeline_routes(self.gate),
            *routes.client_routes(models, counts),
            *passthrough_routes(
                self.gate,
                self._authenticate,
                self.routing,
                self._postgres,
                self.tasks,
                accounts=lambda: self.in_force.accounts,
                dispatch=lambda: self.dispatch,
                settings=lambda: self.settings,
                home=self.ground.home,
            ),
            *routes.status_routes(pages),
        ]
        private = [
            *routes.metrics_routes(pages),
            *routes.admin_routes(self._authenticate, self._admin_handlers()),
        ]
        if settings.admin.listen is None:
            exposed = settings.admin.expose or is_loopback(host)
            public += private if exposed else routes.metrics_routes(pages)
        app = make_app(public, self.recorder.answered)
        limits = settings.server
        runner, make_lane = await open_lanes(app, self.gate)
        self._runners.append(runner)
        tls = limits.tls
        context = None if tls is None else server_tls(tls.cert_file, tls.key_file, tls.client_ca_file)
        shared = self.ground.workers > 1
        await self.ports.listen(make_lane, bind(host, port, shared=shared), context)
        if settings.admin.listen is not None:
            await self._serve_admin(private, settings.admin.listen, shared=shared)

    async def _serve_admin(self, private: list[web.RouteDef], address: str, *, shared: bool) -> None:
        app = make_app(private, self.recorder.answered)
        runner, make_lane = await open_lanes(app, self.gate, pipeline=False)
        self._runners.append(runner)
        host, port = host_and_port(address)
        await self.ports.listen(make_lane, bind(host, port, shared=shared), None)

    def _admin_handlers(self) -> list[Route]:
        return [
            *KeyHandlers(self.keys.register).routes(),
            *self.in_force.admin_routes(self.routing, lambda: self.dispatch),
            *StatePages(self.routing, self._config_page).routes(),
        ]

    def _config_page(self) -> dict[str, Any]:
        return {
            "files": [str(file) for file in self.settings.source_files],
            "last_reload": self.reload_state,
            "stages": [stage.name for stage in self.gate.pipeline.stages],
            "providers": {name: account.base_url for name, account in self.in_force.accounts.items()},
            "settings": dump(self.settings),
        }

    def _details(self) -> dict[str, Any]:
        stale_s = self.keys.stale_s()
        return {
            "stores": {
                "postgres": "ok" if stale_s < _STALE_S else f"not heard of for {stale_s:.0f} s",
                "valkey": "ok" if self._valkey is not None else "away",
            },
            "journal_lag_rows": self._ledger.lag_rows,
        }

    # --- changes of the configuration ---------------------------------------------------------------

    async def watch_config(self) -> None:
        """Reload when a file that the configuration came from has changed, as long as the worker lives."""
        while True:
            await asyncio.sleep(_WATCH_S)
            if await asyncio.to_thread(fingerprint, self._files) != self._seen:
                await self.reload()

    async def reload(self) -> None:
        """Read the configuration anew and put it in force; a bad one changes nothing."""
        if self.ground.config is None:
            return
        self._watch(await self._reload())

    def _watch(self, files: tuple[Path, ...]) -> None:
        self._files = files
        self._seen = fingerprint(files)

    async def _reload(self) -> tuple[Path, ...]:
        """The files to watch from now on."""
        assert self.ground.config is not None
        try:
            settings = await asyncio.to_thread(
                load, self.ground.config, self.ground.environ, KEY_VARIABLES.keys(), STAGES
            )
            changed = diff(self.settings, settings)
            self.apply(settings)
            self.in_force.declare()
        except SettingsError as error:
            self.metrics.config_reloads.child("rejected").inc()
            self.reload_state = {**self.reload_state, "result": "rejected", "error": str(error)}
            _log.error("the changed configuration is not taken over, the old one stays in force: %s", error)
            return tuple(dict.fromkeys((*watched_files(self.settings), *error.source_files)))
        self.metrics.config_reloads.child("ok").inc()
        late = needs_restart(changed)
        self.reload_state = {"result": "ok", "error": None, "needs_restart": late}
        _log.info("configuration reloaded, changed: %s", ", ".join(changed) or "nothing")
        if late:
            _log.warning("these changes need a restart: %s", ", ".join(late))
        return watched_files(settings)

    # --- the end ------------------------------------------------------------------------------------

    async def drain(self) -> bool:
        """Finish what is under way; True if all was finished and written to the database."""
        server = self.settings.server
        done = await self.ports.drain(server.drain_grace_s, server.drain_timeout_s)
        if not await self._ledger.flush(_FLUSH_S):
            _log.warning(
                "%d journal rows are not in the database yet; the next start copies them", self._ledger.lag_rows
            )
        return done

    async def close(self) -> None:
        """End at once. Safe at any stage of building."""
        if hasattr(self, "ports"):
            await self.ports.stop()
            self.gate.close()
        for runner in self._runners:
            await runner.shutdown()
            await runner.cleanup()
        await self._pool.close()
        if hasattr(self, "_ledger"):
            await self._ledger.close()
        await self.tasks.drain(0.0)
        self.metrics.refresh()  # also has the last requests told of
        if self._telemetry is not None:
            await asyncio.to_thread(self._telemetry.stop)
        if self._valkey is not None:
            await self._valkey.close()
        if hasattr(self, "_postgres"):
            await self._postgres.close()
        self.metrics.refresh()
        self.metrics.close()
        self._sink.flush()
