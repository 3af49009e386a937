"""Where a worker listens, and what is answered there."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from aiohttp import web

from gateway.assembly.administration import register_routes
from gateway.assembly.options import is_loopback
from gateway.pipeline.stages.choose_route import ChooseRoute
from gateway.server import routes
from gateway.server.admin.request import Route
from gateway.server.admin.state import StatePages
from gateway.server.anthropic.token_count import TokenCounts
from gateway.server.app import make_app, open_lanes
from gateway.server.openai.batch_accounts import BatchBook
from gateway.server.openai.models import ModelList
from gateway.server.openai.passthrough_routes import passthrough_routes
from gateway.server.openapi import openapi_document
from gateway.server.ports import bind, server_tls
from gateway.server.status_pages import StatusPages
from gateway.services.ledger.spending import Spending
from gateway.settings import dump, host_and_port
from gateway.upstream.relay import Relay

if TYPE_CHECKING:
    from gateway.assembly.worker import Worker

_STALE_S = 3.0


class Front:
    """The routes of one worker, and the ports on which they are served."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._started = int(time.time())
        self._runners: list[web.AppRunner] = []

    async def serve(self, host: str, port: int) -> None:
        """Listen. Raises PortTakenError, and OSError or ssl.SSLError for TLS files that are no use."""
        worker = self._worker
        settings = worker.settings
        pages = StatusPages(worker.gate, worker.metrics, self._details, openapi_document)
        public = self._public_routes(pages)
        private = [
            *routes.metrics_routes(pages),
            *routes.admin_routes(worker.authenticate, self._admin_handlers()),
        ]
        if settings.admin.listen is None:
            exposed = settings.admin.expose or is_loopback(host)
            public += private if exposed else routes.metrics_routes(pages)
        tls = settings.server.tls
        context = None if tls is None else server_tls(tls.cert_file, tls.key_file, tls.client_ca_file)
        shared = worker.ground.workers > 1
        runner, make_lane = await open_lanes(make_app(public, worker.recorder.answered), worker.gate)
        self._runners.append(runner)
        await worker.ports.listen(make_lane, bind(host, port, shared=shared), context)
        if settings.admin.listen is not None:
            app = make_app(private, worker.recorder.answered)
            runner, make_lane = await open_lanes(app, worker.gate, pipeline=False)
            self._runners.append(runner)
            host, port = host_and_port(settings.admin.listen)
            await worker.ports.listen(make_lane, bind(host, port, shared=shared), context)

    async def close(self) -> None:
        """Have aiohttp end what it serves."""
        for runner in self._runners:
            await runner.shutdown()
            await runner.cleanup()

    def _public_routes(self, pages: StatusPages) -> list[web.RouteDef]:
        worker = self._worker
        allowance = worker.governance.allowance.of
        models = ModelList(
            worker.authenticate, worker.routing, Spending(worker.postgres.for_requests()), allowance, self._started
        )
        relay = Relay(lambda: worker.dispatch, worker.tasks)
        counts = TokenCounts(
            worker.gate, worker.authenticate, ChooseRoute(worker.routing), worker.check_references, relay
        )
        return [
            *routes.pipeline_routes(worker.gate),
            *routes.client_routes(models, counts),
            *passthrough_routes(
                worker.gate,
                worker.authenticate,
                worker.routing,
                worker.postgres,
                worker.tasks,
                BatchBook(
                    worker.ledger,
                    worker.meter,
                    worker.metrics,
                    worker.in_force,
                    worker.governance.tell,
                    worker.alerting.alerts,
                ),
                accounts=lambda: worker.in_force.accounts,
                hidden=lambda document: worker.meter.reporting.hidden(document),
                dispatch=lambda: worker.dispatch,
                settings=lambda: worker.settings,
                home=worker.ground.home,
            ),
            *routes.status_routes(pages),
        ]

    def _admin_handlers(self) -> list[Route]:
        worker = self._worker
        return [
            *register_routes(worker.postgres, worker.keys.register),
            *worker.governance.admin_routes(worker.meter),
            *worker.in_force.admin_routes(worker.routing, lambda: worker.dispatch),
            *StatePages(worker.routing, worker.metrics, self._config_page).routes(),
        ]

    def _config_page(self) -> dict[str, Any]:
        worker = self._worker
        return {
            "files": [str(file) for file in worker.settings.source_files],
            "last_reload": worker.reload_state,
            "stages": [stage.name for stage in worker.gate.pipeline.stages],
            "providers": {name: account.base_url for name, account in worker.in_force.accounts.items()},
            "settings": dump(worker.settings),
        }

    def _postgres_state(self, stale_s: float) -> str:
        away_since = self._worker.postgres.reach.away_since
        if away_since is not None:
            away_s = time.monotonic() - away_since
            return f"away for {away_s:.0f} s: warm keys go on, what needs it is refused at once"
        return "ok" if stale_s < _STALE_S else f"not heard of for {stale_s:.0f} s"

    def _details(self) -> dict[str, Any]:
        worker = self._worker
        stale_s = worker.keys.stale_s()
        return {
            "stores": {
                "postgres": self._postgres_state(stale_s),
                "valkey": worker.governance.counters_state(),
            },
            "budgets": worker.governance.budgets_state(),
            "journal_lag_rows": worker.ledger.lag_rows,
        }
