"""Clients of POST /v1/rerank, in Cohere's shape: that is the canonical one."""

from __future__ import annotations

from gateway.errors import GatewayError
from gateway.wire.dialect import Document
from gateway.wire.openai_inbound import OpenAIEncoder
from gateway.wire.rerank import read_rerank, render_rerank
from gateway.wire.usage import Usage


class RerankInbound:
    """Requests and answers of rerank; errors are OpenAI's."""

    name = "rerank"

    def read_request(self, body: bytes) -> Document:
        """A rerank request. Raises invalid_json, missing_field or invalid_field."""
        return read_rerank(body)

    def canonical(self, document: Document) -> Document:
        """The same."""
        return document

    def render(self, answer: Document, usage: Usage | None, document: Document) -> bytes:
        """The answer, with the client's own documents where it asked for them."""
        return render_rerank(answer, document)

    def encoder(self, document: Document) -> OpenAIEncoder:
        """Nothing is streamed: `read_request` has refused it."""
        return OpenAIEncoder(wants_usage=False)

    def error_body(self, error: GatewayError, request_id: str) -> bytes:
        """OpenAI's error object."""
        return error.body(request_id)


INBOUND: RerankInbound = RerankInbound()
