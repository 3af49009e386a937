"""Clients that speak OpenAI's API, where the answer comes from a provider that does not."""

from __future__ import annotations

from gateway.errors import GatewayError
from gateway.wire import sse
from gateway.wire.chunks import usage_document
from gateway.wire.dialect import Document
from gateway.wire.openai import CHAT, read_request, wants_usage
from gateway.wire.openai_error import error_event
from gateway.wire.plain_json import to_json
from gateway.wire.usage import Usage


class OpenAIInbound:
    """The canonical form is OpenAI's: requests and answers stay as they are."""

    name = "openai"

    def read_request(self, body: bytes) -> Document:
        """A chat request. Raises invalid_json, missing_field or invalid_field."""
        return read_request(CHAT, body)

    def canonical(self, document: Document) -> Document:
        """The same."""
        return document

    def render(self, answer: Document, usage: Usage | None, document: Document) -> bytes:
        """The answer as JSON; its usage is in it."""
        return to_json(answer)

    def encoder(self, document: Document) -> OpenAIEncoder:
        """For one stream."""
        return OpenAIEncoder(wants_usage(document))

    def error_body(self, error: GatewayError, request_id: str) -> bytes:
        """OpenAI's error object."""
        return error.body(request_id)


class OpenAIEncoder:
    """Chunks as events; the usage chunk and `[DONE]` at the end."""

    __slots__ = ("_frame", "_wants_usage")

    def __init__(self, wants_usage: bool) -> None:
        self._wants_usage = wants_usage
        self._frame: Document = {}

    def encode(self, chunk: Document) -> bytes:
        """One event."""
        self._frame = chunk
        return b"data: %b\n\n" % to_json(chunk)

    def finish(self, usage: Usage | None) -> bytes:
        """What follows the last chunk."""
        if not self._wants_usage or usage is None:
            return sse.DONE
        last = {**self._frame, "choices": [], "usage": usage_document(usage)}
        return b"data: %b\n\n%b" % (to_json(last), sse.DONE)

    def fail(self, error: GatewayError, request_id: str) -> bytes:
        """OpenAI's error object as the last event."""
        return error_event(error, request_id)


OPENAI = OpenAIInbound()
