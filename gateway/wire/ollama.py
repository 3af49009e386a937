"""Ollama's own API: /api/chat with newline-delimited JSON streams, /api/embed, /api/tags.

https://docs.ollama.com/api (read 2026-11). Ollama takes images only by value, files not at all, and has neither
`tool_choice` nor several answers to one request.
"""

from __future__ import annotations

import re

from gateway.errors import GatewayError
from gateway.wire.checks import invalid
from gateway.wire.dialect import Ask, Document, Encoded, StreamDecoder
from gateway.wire.lacking import settle_lacking
from gateway.wire.ollama_answer import error_of, read_chat, read_counts
from gateway.wire.ollama_request import OPTIONS, WHO, encode_chat, options_of
from gateway.wire.ollama_stream import OllamaStream
from gateway.wire.openai_dialect_answer import bad_answer
from gateway.wire.openai_dialect_embeddings import embedding_list, texts_of
from gateway.wire.openai_dialect_request import write_json
from gateway.wire.openai_error import parse_object
from gateway.wire.provider_errors import Rule, error_document, provider_error
from gateway.wire.usage import Usage

_EMBEDDING_TAKEN = OPTIONS | {"dimensions", "encoding_format", "keep_alive", "options", "truncate"}
_TRUNCATE: dict[object, bool] = {True: True, False: False, "END": True, "NONE": False}
# Ollama says what is wrong only in words: https://github.com/ollama/ollama/blob/main/server/routes.go (read 2026-11).
RULES = (
    Rule(
        "context_length_exceeded",
        says=re.compile(r"(?i)exceeds? (?:the |maximum |max )*context (?:length|window|size)|prompt (?:is )?too long"),
    ),
    Rule("upstream_auth", says=re.compile(r"(?i)^unauthorized\b")),
    Rule(
        "upstream_quota",
        says=re.compile(r"(?i)(?:hourly|daily|weekly|monthly|session) usage limit|upgrade (?:to continue|for)"),
        statuses=frozenset({0, 402, 403, 429}),
    ),
    Rule(
        "upstream_overloaded",
        says=re.compile(r"(?i)server busy|maximum pending requests|requires more system memory|is overloaded"),
    ),
    Rule("upstream_5xx", says=re.compile(r"(?i)runner process|runner has|cuda error|unexpected server status")),
)


class OllamaDialect:
    """Ollama's format."""

    name = "ollama"
    operations = frozenset({"chat", "embeddings"})
    choices = False
    image_urls = False
    file_urls = True  # none are taken: refused before they are fetched

    def encode(self, ask: Ask) -> Encoded:
        """The request. Raises unsupported_parameter or invalid_field naming the field."""
        if ask.operation == "chat":
            return encode_chat(ask)
        if ask.operation == "embeddings":
            return _encode_embeddings(ask)
        raise GatewayError("invalid_request", f"The operation '{ask.operation}' is not supported by {WHO}.")

    def decode(self, ask: Ask, body: bytes) -> tuple[Document, Usage | None]:
        """The canonical answer and what it used. Raises upstream_bad_answer, or what an error in the body means."""
        if ask.operation != "embeddings":
            return read_chat(ask, body, RULES)
        document = parse_object(body)
        if document is None:
            raise bad_answer("answered with something that is not a JSON object")
        if document.get("error"):
            raise error_of(document, RULES)
        usage = read_counts(document)
        return embedding_list(ask, document.get("embeddings"), usage), usage

    def decoder(self, ask: Ask) -> StreamDecoder:
        """A decoder for one stream."""
        return OllamaStream(ask, RULES)

    def read_error(
        self, provider: str, status: int, body: bytes, *, retry_after_s: float | None = None
    ) -> GatewayError:
        """What an answer outside 2xx means: `{"error": text}`, whatever the status."""
        document = error_document(body)
        error = document.get("error")
        text = error.get("message") if type(error) is dict else error
        text = text if type(text) is str else document.get("message")
        return provider_error(RULES, provider, status, names=(), text=text, retry_after_s=retry_after_s)

    def read_models(self, body: bytes) -> list[str]:
        """The names of /api/tags, with their tags. Raises upstream_bad_answer."""
        listed = parse_object(body)
        models = listed.get("models") if listed is not None else None
        if type(models) is not list:
            raise bad_answer("answered with something that is not a list of models")
        named = [model.get("model") or model.get("name") for model in models if type(model) is dict]
        return [name for name in named if type(name) is str]


def _encode_embeddings(ask: Ask) -> Encoded:
    document = ask.document
    dropped = settle_lacking(document, _EMBEDDING_TAKEN, ask.policy, WHO)
    body: Document = {"model": ask.model, "input": texts_of(document, WHO)}
    for name in ("dimensions", "keep_alive"):
        if document.get(name) is not None:
            body[name] = document[name]
    truncate = document.get("truncate")
    if truncate is not None:
        if type(truncate) not in (bool, str) or truncate not in _TRUNCATE:
            raise invalid("truncate", "must be true, false, NONE or END")
        body["truncate"] = _TRUNCATE[truncate]
    options = options_of(document)
    if options:
        body["options"] = options
    return Encoded("/api/embed", write_json(body, "input"), dropped=dropped)


DIALECT = OllamaDialect()
