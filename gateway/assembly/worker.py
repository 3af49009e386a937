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

from gateway.assembly.administration import KeyAllowances
from gateway.assembly.alerting import Alerting
from gateway.assembly.answering_once import AnsweringOnce
from gateway.assembly.front import Front
from gateway.assembly.governance import Governance
from gateway.assembly.in_force import InForce
from gateway.assembly.options import (
    gate_limits,
    keys_options,
    ledger_options,
    price_overrides,
    reporting_of,
    retry_options,
    telemetry_of,
)
from gateway.metrics import Metrics
from gateway.metrics.process import watch_process
from gateway.pipeline.order import ORDER
from gateway.pipeline.pipeline import Pipeline
from gateway.pipeline.references import References
from gateway.pipeline.stage import Stage
from gateway.pipeline.stages.admit import Admit
from gateway.pipeline.stages.answer_once import AnswerOnce
from gateway.pipeline.stages.authenticate import Authenticate
from gateway.pipeline.stages.check_budget import CheckBudget
from gateway.pipeline.stages.check_references import CheckReferences
from gateway.pipeline.stages.choose_route import ChooseRoute
from gateway.pipeline.stages.limit_rate import LimitRate
from gateway.pipeline.stages.meter import Meter, NoMeter
from gateway.pipeline.stages.read_request import ReadRequest
from gateway.providers.registry import PROVIDERS
from gateway.server.body_log import BodyLog
from gateway.server.gate import Gate
from gateway.server.gauges import keep_fresh, show_benched_keys, show_gauges
from gateway.server.line_sink import LineSink
from gateway.server.logs import is_terminal, set_up_logging
from gateway.server.ports import Ports
from gateway.server.recorder import Recorder
from gateway.server.redact import Redactor
from gateway.server.request_log import RequestLog
from gateway.server.retry_counts import RetryCounts
from gateway.server.telemetry import Telemetry
from gateway.services.keys.secret import Secrets
from gateway.services.keys.service import Keys
from gateway.services.ledger.service import Ledger
from gateway.services.ownership.service import Ownership
from gateway.services.prices.service import Prices
from gateway.services.routing.routes import Routes, Routing
from gateway.settings import (
    Settings,
    SettingsError,
    diff,
    fingerprint,
    load,
    needs_restart,
    watched_files,
)
from gateway.store.postgres import Address, Postgres
from gateway.store.valkey import Valkey
from gateway.tasks import Tasks
from gateway.upstream.dispatch import Dispatch
from gateway.upstream.job import Admission
from gateway.upstream.passages import Passages
from gateway.upstream.pool import Pool
from gateway.upstream.retries import RetryBudget

_log = logging.getLogger("gateway")

