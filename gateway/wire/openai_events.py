"""Streams of the endpoints that are passed through: events that say by their `type` what they are. Pure.

https://platform.openai.com/docs/api-reference/responses-streaming, …/images-streaming and the `*.done` events
of speech and transcriptions (read 2026-11).
"""

from __future__ import annotations

import re

import orjson

from gateway.errors import GatewayError
from gateway.wire import sse
from gateway.wire.dialect import Document
from gateway.wire.openai import read_usage
from gateway.wire.openai_answer import redact
from gateway.wire.usage import Usage

_ENDS = frozenset(
    {
        "response.completed",
        "response.incomplete",
        "response.failed",
        "response.cancelled",
        "image_generation.completed",
        "image_edit.completed",
        "transcript.text.done",
        "speech.audio.done",
    }
)
_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\]]')
_OPENS_OBJECT = re.compile(rb"\s*:\s*\{")
_MODEL = re.compile(rb'"model"\s*:\s*"((?:[^"\\]|\\.)*)"')
# The type stands in the event's first bytes, as its `event:` line or as the first keys of its data.
_TYPE_BYTES = 160


class EventTap:
    """Looks at a stream on its way: `feed` takes each read and gives the whole events to write on.

    `done` is set once the event that ends the work has been seen, with `usage` where it says so; `failed` where the
    provider itself broke off. `responses` collects the response objects that events carry, for the caller to take.
    """

    __slots__ = ("_cutter", "_deltas", "_least", "_rename_to", "bytes", "done", "failed", "responses", "usage")

    def __init__(self, rename_to: str | None) -> None:
        self._cutter = sse.EventCutter()
        self._rename_to = rename_to
        self._deltas = self.bytes = self._least = 0
        self.usage: Usage | None = None
        self.done = False
        self.failed: GatewayError | None = None
        self.responses: list[Document] = []

    def feed(self, data: bytes) -> bytes:
        """The bytes to write on now. Raises upstream_bad_answer for an event that is not JSON or has no end."""
        return b"".join([self._look(event) for event in sse.split_events(self._cutter.feed(data))])

    @property
    def rest(self) -> bytes:
        """The bytes of an event whose end has not come."""
        return self._cutter.rest

    def estimate_completion_tokens(self) -> int:
        """Tokens seen so far where no usage came: a delta is one at least, four characters are one."""
        return max(self._deltas, (self.bytes - self._deltas * self._least) // 4, 0)

    def _look(self, event: bytes) -> bytes:
        size = len(event)
        if b".delta" in event[:_TYPE_BYTES]:
            self._deltas += 1
            self.bytes += size
            if not self._least or size < self._least:
                self._least = size
            return event
        payload = sse.event_data(event)
        if payload is None:
            return event
        if payload.strip() == b"[DONE]":
            self.done = True
            return event
        return self._look_closely(event, payload)

    def _look_closely(self, event: bytes, payload: bytes) -> bytes:
        try:
            chunk = orjson.loads(payload)
        except orjson.JSONDecodeError:
            raise GatewayError("upstream_bad_answer", "The provider sent an event that is not JSON.") from None
        if type(chunk) is not dict:
            return event
        kind = chunk.get("type")
        response = chunk.get("response")
        if type(response) is dict:
            self.responses.append(response)
            if self._rename_to is not None:
                event = replace_response_model(event, self._rename_to)
        if kind in _ENDS:
            self.done = True
            holder = response if type(response) is dict else chunk
            usage = read_usage(holder.get("usage"))
            if usage is not None:
                self.usage = usage
        elif kind == "error" or (kind is None and chunk.get("error")):
            self.done = True
            self.failed = GatewayError("upstream_bad_answer", "The provider broke off its stream.")
            event = redact(event)
        return event


def replace_response_model(event: bytes, name: str) -> bytes:
    """`event` with the value of `response.model` in its data replaced by `name`, if it has one."""
    depth = 0
    inside = False
    for token in _TOKENS.finditer(event):
        first = event[token.start()]
        if first in b"{[":
            depth += 1
        elif first in b"}]":
            depth -= 1
            inside = inside and depth > 1
        elif depth == 1:
            inside = token.group() == b'"response"' and _OPENS_OBJECT.match(event, token.end()) is not None
        elif depth == 2 and inside and token.group() == b'"model"':
            match = _MODEL.match(event, token.start())
            if match is not None:
                return b"".join((event[: match.start(1) - 1], orjson.dumps(name), event[match.end() :]))
    return event


def closing_event(error: GatewayError, request_id: str) -> bytes:
    """The event that ends a stream which cannot be finished: OpenAI's `error` event with our error object in it."""
    body = orjson.loads(error.body(request_id))
    inner = body.get("error") if isinstance(body, dict) else None
    shown = inner if isinstance(inner, dict) else {}
    payload = {
        "type": "error",
        "code": shown.get("code"),
        "message": shown.get("message"),
        "param": shown.get("param"),
        "error": {**shown, "request_id": request_id},
    }
    return b"event: error\ndata: " + orjson.dumps(payload) + b"\n\n"
