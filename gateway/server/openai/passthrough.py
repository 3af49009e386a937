"""The endpoints that are passed through to an OpenAI-type provider: who may, where to, and there and back.

A request for a response that its model's provider cannot take as it is goes another way: see `responses.py`.

The order is the pipeline's: the key first, then the body as far as it decides where it goes, then the owner of
what it touches; only then does anything leave. Bodies and answers are streamed; see `forms.py` and `answers.py`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from gateway.errors import GatewayError
from gateway.pipeline.call import Call, Reply
from gateway.pipeline.pipeline import render_error
from gateway.pipeline.references import owner_of
from gateway.pipeline.stages.authenticate import Authenticate
from gateway.pipeline.stages.meter import NoMeter
from gateway.server.admitted import admitted, weigh
from gateway.server.gate import Gate
from gateway.server.openai.answers import Answer
from gateway.server.openai.batch_accounts import creation_of
from gateway.server.openai.fetching import read_object, says_gone
from gateway.server.openai.forms import FormBody
from gateway.server.openai.intake import Intake, PassthroughOptions, Plan
from gateway.server.openai.listing import Fetched, list_objects
from gateway.server.openai.objects import Objects, checked_id
from gateway.server.openai.providers import Providers
from gateway.server.openai.responses import TranslatedResponses
from gateway.server.recorder import Recorded
from gateway.server.slow_sink import headers_of, to_response
from gateway.services.batches.service import Batches
from gateway.services.keys.key import Key
from gateway.services.ownership.service import Owned
from gateway.upstream.job import Headers
from gateway.upstream.relay import Relay
from gateway.upstream.relayed import Outgoing
from gateway.wire.dialect import Document
from gateway.wire.openai_objects import BATCH, RESPONSE
from gateway.wire.openai_operations import CREATE_RESPONSE, OPERATIONS, Operation

_log = logging.getLogger("gateway.server")

# Long enough for half a gigabyte over a slow line; silence ends a transfer much sooner.
_TRANSFER_S = 3600.0
_ABANDONED = frozenset({"body_too_large", "request_timeout", "invalid_http"})


class Passthrough:
    """Handlers for `OPERATIONS`. `options` are asked for anew by every request."""

    def __init__(
        self,
        gate: Gate,
        authenticate: Authenticate,
        intake: Intake,
        objects: Objects,
        providers: Providers,
        relay: Relay,
        responses: TranslatedResponses,
        batches: Batches,
        options: Callable[[], PassthroughOptions],
    ) -> None:
        self._gate = gate
        self._authenticate = authenticate
        self._intake = intake
        self._objects = objects
        self._providers = providers
        self._relay = relay
        self._responses = responses
        self._batches = batches
        self._options = options

    def routes(self) -> list[web.RouteDef]:
        """One for each operation."""

        def handler(operation: Operation) -> Callable[[web.Request], Any]:
            async def handle(request: web.Request) -> web.StreamResponse:
                return await self.handle(operation, request)

            return handle

        return [web.route(made.method, f"/v1{made.path}", handler(made)) for made in OPERATIONS]

    async def handle(self, operation: Operation, request: web.Request) -> web.StreamResponse:
        """Answer one request, counted and recorded as the pipeline's are."""
        gate = self._gate
        call = Call(operation.endpoint, headers_of(request), b"", request.remote or "")
        request[Recorded] = True
        gate.in_flight += 1
        gate.recorder.begun(call)
        try:
            response = await self._answer(operation, request, call)
            call.status = response.status
            call.error = call.error or call.broken
            return response
        except GatewayError as error:
            return _refused(call, error)
        except (asyncio.CancelledError, ConnectionError):
            call.error = GatewayError("client_gone", "The client closed the connection.")
            call.status = 499
            raise
        except Exception:
            _log.exception("request %s failed", call.request_id)
            refused = _refused(call, GatewayError("internal_error", "The gateway failed to handle this request."))
            if request.writer.output_size > 0:  # an answer had begun: all that is left is to hang up
                raise ConnectionError("an answer had begun") from None
            return refused
        finally:
            gate.in_flight -= 1
            gate.recorder.finished(call)

    async def _answer(self, operation: Operation, request: web.Request, call: Call) -> web.StreamResponse:
        call.key = key = await self._authenticate.identify(call.headers, operation.word)
        async with admitted(self._gate, call):
            return await self._answer_admitted(operation, request, call, key)

    async def _answer_admitted(
        self, operation: Operation, request: web.Request, call: Call, key: Key
    ) -> web.StreamResponse:
        if operation.lists is not None:
            return await self._list(operation, request, call, key)
        plan = Plan(key, owner_of(key), _path(operation, request))
        if operation.about == RESPONSE:
            kept = await self._responses.stored(operation, request, call, key)
            if kept is not None:
                return kept
        if operation.about is not None:
            plan.about = await self._objects.locate(key, operation.about, request.match_info["id"])
        async with self._intake.reading(operation, request, call, plan):
            if plan.translated:
                return await self._responses.create(request, call, plan)
            if operation.creates or (operation is CREATE_RESPONSE and plan.learns):
                await self._objects.ownership.check()
            if operation.metered:
                await weigh(self._gate, call)
            return await self._send(operation, request, call, plan)

    # --- there and back ---------------------------------------------------------------------------

    async def _send(self, operation: Operation, request: web.Request, call: Call, plan: Plan) -> web.StreamResponse:
        owner = plan.about.owner if plan.about is not None else plan.owner

        async def learn(provider: str, document: Document) -> None:
            if operation.makes == BATCH:
                await self._learn_batch(operation, call, plan.key, provider, document)
            if plan.learns:
                await self._objects.learn(operation, owner, provider, document)

        answer = Answer(operation, request, call, learn=learn, max_json_bytes=self._options().max_answer_bytes)
        outgoing = Outgoing(
            operation.method,
            plan.path,
            plan.body,
            self._relay.dispatch().admission if operation.metered else NoMeter(),
            creates=operation.creates,
            patience_s=_TRANSFER_S if operation.raw or isinstance(plan.body, FormBody) else None,
            hear_out=answer.hear_out if operation.metered and not operation.raw else None,
        )
        try:
            response = await self._relay.run(call, outgoing, answer.give)
        except GatewayError as error:
            if plan.about is not None and says_gone(error):
                await self._forget(plan.about, operation)
            raise
        if operation.method == "DELETE" and plan.about is not None:
            await self._objects.ownership.forget(plan.about.provider, plan.about.kind, plan.about.object_id)
        return response

    async def _learn_batch(self, operation: Operation, call: Call, key: Key, provider: str, document: Document) -> None:
        """Have it metered when it has ended: it is new, or this may be the first sight of its end."""
        if operation.creates:
            who = {"key_id": key.id, "team_id": key.team_id, "user_id": key.user_id}
            made = None if call.entry is None else creation_of(call.entry)
            await self._batches.record(provider, document, made, **who)
        await self._batches.seen(provider, document)

    async def _forget(self, about: Owned, operation: Operation) -> None:
        """The provider has it no more; only its own page or its deletion is proof of that."""
        if operation.path.endswith("{id}"):
            await self._objects.ownership.forget(about.provider, about.kind, about.object_id)

    async def _list(self, operation: Operation, request: web.Request, call: Call, key: Key) -> web.StreamResponse:
        kind = operation.lists
        assert kind is not None
        max_bytes = self._options().max_answer_bytes

        async def fetch(owned: Owned) -> Fetched:
            if owned.provider not in self._providers:
                return b"", {}
            part = Call(operation.endpoint, call.headers, b"", call.client_ip)
            part.targets = [self._providers.named(owned.provider)]
            outgoing = Outgoing("GET", f"{operation.path}/{checked_id(owned.object_id)}", None, NoMeter())
            try:
                fetched = await self._relay.run(part, outgoing, partial(read_object, max_bytes=max_bytes))
            except GatewayError as error:
                if says_gone(error):
                    return None
                raise
            finally:
                call.outcomes.extend(part.outcomes)
            if kind == BATCH:
                await self._batches.seen(owned.provider, fetched[1])
            return fetched

        body = await list_objects(self._objects.ownership, owner_of(key), kind, request.query, fetch)
        headers: Headers = [(b"content-type", b"application/json")]
        call.add_headers(headers)
        return to_response(Reply(200, body, headers))


def _path(operation: Operation, request: web.Request) -> str:
    """The provider's path, with nothing in it that could be another. Raises invalid_field."""
    path = operation.path
    if operation.about is not None:
        path = path.replace("{id}", checked_id(request.match_info["id"]))
    query = urlencode(list(request.query.items()), errors="replace")
    return f"{path}?{query}" if query else path


def _refused(call: Call, error: GatewayError) -> web.Response:
    call.error = error
    call.status = error.status
    response = to_response(render_error(call, error))
    if error.code in _ABANDONED:  # the rest of the body is not waited for
        response.force_close()
    return response
