"""Writing a provider's answer on to the client: whole JSON, streams of events, and bytes of any kind.

The account is settled before the last byte leaves; what is larger than memory should hold goes through piece by
piece, and a client that takes it slowly slows the provider.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import orjson
from aiohttp import web

from gateway.errors import GatewayError
from gateway.pipeline.call import Call
from gateway.server.slow_lane import decoded
from gateway.upstream.job import Headers
from gateway.upstream.relayed import Exchange
from gateway.wire.dialect import Document
from gateway.wire.openai import read_usage
from gateway.wire.openai_answer import read_answer
from gateway.wire.openai_events import EventTap, closing_event
from gateway.wire.openai_operations import IMAGES, Operation
from gateway.wire.splice import replace_top_level_model
from gateway.wire.usage import Usage

# What the client gets to see of the provider's headers.
_PASSED = frozenset({b"openai-processing-ms", b"openai-version"})
_PASSED_RAW = _PASSED | {b"content-disposition"}
_AFTER_DONE_S = 1.0
_EVENTS = b"text/event-stream"

Learn = Callable[[str, Document], Awaitable[None]]


class Answer:
    """Gives one exchange's answer to the client. `learn` is told each object that it carries."""

    def __init__(
        self, operation: Operation, request: web.Request, call: Call, *, learn: Learn, max_json_bytes: int
    ) -> None:
        self._operation = operation
        self._request = request
        self._call = call
        self._learn = learn
        self._max_json_bytes = max_json_bytes
        self._tap: EventTap | None = None  # of the stream that has begun

    async def give(self, exchange: Exchange) -> web.StreamResponse:
        """Write the answer. Raises GatewayError while nothing of it has left."""
        answer = exchange.answer
        kind = _kind(exchange)
        if answer.header(b"content-encoding").lower() not in (b"", b"identity"):
            raise GatewayError("upstream_bad_answer", "The provider compressed its answer, which nobody had asked for.")
        if kind == _EVENTS:
            return await self._stream_events(exchange)
        if self._operation.raw and kind != b"application/json":
            return await self._stream_bytes(exchange)
        if self._operation.raw and self._operation.method == "GET":  # a file's content may be JSON by chance
            return await self._stream_bytes(exchange)
        return await self._whole(exchange)

    async def hear_out(self, exchange: Exchange) -> None:
        """Take the rest of an answer whose client has gone, and settle by what it says. Raises GatewayError."""
        if self._tap is None and _kind(exchange) != _EVENTS:
            await self._whole(exchange)
            return
        tap = self._tap or EventTap(None)
        self._call.stream = exchange.outcome.streamed = True
        try:
            await self._events_to_the_end(exchange, tap, _to_nobody, b"")
        except GatewayError as error:
            exchange.settle(tap.usage, error, streamed_tokens=tap.estimate_completion_tokens())

    def _renamed(self, exchange: Exchange) -> str | None:
        """The alias to put in place of the model's name, if the client asked for one."""
        asked = self._call.asked_model
        return asked if asked and asked != exchange.target.model else None

    # --- whole answers ----------------------------------------------------------------------------

    async def _whole(self, exchange: Exchange) -> web.StreamResponse:
        answer, call = exchange.answer, self._call
        body = await answer.read_all(self._max_json_bytes)
        body, usage, document = self._read(body, self._renamed(exchange))
        exchange.settle(usage)
        if document is not None:
            await self._learn(exchange.target.provider, document)
        call.status = answer.status
        headers: Headers = [(b"content-type", b"application/json")] if body else []
        headers += [header for header in answer.headers if header[0] in _PASSED]
        call.add_headers(headers)
        return web.Response(status=answer.status, body=body, headers=decoded(headers))

    def _read(self, body: bytes, rename_to: str | None) -> tuple[bytes, Usage | None, Document | None]:
        """The client's bytes, the usage, and the object where it is of interest. Raises upstream_bad_answer."""
        operation = self._operation
        if not body and operation.method == "DELETE":
            return body, None, None
        if operation.endpoint is IMAGES:  # maybe megabytes of pictures
            body, usage = read_answer(body, rename_to)
            return body, usage, None
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError:
            document = None
        if type(document) is not dict:
            raise GatewayError("upstream_bad_answer", "The provider's answer is not a JSON object.")
        if rename_to is not None and "model" in document:
            body = replace_top_level_model(body, rename_to)
        return body, _usage(operation, document), document

    # --- streams of events ------------------------------------------------------------------------

    async def _stream_events(self, exchange: Exchange) -> web.StreamResponse:
        call = self._call
        call.stream = exchange.outcome.streamed = True
        tap = self._tap = EventTap(self._renamed(exchange))
        first = await self._first_events(exchange, tap)
        exchange.began()
        response = web.StreamResponse(status=200, headers=decoded(call.begin_stream(exchange.outcome)))
        await response.prepare(self._request)
        try:
            await self._events_to_the_end(exchange, tap, response.write, first)
        except GatewayError as error:
            call.broken = error
            exchange.settle(tap.usage, error, streamed_tokens=tap.estimate_completion_tokens())
            await response.write(closing_event(error, call.request_id))
        except BaseException:
            exchange.outcome.usage = tap.usage
            exchange.outcome.streamed_tokens = tap.estimate_completion_tokens()
            exchange.outcome.most_streamed_tokens = tap.bytes
            raise
        await response.write_eof()
        return response

    async def _first_events(self, exchange: Exchange, tap: EventTap) -> bytes:
        """The first whole events: until they are there the target can be replaced, unseen by the client."""
        while True:
            data = await exchange.answer.read()
            if not data:
                raise GatewayError("upstream_truncated", "The provider ended its stream before its first event.")
            events = tap.feed(data)
            if events:
                return events

    async def _events_to_the_end(
        self, exchange: Exchange, tap: EventTap, write: Callable[[bytes], Awaitable[None]], events: bytes
    ) -> None:
        while True:
            while tap.responses:
                await self._learn(exchange.target.provider, tap.responses.pop(0))
            if tap.done:
                break
            await write(events)
            data = await exchange.answer.read()
            if not data and tap.rest:
                data = b"\n\n"  # a last event without its blank line
            if not data:
                raise GatewayError("upstream_truncated", "The provider ended its stream before its work was done.")
            events = tap.feed(data)
        self._call.broken = tap.failed
        exchange.settle(tap.usage, tap.failed, streamed_tokens=tap.estimate_completion_tokens())
        await write(events)
        try:
            async with asyncio.timeout(_AFTER_DONE_S):
                while data := await exchange.answer.read():
                    await write(tap.feed(data))
        except (TimeoutError, GatewayError):
            return  # all that mattered has been said

    # --- bytes of any kind ------------------------------------------------------------------------

    async def _stream_bytes(self, exchange: Exchange) -> web.StreamResponse:
        answer, call = exchange.answer, self._call
        data = await answer.read()
        exchange.began()
        headers: Headers = [(b"content-type", answer.header(b"content-type") or b"application/octet-stream")]
        headers += [header for header in answer.headers if header[0] in _PASSED_RAW]
        headers.append((b"x-content-type-options", b"nosniff"))
        length = answer.header(b"content-length")
        if length.isdigit():
            headers.append((b"content-length", length))
        call.add_headers(headers)
        call.status = answer.status
        response = web.StreamResponse(status=answer.status, headers=decoded(headers))
        await response.prepare(self._request)
        try:
            while data:
                following = await answer.read()
                if not following:
                    break
                await response.write(data)
                data = following
        except GatewayError as error:
            call.broken = error
            exchange.settle(None, error)
            response.force_close()
            if self._request.transport is not None:
                self._request.transport.abort()  # the client must not take half of it for the whole
            return response
        exchange.settle(None)
        if data:
            await response.write(data)
        await response.write_eof()
        return response


async def _to_nobody(data: bytes) -> None:
    """The client has gone."""


def _kind(exchange: Exchange) -> bytes:
    """The answer's media type."""
    return exchange.answer.header(b"content-type").partition(b";")[0].strip().lower()


def _usage(operation: Operation, document: Document) -> Usage | None:
    """What an answer says that it used; nothing where its work costs nothing."""
    if not operation.metered:
        return None
    reported = document.get("usage")
    usage = read_usage(reported)
    if usage is None and (operation.model == "may" or type(reported) is dict):
        return Usage()  # moderations are free; transcriptions may be billed by seconds, which are no tokens
    return usage