_CHANGES = "gateway_changes"
_WATCH_S = 1.0
_FLUSH_S = 10.0
_STALE_S = 3.0
_STAGES = (Authenticate, Admit, ReadRequest, ChooseRoute, CheckReferences, AnswerOnce, LimitRate, CheckBudget, Meter)
SWITCHABLE = {stage.name: stage.switchable for stage in _STAGES}
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
        self._secrets: set[str] = set()
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
        self.front = Front(self)
        self._telemetry: Telemetry | None = None
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
        await self._open_services()
        settings = self.settings
        self._telemetry = telemetry_of(settings, self.metrics)
        self.recorder = Recorder(self.metrics, self._request_log, self._telemetry)
        self.authenticate = Authenticate(self.keys, self.metrics)
        self.routing = Routing(Routes({}, (), lambda provider, model: None, ()), random.Random())
        self.check_references = CheckReferences(References(Ownership(self.postgres)))
        self.meter = Meter(self.ledger, Prices.load({}), self.metrics)
        self.gate = Gate(self._pipeline(settings, meter=self.meter), self.recorder, gate_limits(settings))
        self.ports = Ports(self.gate)
        self.apply(settings)
        await self.postgres.listen(_CHANGES, self.in_force.catalogue.on_change)
        self.in_force.catalogue.on_change("reload")  # what was made since it was read
        self._show_figures()

    async def _open_services(self) -> None:
        ground, settings, database = self.ground, self.settings, self.settings.database
        self.postgres = postgres = await Postgres.open(
            ground.postgres, listen_address=ground.listen, min_size=database.pool_min, max_size=database.pool_max
        )
        self.keys = self._keys(postgres)
        await self.keys.register.check_secret()
        await postgres.listen(_CHANGES, self.keys.on_change)
        await self.in_force.open(postgres, self.tasks, ground.secrets, settings, self._catalogue_changed)
        self.governance = Governance(postgres, self.tasks)
        self.ledger = await Ledger.open(ground.home / "journal", postgres, ledger_options(settings), self.governance)
        await postgres.listen(_CHANGES, self.governance.on_change)
        await self.governance.open(
            Valkey.connect(ground.valkey), self.ledger.journal_id, settings.ledger.lost_lease_hours
        )
        await self.governance.limits.declare(settings)
        self.alerting = Alerting(postgres, self._pool, ground.environ, self.tasks, self.metrics)
        self.alerting.watch(self.ledger)
        self._once = await AnsweringOnce.open(postgres, ground.secrets, self.tasks, self.metrics)

    def _show_figures(self) -> None:
        watch_process(self.metrics)
        show_gauges(
            self.metrics,
            gate=self.gate,
            pool=self._pool,
            ledger=self.ledger,
            keys=self.keys,
            routing=self.routing,
            valkey_is_up=self.governance.counters_are_there,
            reach=self.postgres.reach,
        )
        self.governance.show(self.metrics)
        show_benched_keys(self.metrics, lambda: self.in_force.accounts)
        self.tasks.spawn(keep_fresh(self.metrics), name="refresh metrics")

    def _keys(self, postgres: Postgres) -> Keys:
        return Keys(
            postgres,
            self.ground.secrets,
            self.tasks,
            master_key=self.ground.master_key,
            options=keys_options(self.settings),
            allowances=KeyAllowances(),
            before_use=lambda line_ids: self.governance.know_keys(line_ids),
        )

    def apply(self, settings: Settings) -> None:
        """Put `settings` in force, all or nothing. Raises SettingsError, and then nothing has changed."""
        use_webhooks = self.alerting.prepare(settings)
        self._use_routes(settings)
        use_webhooks()
        if settings is self.settings or settings.reporting != self.settings.reporting:
            self.meter.reporting = reporting_of(settings, self.ground.secrets)
        metered = settings.stage_enabled(Meter.name)
        self.gate.pipeline = self._pipeline(settings, meter=self.meter if metered else None)
        self.gate.limits = gate_limits(settings)
        self._request_log.set_sample(settings.logging.requests.sample)
        self.recorder.bodies = BodyLog(settings.logging.bodies, self.meter.reporting)
        self.settings = settings
        self.metrics.config_loaded_timestamp.child().set(time.time())

    def _use_routes(self, settings: Settings) -> None:
        routes = self.in_force.build(settings)
        before, self._secrets = self._secrets, self.in_force.secrets()
        # Requests under way may bring an answer to a key that has just been replaced.
        self.redactor.set_secrets({self.ground.master_key, *before, *self._secrets})
        self.routing.routes = routes
        self.meter.use(Prices.load(price_overrides(self.in_force.settings)), self.in_force.row_ids())
        self.governance.limits.use(self.in_force.settings)

    def _catalogue_changed(self) -> None:
        if not hasattr(self, "ports"):
            return  # it is read for the first time, and `apply` follows
        try:
            self._use_routes(self.settings)
        except SettingsError as error:  # a file or a variable that was there is not there any more
            _log.error("a change made over the admin API cannot be put in force: %s", error)

    def _pipeline(self, settings: Settings, *, meter: Meter | None) -> Pipeline:
        made: dict[str, Stage] = {
            Authenticate.name: self.authenticate,
            ReadRequest.name: ReadRequest(),
            ChooseRoute.name: ChooseRoute(self.routing),
            CheckReferences.name: self.check_references,
            **self._once.stages(settings),
        }
        admission: Admission = NoMeter()
        purse = None
        if meter is not None:
            made |= {Meter.name: meter, **self.governance.stages(meter, settings)}
            admission = self.governance.admission(meter, settings, self.alerting.alerts)
            purse = self.governance.purse(settings)
        retries = retry_options(settings, self.ground.workers)
        dispatch = self.dispatch = Dispatch(
            admission,
            retries,
            RetryBudget(retries, time.monotonic),
            RetryCounts(self.metrics),
            random.Random(),
            Passages(self.in_force.fetch),
        )
        return Pipeline([made[name] for name in ORDER if name in made], dispatch, purse)

    async def serve(self, host: str, port: int) -> None:
        """Listen. Raises PortTakenError, and OSError or ssl.SSLError for TLS files that are no use."""
        await self.front.serve(host, port)

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
            self.in_force.declare(self.governance.limits)
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
        if not await self.ledger.flush(_FLUSH_S):
            _log.warning(
                "%d journal rows are not in the database yet; the next start copies them", self.ledger.lag_rows
            )
        return done

    async def close(self) -> None:
        """End at once. Safe at any stage of building."""
        if hasattr(self, "ports"):
            await self.ports.stop()
            self.gate.close()
        await self.front.close()
        await self._pool.close()
        if hasattr(self, "ledger"):
            await self.governance.close()
            await self.ledger.close()
        await self.tasks.drain(0.0)
        self.metrics.refresh()  # also has the last requests told of
        if self._telemetry is not None:
            await asyncio.to_thread(self._telemetry.stop)
        if hasattr(self, "postgres"):
            await self.postgres.close()
        self.metrics.refresh()
        self.metrics.close()
        self._sink.flush()
