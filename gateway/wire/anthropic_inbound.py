"""Clients that speak Anthropic's Messages API, whoever answers them.

Its parts: `_request`, `_messages` and `_tools` make a request canonical, `_answer` and `_stream` write what comes
back, `_thinking` keeps what has to be sent back, `_errors` and `_models` are what they say.
https://platform.claude.com/docs/en/api/messages (read 2026-11)
"""

from __future__ import annotations

from gateway.errors import GatewayError
from gateway.wire.anthropic_inbound_answer import render_message
from gateway.wire.anthropic_inbound_errors import error_body
from gateway.wire.anthropic_inbound_request import canonical_request, read_request
from gateway.wire.anthropic_inbound_stream import AnthropicStream
from gateway.wire.dialect import Document
from gateway.wire.plain_json import to_json
from gateway.wire.usage import Usage


class AnthropicInbound:
    """The Messages API, as `Inbound` has it, and token counting."""

    name = "anthropic"

    def read_request(self, body: bytes) -> Document:
        """The JSON object of a message request. Raises invalid_json, missing_field or invalid_field."""
        return read_request(body)

    def read_count_request(self, body: bytes) -> Document:
        """The same for /v1/messages/count_tokens, where `max_tokens` is not needed."""
        return read_request(body, counts_only=True)

    def canonical(self, document: Document) -> Document:
        """The same request as a canonical one. Raises missing_field, invalid_field or unsupported_parameter."""
        return canonical_request(document)

    def render(self, answer: Document, usage: Usage | None, document: Document) -> bytes:
        """A canonical answer as a message."""
        return render_message(answer, usage, document)

    def render_count(self, tokens: int) -> bytes:
        """The answer of /v1/messages/count_tokens."""
        return to_json({"input_tokens": tokens})

    def encoder(self, document: Document) -> AnthropicStream:
        """A new encoder for one stream."""
        return AnthropicStream(document)

    def error_body(self, error: GatewayError, request_id: str) -> bytes:
        """A failure as Anthropic's error object."""
        return error_body(error, request_id)


INBOUND: AnthropicInbound = AnthropicInbound()
