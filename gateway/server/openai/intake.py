"""Reading a request as far as it decides where it goes, and choosing its targets."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from gateway.errors import GatewayError
from gateway.pipeline.call import Call
from gateway.pipeline.references import targets_near
from gateway.pipeline.stages.choose_route import ChooseRoute
from gateway.pipeline.stages.read_request import check_content_type
from gateway.server.gate import Gate
from gateway.server.openai.client_watch import watching
from gateway.server.openai.forms import Incoming, JsonBody, read_form
from gateway.server.openai.objects import Objects, is_stored, storage_changes
from gateway.server.openai.providers import Providers
from gateway.server.openai.spool import Spool
from gateway.server.slow_sink import read_body
from gateway.services.keys.key import Key
from gateway.services.ownership.service import Owned, Owner
from gateway.tasks import Tasks
from gateway.upstream.relayed import Body
from gateway.upstream.target import Target
from gateway.wire.dialect import Document
from gateway.wire.multipart import Form, boundary_of
from gateway.wire.openai import read_json_object
from gateway.wire.openai_operations import CREATE_RESPONSE, RESPONSES, Operation, Takes
from gateway.wire.responses_history import previous_response

_MAX_SMALL_BODY_BYTES = 65_536
_MAX_MODEL_CHARS = 256


@dataclass(frozen=True, slots=True)
class PassthroughOptions:
    """Sizes in bytes; `spool_directory` is made where it is missing. See `passthrough` in docs/configuration.md."""

    spool_directory: Path
    spool_max_bytes: int
    spool_memory_bytes: int
    max_upload_bytes: int
    max_answer_bytes: int
    provider: str | None = None


@dataclass(slots=True)
class Plan:
    """What has been found out about a request: all that is needed to send it and to read its answer.

    `translated` marks a request for a response that no provider's Responses API is to answer; its targets are chosen.
    """

    key: Key
    owner: Owner
    path: str
    body: Body | None = None
    learns: bool = True
    about: Owned | None = None
    translated: bool = False


@dataclass(frozen=True, slots=True)
class ResponsesRule:
    """Which provider types have a Responses API, and which requests go on from what the gateway keeps itself."""

    native: Collection[str]
    goes_on_here: Callable[[Key, Document], Awaitable[bool]]

    def is_native(self, target: Target) -> bool:
        """Can `target` be asked for a response as the client asks?"""
        return target.account.type in self.native and not target.account.local


class Intake:
    """One per worker. `options` are asked for anew by every request."""

    def __init__(
        self,
        gate: Gate,
        routes: ChooseRoute,
        objects: Objects,
        providers: Providers,
        tasks: Tasks,
        options: Callable[[], PassthroughOptions],
        responses: ResponsesRule,
    ) -> None:
        self._gate = gate
        self._routes = routes
        self._objects = objects
        self._providers = providers
        self._tasks = tasks
        self._options = options
        self._responses = responses

    @contextlib.asynccontextmanager
    async def reading(self, operation: Operation, request: web.Request, call: Call, plan: Plan) -> AsyncIterator[None]:
        """Read what decides, and set `plan.body` and `call.targets`; what was spooled is gone afterwards."""
        coding = call.headers.get(b"content-encoding")
        if coding and coding.lower() != b"identity":
            raise GatewayError("unsupported_media_type", "A compressed body (content-encoding) is not supported.")
        kind = call.headers.get(b"content-type", b"")
        takes = operation.takes
        if takes is Takes.FORM_OR_JSON:
            takes = Takes.FORM if kind.lower().startswith(b"multipart/") else Takes.JSON
        if takes is Takes.FORM:
            options = self._options()
            spool = Spool(
                options.spool_directory, max_bytes=options.spool_max_bytes, memory_bytes=options.spool_memory_bytes
            )
            with contextlib.closing(spool):
                async with watching(request, self._tasks):
                    await self._read_form(operation, request, call, plan, spool)
                    yield
            return
        if takes is Takes.JSON:
            await self._read_json(operation, request, call, plan)
        else:
            await self._read_nothing(request, call, plan)
            self._choose(operation, call, plan, None, set())
        yield

    async def _read_nothing(self, request: web.Request, call: Call, plan: Plan) -> None:
        """A body that means nothing here goes on as it came, if it is small and JSON."""
        timeout_s = self._gate.limits.body_timeout_s
        body = await read_body(request, _MAX_SMALL_BODY_BYTES, timeout_s)
        if body.strip() and request.method != "GET":
            call.body, call.document = body, read_json_object(body)
            plan.body = JsonBody(call, {})

    async def _read_json(self, operation: Operation, request: web.Request, call: Call, plan: Plan) -> None:
        kind = call.headers.get(b"content-type")
        if kind is not None:
            check_content_type(kind)
        limits = self._gate.limits
        body = await read_body(request, limits.max_body_bytes, limits.body_timeout_s)
        document = read_json_object(body)
        changes: dict[str, Any] = {}
        if operation is CREATE_RESPONSE:
            changes = storage_changes(plan.key, document)
            plan.learns = is_stored(document, changes)
        stream = document.get("stream")
        if stream is not None and type(stream) is not bool:
            raise GatewayError("invalid_field", "The field 'stream' must be true or false.", param="stream")
        call.body, call.document, call.stream = body, document, stream is True
        model = _model_of(operation, document)
        if operation is CREATE_RESPONSE:
            call.asked_model = document["model"]
            await self._choose_for_response(call, plan, {**document, **changes})
            if plan.translated:
                return
        near = await self._objects.check_references(plan.key, document)
        if operation is CREATE_RESPONSE:
            targets = targets_near(call, near)
            place = targets[0].path(RESPONSES.name)  # one path is sent to all
            call.targets = [target for target in targets if target.path(RESPONSES.name) == place]
            set_path(plan, targets[0])
        else:
            self._choose(operation, call, plan, model, near)
        plan.body = JsonBody(call, changes)

    async def _choose_for_response(self, call: Call, plan: Plan, document: Document) -> None:
        """The targets that a request for a response may go to, and whether it is to be translated.

        The first target decides, but a request that goes on from a response goes where that is.
        """
        self._routes.on_request(call)
        rule = self._responses
        native = [target for target in call.targets if rule.is_native(target)]
        if native and not await rule.goes_on_here(plan.key, document):
            previous = previous_response(document)
            if previous is not None or rule.is_native(call.targets[0]):
                call.targets = native
                return
        call.document = document
        plan.translated = True

    async def _read_form(
        self, operation: Operation, request: web.Request, call: Call, plan: Plan, spool: Spool
    ) -> None:
        options = self._options()
        kind = call.headers.get(b"content-type", b"")
        form = Form(boundary_of(kind), {"model", "stream"} if operation.model else ())
        incoming = Incoming(request, options.max_upload_bytes, self._gate.limits.body_timeout_s)
        body = await read_form(
            kind,
            form,
            spool,
            incoming,
            needs_model=bool(operation.model),
            small_bytes=min(options.spool_memory_bytes, options.spool_max_bytes),
        )
        call.stream = body.value("stream") in ("true", "True", "1")
        document: Document = {} if body.model is None else {"model": body.model}
        self._choose(operation, call, plan, _model_of(operation, document), set())
        plan.body = body

    def _choose(self, operation: Operation, call: Call, plan: Plan, model: str | None, near: set[str]) -> None:
        """The targets: by model, else where the object lies, else by configuration. Raises GatewayError."""
        if plan.about is not None:
            call.targets = [self._providers.named(plan.about.provider)]
            if operation.endpoint is RESPONSES:
                set_path(plan, call.targets[0])
            return
        if model is not None:
            route = self._routes.find(plan.key, model)
            call.asked_model, call.model = model, route.model
            call.targets = self._providers.of_route(route, near)
            return
        if operation.model and plan.key.models is not None:
            message = "The field 'model' is required: this API key may use certain models only."
            raise GatewayError("missing_field", message, param="model")
        call.targets = [
            self._providers.named(near.pop()) if near else self._providers.default(self._options().provider)
        ]


def set_path(plan: Plan, target: Target) -> None:
    """Some providers have their responses elsewhere than below the base URL's path."""
    place = target.path(RESPONSES.name)
    if place:
        plan.path = place.removeprefix(target.account.base_path) + plan.path.removeprefix(RESPONSES.upstream_path)


def _model_of(operation: Operation, document: Document) -> str | None:
    """The model that a body names. Raises missing_field, invalid_field."""
    model = document.get("model")
    if not operation.model or (model is None and operation.model == "may"):
        return None
    if model is None:
        raise GatewayError("missing_field", "The field 'model' is required.", param="model")
    if type(model) is not str or not 0 < len(model) <= _MAX_MODEL_CHARS:
        message = f"The field 'model' must be a string of 1 to {_MAX_MODEL_CHARS} characters."
        raise GatewayError("invalid_field", message, param="model")
    return model
