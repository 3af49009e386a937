"""Joins the parts of what is passed through; assembly calls this once for each worker."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from aiohttp import web

from gateway.pipeline.stages.authenticate import Authenticate
from gateway.pipeline.stages.choose_route import ChooseRoute
from gateway.server.gate import Gate
from gateway.server.openai.intake import Intake, PassthroughOptions
from gateway.server.openai.objects import Objects
from gateway.server.openai.passthrough import Passthrough
from gateway.server.openai.providers import Providers
from gateway.services.ownership.service import Ownership
from gateway.services.routing.routes import Routing
from gateway.settings import Settings
from gateway.store.postgres import Postgres
from gateway.tasks import Tasks
from gateway.upstream.dispatch import Dispatch
from gateway.upstream.relay import Relay
from gateway.upstream.target import Account

_MB = 1_048_576
_KB = 1024


def passthrough_routes(
    gate: Gate,
    authenticate: Authenticate,
    routing: Routing,
    postgres: Postgres,
    tasks: Tasks,
    *,
    accounts: Callable[[], Mapping[str, Account]],
    dispatch: Callable[[], Dispatch],
    settings: Callable[[], Settings],
    home: Path,
) -> list[web.RouteDef]:
    """A route for each operation of `OPERATIONS`. What is given as a function is asked anew by every request, so a
    reload takes effect at once.
    """

    def options() -> PassthroughOptions:
        now = settings()
        return PassthroughOptions(
            spool_directory=home / "tmp",
            spool_max_bytes=now.passthrough.spool_max_mb * _MB,
            spool_memory_bytes=now.passthrough.spool_memory_kb * _KB,
            max_upload_bytes=now.server.max_upload_mb * _MB,
            max_answer_bytes=now.upstream.max_answer_mb * _MB,
            provider=now.passthrough.provider,
        )

    objects = Objects(Ownership(postgres))
    providers = Providers(routing, accounts)
    intake = Intake(gate, ChooseRoute(routing), objects, providers, tasks, options)
    return Passthrough(gate, authenticate, intake, objects, providers, Relay(dispatch, tasks), options).routes()
