"""Google PaLM's dialect, for endpoints that still serve it: text in, text out, in one piece.

Chat models have generateMessage, the others generateText; embedText embeds. There are no tools, images, streams or
counts of tokens: https://ai.google.dev/api/palm (read 2026-11).
"""

from __future__ import annotations

from gateway.errors import GatewayError
from gateway.wire.checks import invalid
from gateway.wire.chunks import completion
from gateway.wire.dialect import Ask, Document, Encoded
from gateway.wire.gemini import names_in
from gateway.wire.gemini_citations import citations
from gateway.wire.gemini_embeddings import embedding_list, object_in, texts_in
from gateway.wire.gemini_error import error_in, read_error
from gateway.wire.gemini_model import model_path
from gateway.wire.gemini_request import write
from gateway.wire.lacking import settle_lacking
from gateway.wire.palm_prompt import message_prompt, text_prompt
from gateway.wire.palm_stream import PalmDecoder
from gateway.wire.usage import Usage

_WHO = "PaLM"
_NUMBERS = {"temperature": "temperature", "top_p": "topP"}
_COUNTS = {"top_k": "topK", "n": "candidateCount"}
_LIMITS = ("max_completion_tokens", "max_tokens")
_MESSAGE = frozenset({*_NUMBERS, *_COUNTS, "stream_options"})
_TEXT = _MESSAGE | {*_LIMITS, "stop", "safetySettings"}
_EMBEDDING = frozenset({"encoding_format"})


class Palm:
    """PaLM's API. A streamed request is answered by one whole call, which its decoder turns into one chunk."""

    name = "palm"
    operations = frozenset({"chat", "embeddings"})
    choices = True
    image_urls = file_urls = True  # none are taken: refused before they are fetched

    def encode(self, ask: Ask) -> Encoded:
        """The request. Raises GatewayError (`unsupported_parameter`, `invalid_field`) naming the field."""
        path = model_path(ask.model)
        document = ask.document
        if ask.operation == "embeddings":
            dropped = settle_lacking(document, _EMBEDDING, ask.policy, _WHO)
            texts = texts_in(document)
            # v1beta2 has the first only, v1beta3 and v1beta have both.
            if len(texts) == 1:
                return Encoded(f"{path}:embedText", write({"text": texts[0]}), dropped=dropped)
            return Encoded(f"{path}:batchEmbedText", write({"texts": texts}), dropped=dropped)
        chats = "chat" in ask.model
        dropped = settle_lacking(document, _MESSAGE if chats else _TEXT, ask.policy, _WHO)
        prompt = message_prompt(document) if chats else text_prompt(document)
        body = {"prompt": prompt, **_settings(document)}
        if not chats:
            body |= _text_settings(document)
        return Encoded(path + (":generateMessage" if chats else ":generateText"), write(body), dropped=dropped)

    def decode(self, ask: Ask, body: bytes) -> tuple[Document, Usage | None]:
        """The canonical answer of a whole 2xx body; PaLM counts no tokens. Raises upstream_bad_answer and the rest."""
        document = object_in(body)
        if document.get("error"):
            raise error_in(document, self.name)
        if ask.operation == "embeddings":
            found = document.get("embeddings") or [document.get("embedding")]
            found = found if isinstance(found, list) else []
            return embedding_list(ask, [item.get("value") if isinstance(item, dict) else None for item in found], None)
        return completion(ask, _choices(document), None), None

    def decoder(self, ask: Ask) -> PalmDecoder:
        """A new decoder for one answer that is to look like a stream."""
        return PalmDecoder(lambda body: self.decode(ask, body)[0])

    def read_error(
        self, provider: str, status: int, body: bytes, *, retry_after_s: float | None = None
    ) -> GatewayError:
        """What an answer outside 2xx means."""
        return read_error(provider, status, body, retry_after_s=retry_after_s)

    def read_models(self, body: bytes) -> list[str]:
        """The names in the list of models, without `models/`. Raises upstream_bad_answer."""
        return [name.removeprefix("models/") for name in names_in(body, "models")]


def _settings(document: Document) -> Document:
    settings: Document = {}
    for name, own_name in _NUMBERS.items():
        value = document.get(name)
        if value is not None:
            if type(value) not in (int, float):
                raise invalid(name, "must be a number")
            settings[own_name] = value
    for name, own_name in _COUNTS.items():
        value = document.get(name)
        if value is not None:
            if type(value) is not int:
                raise invalid(name, "must be an integer")
            settings[own_name] = value
    return settings


def _text_settings(document: Document) -> Document:
    """What generateText has and generateMessage has not."""
    settings: Document = {}
    limit = next((document[name] for name in _LIMITS if document.get(name) is not None), None)
    if limit is not None:
        if type(limit) is not int:
            raise invalid("max_tokens", "must be an integer")
        settings["maxOutputTokens"] = limit
    stop = document.get("stop")
    stops = [stop] if isinstance(stop, str) else stop
    if stops:
        if not isinstance(stops, list) or not all(isinstance(item, str) for item in stops):
            raise invalid("stop", "must be a string or an array of strings")
        settings["stopSequences"] = stops
    if document.get("safetySettings") is not None:
        settings["safetySettings"] = document["safetySettings"]
    return settings


def _choices(document: Document) -> list[Document]:
    """One choice a candidate. Raises content_policy_violation where the filters have left none."""
    candidates = document.get("candidates")
    choices: list[Document] = []
    for candidate in candidates if isinstance(candidates, list) else ():
        if not isinstance(candidate, dict):
            continue
        text = candidate.get("content", candidate.get("output"))
        if not isinstance(text, str):
            continue
        message: Document = {"role": "assistant", "content": text}
        if found := citations(candidate, text):
            message["annotations"] = found
        choices.append({"index": len(choices), "message": message, "finish_reason": "stop"})
    if choices:
        return choices
    blocks = document.get("filters") or document.get("safetyFeedback")
    for block in blocks if isinstance(blocks, list) else ():
        if isinstance(block, dict):
            said = block.get("message") or block.get("reason")
            said = said if isinstance(said, str) else "SAFETY"
            raise GatewayError("content_policy_violation", f"The provider filtered its answer: {said[:1000]}.")
    raise GatewayError("upstream_bad_answer", "The provider's answer has no candidates.")


DIALECT = Palm()
