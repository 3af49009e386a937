"""Clients that speak OpenAI's API, where the answer comes from a provider that does not."""

from __future__ import annotations

import orjson

from gateway.errors import GatewayError
from gateway.wire import sse
from gateway.wire.chunks import usage_document
from gateway.wire.dialect import Document
from gateway.wire.openai import CHAT, read_request, wants_usage
from gateway.wire.openai_error import error_event
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
        return write(answer)

    def encoder(self, document: Document) -> OpenAIEncoder:
        """For one stream."""
        return OpenAIEncoder(wants_usage(document))

    def error_body(self, error: GatewayError, request_id: str) -> bytes:
        """OpenAI's error object."""
        return error.body(request_id)

    def error_event(self, error: GatewayError, request_id: str) -> bytes:
        """OpenAI's error object as the last event."""
        return error_event(error, request_id)


class OpenAIEncoder:
    """Chunks as events; the usage chunk and `[DONE]` at the end."""

    __slots__ = ("_frame", "_wants_usage")

    def __init__(self, wants_usage: bool) -> None:
        self._wants_usage = wants_usage
        self._frame: Document = {}

    def encode(self, chunk: Document) -> bytes:
        """One event."""
        self._frame = chunk
        return b"data: %b\n\n" % write(chunk)

    def finish(self, usage: Usage | None) -> bytes:
        """What follows the last chunk."""
        if not self._wants_usage or usage is None:
            return sse.DONE
        last = {**self._frame, "choices": [], "usage": usage_document(usage)}
        return b"data: %b\n\n%b" % (write(last), sse.DONE)

    def fail(self, error: GatewayError, request_id: str) -> bytes:
        """OpenAI's error object as the last event."""
        return error_event(error, request_id)


def write(document: Document) -> bytes:
    """A canonical document as JSON. Text that UTF-8 cannot carry (lone surrogates) is written with question marks."""
    try:
        return orjson.dumps(document)
    except TypeError:
        return orjson.dumps(_plain(document))


def _plain(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {str(_plain(str(name))): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return float(value)
    return value


OPENAI = OpenAIInbound()
