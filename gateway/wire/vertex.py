"""Vertex AI's dialect: Gemini's format behind a project and a region, and other methods for embeddings.

https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference (read 2026-11).
"""

from __future__ import annotations

from collections.abc import Mapping

from gateway.errors import GatewayError
from gateway.wire.checks import invalid
from gateway.wire.dialect import Ask, Document, Encoded
from gateway.wire.gemini import Gemini, chat_method, names_in
from gateway.wire.gemini_embeddings import (
    TAKEN,
    dimensions,
    embedding_list,
    object_in,
    task_type,
    texts_in,
)
from gateway.wire.gemini_model import generation, quoted
from gateway.wire.gemini_request import Surface, chat_body, write
from gateway.wire.lacking import settle_lacking
from gateway.wire.usage import Usage

# v1 answers 400 to an `id` in calls and results, so they are matched by their order there
# (https://github.com/vercel/ai/issues/15664, read 2026-11); `labels` is Vertex AI's alone.
_SURFACE = Surface(who="Vertex AI", call_ids=False, validated=False, mixed=False, own=frozenset({"labels"}))
_TAKEN = TAKEN | {"truncate"}
_TRUNCATES = {"NONE": False, "END": True}
# From this generation of embedding models on the method is embedContent; before it, predict:
# https://cloud.google.com/vertex-ai/generative-ai/docs/embeddings/get-text-embeddings (read 2026-11).
_FIRST_EMBED_CONTENT = (2, 0)


class Vertex(Gemini):
    """The Gemini models of Vertex AI. The address holds the host only; project and region are the account's options."""

    name = "vertex"

    def encode(self, ask: Ask) -> Encoded:
        """The request. Raises GatewayError (`unsupported_parameter`, `invalid_field`) naming the field."""
        path = resource_path(ask.model, ask.options)
        if ask.operation == "embeddings":
            dropped = settle_lacking(ask.document, _TAKEN, ask.policy, _SURFACE.who)
            method, body = _embedding(ask)
            return Encoded(path + method, write(body), dropped=dropped)
        written, dropped = chat_body(ask, _SURFACE)
        return Encoded(path + chat_method(ask), written, dropped=dropped)

    def decode(self, ask: Ask, body: bytes) -> tuple[Document, Usage | None]:
        """The canonical answer of a whole 2xx body, and what it used. Raises upstream_bad_answer and what it says."""
        if ask.operation == "embeddings" and not _embeds_content(ask.model):
            return _read_predictions(ask, body)
        return super().decode(ask, body)

    def read_models(self, body: bytes) -> list[str]:
        """The names in the list of Google's models, without the publisher. Raises upstream_bad_answer."""
        return [name.removeprefix("publishers/google/models/") for name in names_in(body, "publisherModels")]


def resource_path(model: str, options: Mapping[str, str]) -> str:
    """The path of a model: Google's by its bare name, another's as `publisher/model`, a tuned one's `endpoints/…`.

    Raises invalid_field for a name of another form.
    """
    project, region = options.get("project", ""), options.get("region", "")
    start = f"/v1/projects/{quoted(project)}/locations/{quoted(region)}"
    match model.split("/"):
        case [name] | ["models", name]:
            return f"{start}/publishers/google/models/{quoted(name)}"
        case ["endpoints", name]:
            return f"{start}/endpoints/{quoted(name)}"
        case [publisher, name] | ["publishers", publisher, "models", name]:
            return f"{start}/publishers/{quoted(publisher)}/models/{quoted(name)}"
    raise invalid("model", "must be a model, publisher/model, publishers/…/models/… or endpoints/…")


def _embeds_content(model: str) -> bool:
    return "gemini" in model and generation(model) >= _FIRST_EMBED_CONTENT


def _embedding(ask: Ask) -> tuple[str, Document]:
    """Method and body. Raises invalid_field: embedContent takes one text, several would become one embedding."""
    texts, size, task = texts_in(ask.document), dimensions(ask.document), task_type(ask.document)
    truncate = ask.document.get("truncate")
    if truncate is not None and truncate not in ("NONE", "END"):
        raise invalid("truncate", "must be NONE or END")
    settings: Document = {} if size is None else {"outputDimensionality": size}
    if truncate is not None:
        settings["autoTruncate"] = _TRUNCATES[truncate]
    if _embeds_content(ask.model):
        if len(texts) != 1:
            raise invalid("input", "must be one text: this model embeds one a request")
        body: Document = {"content": {"parts": [{"text": texts[0]}]}, **settings}
        return ":embedContent", body if task is None else {**body, "taskType": task}
    each: Document = {} if task is None else {"task_type": task}
    body = {"instances": [{"content": text, **each} for text in texts]}
    return ":predict", {**body, "parameters": settings} if settings else body


def _read_predictions(ask: Ask, body: bytes) -> tuple[Document, Usage | None]:
    predictions = object_in(body).get("predictions")
    if not isinstance(predictions, list):
        raise GatewayError("upstream_bad_answer", "The provider's answer has no predictions.")
    found = [item.get("embeddings") if isinstance(item, dict) else None for item in predictions]
    values = [item.get("values") if isinstance(item, dict) else None for item in found]
    tokens = sum(_token_count(item) for item in found)
    return embedding_list(ask, values, Usage(prompt=tokens) if tokens else None)


def _token_count(embedding: object) -> int:
    statistics = embedding.get("statistics") if isinstance(embedding, dict) else None
    count = statistics.get("token_count") if isinstance(statistics, dict) else None
    # predict writes its numbers through a protobuf value, which has floats only.
    return int(count) if isinstance(count, int | float) and 0 <= count < 2**53 else 0


DIALECT = Vertex()
