"""Google Gemini's dialect as AI Studio serves it: https://ai.google.dev/api (read 2026-11).

The parts: `gemini_request` (with `_messages`, `_parts`, `_tools`, `_schema`, `_model`) encodes, `gemini_answer` and
`gemini_stream` decode, `gemini_error` reads errors; `vertex.py` is the same format at another address.
"""

from __future__ import annotations

from gateway.errors import GatewayError
from gateway.wire.dialect import Ask, Document, Encoded
from gateway.wire.gemini_answer import read_answer
from gateway.wire.gemini_embeddings import TAKEN, batch, object_in, read_batch
from gateway.wire.gemini_error import read_error
from gateway.wire.gemini_model import model_path
from gateway.wire.gemini_request import Surface, chat_body, write
from gateway.wire.gemini_stream import GeminiDecoder
from gateway.wire.lacking import settle_lacking
from gateway.wire.usage import Usage

_SURFACE = Surface(who="Gemini", call_ids=True, validated=True, mixed=True)


class Gemini:
    """The Gemini API. Images and files come as data URIs; other URLs are handed on for Google to fetch."""

    name = "gemini"
    operations = frozenset({"chat", "embeddings"})
    choices = True
    image_urls = False
    file_urls = False

    def encode(self, ask: Ask) -> Encoded:
        """The request. Raises GatewayError (`unsupported_parameter`, `invalid_field`) naming the field."""
        if ask.operation == "embeddings":
            dropped = settle_lacking(ask.document, TAKEN, ask.policy, _SURFACE.who)
            path = model_path(ask.model)
            return Encoded(f"{path}:batchEmbedContents", write(batch(ask.document, path[1:])), dropped=dropped)
        body, dropped = chat_body(ask, _SURFACE)
        return Encoded(model_path(ask.model) + chat_method(ask), body, dropped=dropped)

    def decode(self, ask: Ask, body: bytes) -> tuple[Document, Usage | None]:
        """The canonical answer of a whole 2xx body, and what it used. Raises upstream_bad_answer and what it says."""
        if ask.operation == "embeddings":
            return read_batch(ask, body)
        return read_answer(ask, body, self.name)

    def decoder(self, ask: Ask) -> GeminiDecoder:
        """A new decoder for one stream."""
        return GeminiDecoder(ask, self.name)

    def read_error(
        self, provider: str, status: int, body: bytes, *, retry_after_s: float | None = None
    ) -> GatewayError:
        """What an answer outside 2xx means."""
        return read_error(provider, status, body, retry_after_s=retry_after_s)

    def read_models(self, body: bytes) -> list[str]:
        """The names in the list of models, without `models/`. Raises upstream_bad_answer."""
        return [name.removeprefix("models/") for name in names_in(body, "models")]


def chat_method(ask: Ask) -> str:
    """The method of a chat, with the query that makes a stream one of events."""
    return ":streamGenerateContent?alt=sse" if ask.stream else ":generateContent"


def names_in(body: bytes, field: str) -> list[str]:
    """The `name` of each item in the list `field`. Raises upstream_bad_answer."""
    found = object_in(body).get(field)
    if not isinstance(found, list):
        raise GatewayError("upstream_bad_answer", "The provider's answer is no list of models.")
    names = [item.get("name") for item in found if isinstance(item, dict)]
    return [name for name in names if isinstance(name, str) and name]


DIALECT = Gemini()
