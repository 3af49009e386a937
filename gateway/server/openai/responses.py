"""`/v1/responses` for models whose provider has no Responses API: by way of chat, and kept by the gateway itself.

Intake has found the key, read the body and chosen the targets, so a request joins the pipeline behind those stages. A
response is kept before its last bytes leave; where the database is slow they do not wait longer than `_HOLD_S`, and a
request that goes on from it waits instead, if it comes to the same worker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import uuid4

from aiohttp import web

from gateway.errors import GatewayError
from gateway.pipeline.call import Call, Reply
from gateway.pipeline.pipeline import Pipeline
from gateway.pipeline.references import keep_near, owner_of
from gateway.pipeline.stages.admit import Admit
from gateway.pipeline.stages.authenticate import Authenticate
from gateway.pipeline.stages.check_references import CheckReferences
from gateway.pipeline.stages.choose_route import ChooseRoute
from gateway.pipeline.stages.read_request import ReadRequest
from gateway.server.gate import Gate
from gateway.server.openai.intake import Plan
from gateway.server.openai.objects import Objects
from gateway.server.slow_sink import SlowSink, to_response
from gateway.services.keys.key import Key
from gateway.services.responses.keeping import Keeping
from gateway.services.responses.service import Responses
from gateway.tasks import Tasks
from gateway.upstream.dispatch import Dispatch
from gateway.upstream.job import Headers
from gateway.wire.dialect import Document
from gateway.wire.endpoints import RESPONSES
from gateway.wire.openai_operations import Operation
from gateway.wire.responses_history import (
    may_be_kept,
    needs_translation,
    previous_response,
    referenced_items,
    resolved,
    response_of_item,
    stored_items,
    without_history,
)
from gateway.wire.responses_inbound import INBOUND, ResponsesInbound
from gateway.wire.responses_stream import ResponseEncoder, response_bytes
from gateway.wire.usage import Usage

_HOLD_S = 2.0
_DONE_BY_INTAKE = frozenset(stage.name for stage in (Authenticate, Admit, ReadRequest, ChooseRoute, CheckReferences))


@dataclass(slots=True)
class _Turn:
    """One request: its response's id, what of it is to be kept (None: nothing), what is being written."""

    response_id: str
    plan: Plan
    previous_id: str | None
    items: list[Document] | None = None
    writing: list[asyncio.Task[None]] = field(default_factory=list)


