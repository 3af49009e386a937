"""Cohere v2: chat with tools, thinking and citations, embeddings and rerank.

`cohere_request` and `cohere_messages` write a chat request, `cohere_answer` and `cohere_stream` read what comes
back; `cohere_embed` and `cohere_rerank` do both. Formats: https://docs.cohere.com/v2/reference/about (read 2026-11);
where recorded traffic has a case, it decides.
"""

from __future__ import annotations

from gateway.errors import GatewayError
from gateway.wire.cohere_answer import decode_chat, read_error, read_object
from gateway.wire.cohere_embed import decode_embeddings, encode_embeddings
from gateway.wire.cohere_request import encode_chat
from gateway.wire.cohere_rerank import decode_rerank, encode_rerank
from gateway.wire.cohere_stream import CohereDecoder
from gateway.wire.dialect import Ask, Document, Encoded
from gateway.wire.usage import Usage

_ENCODERS = {"chat": encode_chat, "embeddings": encode_embeddings, "rerank": encode_rerank}
_DECODERS = {"chat": decode_chat, "embeddings": decode_embeddings, "rerank": decode_rerank}


class Cohere:
    """Cohere's dialect (`Dialect`). Images go by URL; there are no file parts."""

    name = "cohere"
    operations = frozenset(_ENCODERS)
    choices = False
    image_urls = True
    file_urls = True  # none are taken: refused before they are fetched

    def encode(self, ask: Ask) -> Encoded:
        """The request. Raises invalid_field or unsupported_parameter naming the field."""
        return _ENCODERS[ask.operation](ask)

    def decode(self, ask: Ask, body: bytes) -> tuple[Document, Usage | None]:
        """The canonical answer and what it used. Raises upstream_bad_answer, or what an error in the body means."""
        return _DECODERS[ask.operation](ask, body)

    def decoder(self, ask: Ask) -> CohereDecoder:
        """A decoder for one stream."""
        return CohereDecoder(ask)

    def read_error(
        self, provider: str, status: int, body: bytes, *, retry_after_s: float | None = None
    ) -> GatewayError:
        """What an answer outside 2xx means."""
        return read_error(provider, status, body, retry_after_s=retry_after_s)

    def read_models(self, body: bytes) -> list[str]:
        """The names in the answer of GET /v1/models (https://docs.cohere.com/reference/list-models, read 2026-11).

        Raises upstream_bad_answer.
        """
        models = read_object(body).get("models")
        if not isinstance(models, list):
            raise GatewayError("upstream_bad_answer", "The provider's answer is no list of models.")
        names = [model.get("name") for model in models if isinstance(model, dict)]
        return [name for name in names if isinstance(name, str) and name]


DIALECT = Cohere()
