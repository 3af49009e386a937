"""Anthropic's Messages API as a provider's dialect.

A request is translated in `anthropic_request` (what a model takes is data in `anthropic_models`), an answer in
`anthropic_answer`, a stream in `anthropic_stream`, an error in `anthropic_error`. Where the client speaks the
format too nothing is translated: `anthropic_tap` only looks on.
"""

from __future__ import annotations

from gateway.errors import GatewayError
from gateway.wire.anthropic_answer import decode_chat
from gateway.wire.anthropic_error import read_error
from gateway.wire.anthropic_request import encode_chat
from gateway.wire.anthropic_stream import MessagesDecoder
from gateway.wire.dialect import Ask, Document, Encoded, StreamDecoder
from gateway.wire.openai_error import parse_object
from gateway.wire.usage import Usage


class AnthropicDialect:
    """Chat through POST /messages; images and PDF files may be given by URL."""

    name = "anthropic"
    operations = frozenset({"chat"})
    choices = False
    image_urls = True
    file_urls = True

    def encode(self, ask: Ask) -> Encoded:
        """The request. Raises GatewayError (`unsupported_parameter`, `invalid_field`) naming the field."""
        if ask.operation != "chat":
            raise GatewayError("invalid_request", f"Claude models do not do {ask.operation}.")
        return encode_chat(ask)

    def decode(self, ask: Ask, body: bytes) -> tuple[Document, Usage | None]:
        """The canonical answer and what it used. Raises upstream_bad_answer, and what an error in it means."""
        return decode_chat(ask, body)

    def decoder(self, ask: Ask) -> StreamDecoder:
        """A new decoder for one stream."""
        return MessagesDecoder(ask)

    def read_error(
        self, provider: str, status: int, body: bytes, *, retry_after_s: float | None = None
    ) -> GatewayError:
        """What an answer outside 2xx means."""
        return read_error(provider, status, body, retry_after_s=retry_after_s)

    def read_models(self, body: bytes) -> list[str]:
        """The names in GET /models, one page of it. Raises upstream_bad_answer.

        https://platform.claude.com/docs/en/api/models-list (read 2026-11).
        """
        document = parse_object(body)
        data = document.get("data") if document is not None else None
        if not isinstance(data, list):
            raise GatewayError("upstream_bad_answer", "The provider's list of models is not one.")
        names = [model.get("id") for model in data if isinstance(model, dict)]
        return [name for name in names if isinstance(name, str) and name]


DIALECT = AnthropicDialect()