class TranslatedResponses:
    """Answers requests for responses by chat, and those for responses that are kept. One per worker."""

    def __init__(
        self,
        gate: Gate,
        objects: Objects,
        responses: Responses,
        keeping: Keeping,
        tasks: Tasks,
        dispatch: Callable[[], Dispatch],
        hidden: Callable[[Document], Document],
    ) -> None:
        """Responses are kept as `hidden` gives them."""
        self._gate = gate
        self._objects = objects
        self._responses = responses
        self._keeping = keeping
        self._tasks = tasks
        self._dispatch = dispatch
        self._hidden = hidden
        self._whole: Pipeline | None = None
        self._rest: Pipeline

    # --- making one ---------------------------------------------------------------------------------

    async def goes_on_here(self, key: Key, document: Document) -> bool:
        """Does a request go on from what the gateway keeps, so that no provider could answer it alone?"""
        if needs_translation(document):
            return True
        previous = previous_response(document)
        if previous is None or not may_be_kept(previous):
            return False
        await self._keeping.settled(previous)
        return await self._responses.keeps(previous, owner_of(key))

    async def create(self, request: web.Request, call: Call, plan: Plan) -> web.StreamResponse:
        """Answer the request that intake has read. Raises GatewayError while nothing of the answer has left."""
        document = INBOUND.checked(call.document)
        await self._check_files(call, plan.key, document)
        turn = _Turn(f"resp_{uuid4().hex}", plan, previous_response(document))
        earlier = await self._earlier(plan, turn.previous_id)
        own = resolved(document, (), await self._items(plan, document))
        call.endpoint = RESPONSES
        call.canonical_document = INBOUND.canonical(resolved(own, earlier))
        if plan.learns:
            turn.items = stored_items(own, turn.response_id)
            await self._responses.check(turn.items)
        sink = _HoldingSink(request)
        call.speech = speech = _Speech(turn.response_id, lambda made: self._keep(turn, made, sink))
        work = self._tasks.spawn(self._run(call, sink, turn, speech), name="answer by chat")
        try:
            return await sink.send(work)
        finally:
            if not work.done():
                self._gate.client_gone(work)
                await asyncio.wait((work,))

    async def _check_files(self, call: Call, key: Key, document: Document) -> None:
        """Files must be the caller's own, and go only to the provider at which they lie."""
        near = await self._objects.check_references(key, without_history(document))
        keep_near(call, near)

    async def _earlier(self, plan: Plan, previous_id: str | None) -> list[Document]:
        if previous_id is None:
            return []
        await self._keeping.settled(previous_id)
        items = await self._responses.load_conversation(previous_id, plan.owner)
        if items is None:
            message = f"Previous response with id '{previous_id[:256]}' not found."
            raise GatewayError("not_found", message, param="previous_response_id")
        return items

    async def _items(self, plan: Plan, document: Document) -> dict[str, Document]:
        wanted = referenced_items(document)
        if not wanted:
            return {}
        for response_id in {response_of_item(item_id) for item_id in wanted} - {None}:
            await self._keeping.settled(response_id or "")
        found = await self._responses.find_items(plan.owner, wanted)
        for item_id in wanted:
            if item_id not in found:
                raise GatewayError("not_found", f"Item with id '{item_id[:256]}' not found.", param="input")
        return found

    async def _run(self, call: Call, sink: _HoldingSink, turn: _Turn, speech: _Speech) -> Reply | None:
        look = call.chunk_watcher  # the body log's, which of what is not the pipeline's sees streams only
        reply = await self._pipeline().run(call, sink)
        if reply is not None and look is not None:
            look(reply.body)
        if reply is not None and call.error is None and speech.made is not None:
            self._keep(turn, speech.made, sink)
        if turn.writing:
            await asyncio.wait(turn.writing, timeout=_HOLD_S)
        sink.release()
        return reply

    def _pipeline(self) -> Pipeline:
        """The stages behind those that intake has done the work of, as they are in force."""
        whole = self._gate.pipeline
        if whole is not self._whole:
            rest = [stage for stage in whole.stages if stage.name not in _DONE_BY_INTAKE]
            self._whole, self._rest = whole, Pipeline(rest, self._dispatch())
        return self._rest

    def _keep(self, turn: _Turn, made: Document, sink: _HoldingSink) -> None:
        if turn.items is not None:
            sink.hold()
            turn.writing.append(
                self._keeping.begin(turn.response_id, turn.plan.owner, turn.items, self._hidden(made), turn.previous_id)
            )

    # --- asking for one -----------------------------------------------------------------------------

    async def stored(self, operation: Operation, request: web.Request, call: Call, key: Key) -> web.Response | None:
        """The answer about a response that is kept here and the caller's own, else None. Raises GatewayError."""
        response_id = request.match_info["id"]
        if not may_be_kept(response_id):
            return None
        await self._keeping.settled(response_id)
        found = await self._about(operation, request, key, response_id)
        if found is None:
            return None
        headers: Headers = [(b"content-type", b"application/json")]
        call.add_headers(headers)
        return to_response(Reply(200, response_bytes(found), headers))

    async def _about(self, operation: Operation, request: web.Request, key: Key, response_id: str) -> Document | None:
        owner, responses = owner_of(key), self._responses
        if operation.method == "DELETE":
            deleted = await responses.delete(response_id, owner)
            return {"id": response_id, "object": "response", "deleted": True} if deleted else None
        if operation.path.endswith("/input_items"):
            query = request.query
            page = await responses.input_items(
                response_id,
                owner,
                limit=_limit(query.get("limit", "20")),
                order=query.get("order", "desc"),
                after=query.get("after"),
            )
            return None if page is None else page.document()
        found = await responses.get(response_id, owner)
        if found is not None and operation.method == "POST":
            raise GatewayError("invalid_request", "Only a response with 'background: true' can be cancelled.")
        if found is not None and request.query.get("stream") == "true":
            message = "Only a response with 'background: true' can be streamed again."
            raise GatewayError("invalid_field", message, param="stream")
        return found


class _Speech(ResponsesInbound):
    """The API for one request. `made` is the response of a whole answer; that of a stream is told to `finished`."""

    def __init__(self, response_id: str, finished: Callable[[Document], None]) -> None:
        super().__init__(response_id)
        self._id = response_id
        self._finished = finished
        self.made: Document | None = None

    def render(self, answer: Document, usage: Usage | None, document: Document) -> bytes:
        """A canonical answer as the client's body."""
        self.made = self.response(answer, usage, document)
        return response_bytes(self.made)

    def encoder(self, document: Document) -> ResponseEncoder:
        """For one stream."""
        return _Encoder(document, self._id, self._finished)


class _Encoder(ResponseEncoder):
    """Tells of a response that came to its proper end, before the events that say so are written."""

    __slots__ = ("_finished",)

    def __init__(self, document: Document, response_id: str, finished: Callable[[Document], None]) -> None:
        super().__init__(document, response_id)
        self._finished = finished

    def finish(self, usage: Usage | None) -> bytes:
        """The events that end a complete stream."""
        events = super().finish(usage)
        if events and self.response is not None:
            self._finished(self.response)
        return events


class _HoldingSink(SlowSink):
    """Holds back what is written between `hold` and `release`: the events that end a stream."""

    def __init__(self, request: web.BaseRequest) -> None:
        super().__init__(request)
        self._held: list[bytes] | None = None

    def hold(self) -> None:
        """From now on nothing leaves."""
        self._held = []

    def release(self) -> None:
        """Write what was held back."""
        held, self._held = self._held, None
        super().write(b"".join(held or ()))

    def write(self, data: bytes) -> None:
        """A piece of the answer."""
        if self._held is None:
            super().write(data)
        else:
            self._held.append(data)


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 6):
        raise GatewayError("invalid_field", "The field 'limit' must be a whole number.", param="limit")
    return int(text)
