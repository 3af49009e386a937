"""Joins the parts of what is passed through; assembly calls this once for each worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from aiohttp import web

from gateway.pipeline.stages.authenticate import Authenticate
from gateway.pipeline.stages.choose_route import ChooseRoute
from gateway.pipeline.stages.meter import Meter
from gateway.providers.registry import PROVIDERS
from gateway.server.gate import Gate
from gateway.server.openai.batch_accounts import BatchSource
from gateway.server.openai.intake import Intake, PassthroughOptions, ResponsesRule
from gateway.server.openai.objects import Objects
from gateway.server.openai.passthrough import Passthrough
from gateway.server.openai.providers import Providers
from gateway.server.openai.responses import TranslatedResponses
from gateway.services.batches.service import Batches, Book
from gateway.services.ownership.service import Ownership
from gateway.services.responses.keeping import Keeping
from gateway.services.responses.service import Responses
from gateway.services.routing.routes import Routing
from gateway.settings import Settings
from gateway.store.postgres import Postgres
from gateway.tasks import Tasks
from gateway.upstream.dispatch import Dispatch
from gateway.upstream.relay import Relay
from gateway.upstream.target import Account
from gateway.wire.dialect import Document

_MB = 1_048_576
_KB = 1024
# Batches looked at in one worker at a time: one with a long output file must not hold up the rest.
_BATCHES_AT_ONCE = 4


def passthrough_routes(
    gate: Gate,
    authenticate: Authenticate,
    routing: Routing,
    postgres: Postgres,
    tasks: Tasks,
    book: Book,
    *,
    accounts: Callable[[], Mapping[str, Account]],
    hidden: Callable[[Document], Document],
    dispatch: Callable[[], Dispatch],
    settings: Callable[[], Settings],
    home: Path,
) -> list[web.RouteDef]:
    """A route for each operation of `OPERATIONS`. What is given as a function is asked anew by every request, so a
    reload takes effect at once. Batches that have ended are metered in `book`; responses are kept as `hidden`
    gives them, without what must not be written down.
    """

    def options() -> PassthroughOptions:
        return _options(settings(), home)

    objects = Objects(Ownership(postgres))
    providers = Providers(routing, accounts)
    kept = Responses(postgres)
    keeping = Keeping(kept, tasks)
    tasks.spawn(keeping.prune_for_ever(), name="remove old responses")
    responses = TranslatedResponses(gate, objects, kept, keeping, tasks, dispatch, hidden)
    rule = ResponsesRule(frozenset(_with_responses()), responses.goes_on_here)
    intake = Intake(gate, ChooseRoute(routing), objects, providers, tasks, options, rule)
    relay = Relay(dispatch, tasks)
    source = BatchSource(providers, relay, lambda: options().max_answer_bytes)
    batches = _metered_batches(postgres, source, book, tasks, settings)
    return Passthrough(gate, authenticate, intake, objects, providers, relay, responses, batches, options).routes()


def _metered_batches(
    postgres: Postgres, source: BatchSource, book: Book, tasks: Tasks, settings: Callable[[], Settings]
) -> Batches:
    batches = Batches(
        postgres,
        source,
        book,
        interval_s=lambda: settings().batches.poll_interval_s,
        enabled=lambda: settings().stage_enabled(Meter.name),
    )
    for _ in range(_BATCHES_AT_ONCE):
        tasks.spawn(batches.meter_for_ever(), name="meter batches")
    return batches


def _options(settings: Settings, home: Path) -> PassthroughOptions:
    return PassthroughOptions(
        spool_directory=home / "tmp",
        spool_max_bytes=settings.passthrough.spool_max_mb * _MB,
        spool_memory_bytes=settings.passthrough.spool_memory_kb * _KB,
        max_upload_bytes=settings.server.max_upload_mb * _MB,
        max_answer_bytes=settings.upstream.max_answer_mb * _MB,
        provider=settings.passthrough.provider,
    )


def _with_responses() -> Iterator[str]:
    """The provider types that have OpenAI's Responses API."""
    return (name for name, known in PROVIDERS.items() if known.responses)
