"""AI21's Jamba chat, which is OpenAI's with less in it.

Contents are text, `stop` is a list, there is no `tool_choice`, and JSON comes without a schema: the schema goes into
the instructions. `documents` are AI21's own. `n` holds for whole answers only. Streams are OpenAI's without object,
time and model, and bring their usage unasked. https://docs.ai21.com/reference/jamba-1-6-api-ref (read 2026-11).
"""

from __future__ import annotations

from gateway.errors import GatewayError
from gateway.wire.ai21_answer import AI21Decoder, decode_chat, read_error
from gateway.wire.ai21_request import encode_chat
from gateway.wire.dialect import Ask, Document, Encoded
from gateway.wire.openai_error import parse_object
from gateway.wire.usage import Usage


class AI21:
    """AI21's dialect (`Dialect`): chat with text."""

    name = "ai21"
    operations = frozenset({"chat"})
    choices = False
    image_urls = file_urls = True  # none are taken: refused before they are fetched

    def encode(self, ask: Ask) -> Encoded:
        """The request. Raises invalid_field or unsupported_parameter naming the field."""
        return encode_chat(ask)

    def decode(self, ask: Ask, body: bytes) -> tuple[Document, Usage | None]:
        """The canonical answer and what it used. Raises upstream_bad_answer, or what an error in the body means."""
        return decode_chat(ask, body)

    def decoder(self, ask: Ask) -> AI21Decoder:
        """A decoder for one stream."""
        return AI21Decoder(ask)

    def read_error(
        self, provider: str, status: int, body: bytes, *, retry_after_s: float | None = None
    ) -> GatewayError:
        """What an answer outside 2xx means."""
        return read_error(provider, status, body, retry_after_s=retry_after_s)

    def read_models(self, body: bytes) -> list[str]:
        """The names in a list of models as OpenAI has it. Raises upstream_bad_answer."""
        document = parse_object(body)
        models = document.get("data") if document is not None else None
        if not isinstance(models, list):
            raise GatewayError("upstream_bad_answer", "The provider's answer is no list of models.")
        names = [model.get("id") for model in models if isinstance(model, dict)]
        return [name for name in names if isinstance(name, str) and name]


DIALECT = AI21()
