"""Anthropic's answers on their way to a client that speaks the format itself: the bytes pass, usage is read.

https://platform.claude.com/docs/en/build-with-claude/streaming (read 2026-11).
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from gateway.errors import GatewayError
from gateway.wire import sse
from gateway.wire.anthropic_answer import messages_usage
from gateway.wire.anthropic_error import error_inside
from gateway.wire.anthropic_inbound_errors import error_event
from gateway.wire.openai_error import parse_object
from gateway.wire.splice import replace_top_level_model
from gateway.wire.token_estimate import BYTES_PER_TOKEN
from gateway.wire.usage import Usage

# Comments that keep a connection alive are held back until the first event: until then the target can be replaced.
_MAX_HELD_BYTES = 64 * 1024
# Whole strings, so that braces and keys inside them are passed over.
_TOKENS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\]]')
_MODEL = re.compile(rb'"model"\s*:\s*("[^"\\]*(?:\\.[^"\\]*)*")')
_OPENS_OBJECT = re.compile(rb"\s*:\s*\{")
_DELTA = b'"content_block_delta"'
# What a delta has around its text.
_FRAME_BYTES = 120
_LEAST_FRAME_BYTES = len(b'data:{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":""}}\n\n')


def read_messages_answer(body: bytes, rename_to: str | None) -> tuple[bytes, Usage | None]:
    """The bytes for the client and what the answer used (None where it does not say).

    `rename_to` is the alias that the client asked for, None where the upstream's own name stays. Raises
    upstream_bad_answer where the body is not a JSON object, and what an error in it means.
    """
    document = parse_object(body)
    if document is None:
        raise GatewayError("upstream_bad_answer", "The provider's answer is not a JSON object.")
    if document.get("type") == "error" or (document.get("error") and "content" not in document):
        raise error_inside(document)
    used = document.get("usage")
    if rename_to is not None:
        body = replace_top_level_model(body, rename_to)
    return body, messages_usage(used) if isinstance(used, dict) else None


def replace_message_model(event: bytes, name: str) -> bytes:
    """`event`, a message_start, with the value of its `message.model` replaced by `name`, if it has one."""
    depth = 0
    inside = False
    for token in _TOKENS.finditer(event, max(event.find(b"{"), 0)):
        first = event[token.start()]
        if first in b"{[":
            depth += 1
        elif first in b"}]":
            depth -= 1
            inside = inside and depth > 1
        elif depth == 1:
            inside = token.group() == b'"message"' and _OPENS_OBJECT.match(event, token.end()) is not None
        elif depth == 2 and inside and token.group() == b'"model"':
            match = _MODEL.match(event, token.start())
            if match is not None:
                return b"".join((event[: match.start(1)], orjson.dumps(name), event[match.end(1) :]))
    return event


class MessagesTap:
    """Looks at a stream on its way to the client: `feed` takes each read and gives what to write on.

    What it does: whole events only, none before the first that has data; the usage kept; an alias put in place of
    the model's name; message_stop held back (`done` is set, its bytes are in `ending`) so that the account is
    closed before it leaves. `error` is set where the stream cannot go on: an event that is itself an error, or has
    no end, or a first one that is no JSON object.
    """

    __slots__ = (
        "_cutter",
        "_deltas",
        "_held",
        "_rename_to",
        "_used",
        "bytes",
        "done",
        "ending",
        "error",
        "events",
        "usage",
    )

    def __init__(self, *, rename_to: str | None) -> None:
        self._cutter = sse.EventCutter()
        self._rename_to = rename_to
        self._held = b""
        self._deltas = 0
        self._used: dict[str, Any] = {}
        self.ending = b""
        self.usage: Usage | None = None
        self.error: GatewayError | None = None
        self.done = False
        self.events = 0
        self.bytes = 0

    def feed(self, data: bytes) -> bytes:
        """The bytes to write on now; look at `error` and `done` after it."""
        if self.done or self.error is not None:
            return b""
        try:
            data = self._cutter.feed(data)
        except GatewayError as error:
            self.error = error
            return b""
        if data and not self.events:
            data = self._first(data)
        if not data:
            return b""
        # Only these say anything but content: how a message starts, goes on and stops, and that it failed.
        if b"message_" in data or b"error" in data:
            data = b"".join([self._look(event) for event in sse.split_events(data)])
        self._count(data)
        return data

    def broken(self, error: GatewayError, request_id: str) -> bytes:
        """The event that ends a stream which cannot be finished."""
        return error_event(error, request_id)

    def finish(self) -> bytes:
        """The body has ended: a message_stop counts also where the empty line behind it never came."""
        rest = self._cutter.rest
        payload = None if self.done or self.error is not None else sse.event_data(rest)
        document = parse_object(payload) if payload is not None else None
        if document is not None and document.get("type") == "message_stop":
            self._stop(rest.rstrip(b"\r\n") + b"\n\n")
        return b""

    def _first(self, data: bytes) -> bytes:
        """Everything up to here, once it holds an event with data; that must be JSON."""
        data, self._held = self._held + data, b""
        payload = next(filter(None, map(sse.event_data, sse.split_events(data))), None)
        if payload is None:
            if len(data) > _MAX_HELD_BYTES:
                self.error = GatewayError("upstream_bad_answer", "The provider's stream has no events.")
            self._held = data
            return b""
        if parse_object(payload) is None:
            self.error = GatewayError("upstream_bad_answer", "The provider's first event is not a JSON object.")
            return b""
        return data

    def _look(self, event: bytes) -> bytes:
        """The event for the client; nothing once the stream has ended or failed."""
        if self.done or self.error is not None:
            return b""
        if b"message_" not in event and b"error" not in event:
            return event
        payload = sse.event_data(event)
        if payload is None:
            return event
        document = parse_object(payload)
        if document is None:
            self.error = GatewayError("upstream_bad_answer", "The provider sent an event that is not a JSON object.")
            return b""
        kind = document.get("type")
        if kind == "message_start":
            message = document.get("message")
            self._read_usage(message.get("usage") if isinstance(message, dict) else None)
            return event if self._rename_to is None else replace_message_model(event, self._rename_to)
        if kind == "message_delta":
            self._read_usage(document.get("usage"))
        elif kind == "message_stop":
            self._stop(event)
            return b""
        elif kind == "error" or (kind is None and document.get("error")):
            self.error = error_inside(document)
            return b""
        return event

    def _stop(self, event: bytes) -> None:
        self.done = True
        self.ending = event

    def _read_usage(self, usage: object) -> None:
        """Counts are running totals: what is named later replaces what was named before."""
        if isinstance(usage, dict):
            self._used.update({name: value for name, value in usage.items() if value is not None})
            self.usage = messages_usage(self._used)

    def _count(self, data: bytes) -> None:
        """Sizes for an estimate: the deltas alone carry what was generated."""
        self.events += data.count(b"\ndata:") + data.startswith(b"data:")
        deltas = data.count(_DELTA)
        if deltas:
            self._deltas += deltas
            self.bytes += len(data)

    def estimate_completion_tokens(self) -> int:
        """Tokens seen so far where no usage came: a delta is one at least, four characters are one."""
        return max(self._deltas, (self.bytes - self._deltas * _FRAME_BYTES) // BYTES_PER_TOKEN)

    def most_completion_tokens(self) -> int:
        """Tokens seen so far at most: what came with deltas, less the least that stands around each."""
        return max(self._deltas, self.bytes - self._deltas * _LEAST_FRAME_BYTES)
