"""POST /v1/messages/count_tokens: the provider's own count where it has one, else an estimate."""

from __future__ import annotations

from aiohttp import web

from gateway.errors import GatewayError
from gateway.pipeline.call import Call, Reply
from gateway.pipeline.pipeline import render_error
from gateway.pipeline.stage import take_turn
from gateway.pipeline.stages.authenticate import Authenticate
from gateway.pipeline.stages.check_references import CheckReferences
from gateway.pipeline.stages.choose_route import ChooseRoute
from gateway.pipeline.stages.meter import NoMeter
from gateway.pipeline.stages.read_request import check_content_type
from gateway.server.admitted import admitted
from gateway.server.gate import Gate
from gateway.server.slow_sink import headers_of, read_body, to_response
from gateway.upstream.relay import Relay
from gateway.upstream.relayed import Exchange, Outgoing, WholeBody
from gateway.wire.anthropic_error import read_error
from gateway.wire.anthropic_inbound import INBOUND
from gateway.wire.anthropic_inbound_thinking import without_foreign_marks
from gateway.wire.dialect import Document
from gateway.wire.endpoints import MESSAGES
from gateway.wire.plain_json import to_json
from gateway.wire.token_estimate import estimate_prompt_tokens

PATHS = ("/v1/messages/count_tokens", "/anthropic/v1/messages/count_tokens")
_UPSTREAM_PATH = "/messages/count_tokens"
_MAX_ANSWER_BYTES = 1_048_576
# What an endpoint says that speaks Anthropic's format and counts no tokens.
_NOT_FOUND = 404
_LACKING = frozenset({_NOT_FOUND, 405, 501})


class TokenCounts:
    """Answers for any model that the key may use; nothing is metered, for providers count for nothing."""

    def __init__(
        self,
        gate: Gate,
        authenticate: Authenticate,
        choose_route: ChooseRoute,
        check_references: CheckReferences,
        relay: Relay,
    ) -> None:
        self._gate = gate
        self._authenticate = authenticate
        self._choose_route = choose_route
        self._check_references = check_references
        self._relay = relay

    async def count(self, request: web.Request) -> web.Response:
        """`{"input_tokens": n}`. Raises GatewayError."""
        call = Call(MESSAGES, headers_of(request), b"", request.remote or "")
        call.key = await self._authenticate.identify(call.headers, MESSAGES.word)
        try:
            async with admitted(self._gate, call):
                return await self._count(request, call)
        except GatewayError as error:
            if call.governed is None or error.status != 429:
                raise
            return to_response(render_error(call, error))

    async def _count(self, request: web.Request, call: Call) -> web.Response:
        check_content_type(request.content_type.encode("latin-1", "replace"))
        limits = self._gate.limits
        call.body = await read_body(request, limits.max_body_bytes, limits.body_timeout_s)
        call.document = document = INBOUND.read_count_request(call.body)
        call.asked_model = document["model"]
        self._choose_route.on_request(call)
        await take_turn(self._check_references, call)
        dialect = call.targets[0].account.dialect
        try:
            body = None
            if dialect is not None and dialect.name == INBOUND.name:
                body = await self._ask(call, document)
            if body is None:
                body = INBOUND.render_count(estimate_prompt_tokens(call.canonical()))
        except GatewayError as error:
            return to_response(render_error(call, error))
        headers = [(b"content-type", b"application/json")]
        call.add_headers(headers)
        return to_response(Reply(200, body, headers))

    async def _ask(self, call: Call, document: Document) -> bytes | None:
        """The provider's own answer; None where it has no such endpoint. Raises GatewayError."""
        kept = without_foreign_marks(document)
        call.targets = [target for target in call.targets if target.account.dialect is call.targets[0].account.dialect]
        body = WholeBody(lambda model: to_json({**kept, "model": model}))
        outgoing = Outgoing("POST", _UPSTREAM_PATH, body, NoMeter(), taken=_LACKING)
        return await self._relay.run(call, outgoing, _read)


async def _read(exchange: Exchange) -> bytes | None:
    """The count's body; None where there is none to be had. Raises GatewayError where it is the model that is not
    found: Anthropic names it then."""
    status, target = exchange.answer.status, exchange.target
    body = await exchange.answer.read_all(_MAX_ANSWER_BYTES)
    if status == _NOT_FOUND and target.model.encode() in body:
        raise read_error(target.provider, status, body)
    exchange.settle(None)
    return None if status in _LACKING else body
