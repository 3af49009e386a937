"""What a client may speak: how its request becomes canonical, and how canonical answers become what it expects."""

from __future__ import annotations

from typing import Protocol

from gateway.errors import GatewayError
from gateway.wire.dialect import Document
from gateway.wire.usage import Usage


class StreamEncoder(Protocol):
    """Canonical chunks as one client's stream. Never raises."""

    def encode(self, chunk: Document) -> bytes:
        """The events that this chunk becomes; maybe none yet."""

    def finish(self, usage: Usage | None) -> bytes:
        """The events that end a complete stream, with what it used."""

    def fail(self, error: GatewayError, request_id: str) -> bytes:
        """The events that end a stream which cannot be finished."""


class Inbound(Protocol):
    """One API that clients speak. Pure. `name` is that of the dialect whose bytes are the same both ways.

    `document` is always what `read_request` gave.
    """

    name: str

    def read_request(self, body: bytes) -> Document:
        """The client's own JSON object, checked as far as the gateway relies on it.

        It has `model` (text); `stream` may be true. Raises invalid_json, missing_field or invalid_field naming it.
        """

    def canonical(self, document: Document) -> Document:
        """The same request as a canonical chat request. Raises invalid_field or unsupported_parameter."""

    def render(self, answer: Document, usage: Usage | None, document: Document) -> bytes:
        """A canonical answer as the client's body."""

    def encoder(self, document: Document) -> StreamEncoder:
        """For one stream."""

    def error_body(self, error: GatewayError, request_id: str) -> bytes:
        """A failure as the client's error object."""
