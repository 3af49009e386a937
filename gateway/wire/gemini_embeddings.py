"""Embeddings of the Gemini API: https://ai.google.dev/api/embeddings (read 2026-11)."""

from __future__ import annotations

import base64
import sys
from array import array
from collections.abc import Sequence
from typing import Any

from gateway.errors import GatewayError
from gateway.wire.checks import invalid
from gateway.wire.chunks import usage_document
from gateway.wire.dialect import Ask, Document
from gateway.wire.gemini_usage import read_usage
from gateway.wire.openai_error import parse_object
from gateway.wire.usage import Usage

TAKEN = frozenset({"dimensions", "encoding_format", "input_type", "task_type", "taskType"})
# Cohere's words, as the canonical `input_type`, beside Google's own, which are in capitals.
_TASKS = {
    "classification": "CLASSIFICATION",
    "clustering": "CLUSTERING",
    "document": "RETRIEVAL_DOCUMENT",
    "passage": "RETRIEVAL_DOCUMENT",
    "query": "RETRIEVAL_QUERY",
    "search_document": "RETRIEVAL_DOCUMENT",
    "search_query": "RETRIEVAL_QUERY",
}


def texts_in(document: Document) -> list[str]:
    """The texts to embed. Raises invalid_field: tokens of another provider's tokenizer mean nothing here."""
    given = document.get("input")
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise invalid("input", "must be a string or a non-empty array of strings")
    return texts


def task_type(document: Document) -> str | None:
    """Google's word for what the embeddings are for. Raises invalid_field for an unknown `input_type`."""
    own = document.get("task_type") or document.get("taskType")
    if own is not None:
        if not isinstance(own, str):
            raise invalid("task_type", "must be a string")
        return own
    given = document.get("input_type")
    if given is None:
        return None
    if isinstance(given, str):
        if given in _TASKS:
            return _TASKS[given]
        if given.isupper():
            return given
    raise invalid("input_type", f"must be one of {', '.join(sorted(_TASKS))}, or a task type of Google's")


def dimensions(document: Document) -> int | None:
    """How long each embedding is to be. Raises invalid_field."""
    given: Any = document.get("dimensions")
    if given is not None and (type(given) is not int or given < 1):
        raise invalid("dimensions", "must be a positive integer")
    return None if given is None else int(given)


def batch(document: Document, resource: str) -> Document:
    """The body of `batchEmbedContents`; each request in it names the model's resource, `models/…`."""
    each: Document = {}
    if (size := dimensions(document)) is not None:
        each["outputDimensionality"] = size
    if (task := task_type(document)) is not None:
        each["taskType"] = task
    return {
        "requests": [{"model": resource, "content": {"parts": [{"text": text}]}, **each} for text in texts_in(document)]
    }


def read_batch(ask: Ask, body: bytes) -> tuple[Document, Usage | None]:
    """The canonical answer of `batchEmbedContents` or `embedContent`. Raises upstream_bad_answer."""
    document = object_in(body)
    found = document.get("embeddings")
    if not isinstance(found, list):
        found = [document.get("embedding")]
    values = [item.get("values") if isinstance(item, dict) else None for item in found]
    return embedding_list(ask, values, read_usage(document.get("usageMetadata")))


def object_in(body: bytes) -> Document:
    """The JSON object of a body of 2xx. Raises upstream_bad_answer."""
    document = parse_object(body)
    if document is None:
        raise GatewayError("upstream_bad_answer", "The provider's answer is not a JSON object.")
    return document


def embedding_list(ask: Ask, vectors: Sequence[object], usage: Usage | None) -> tuple[Document, Usage | None]:
    """OpenAI's answer with these vectors, as numbers or, where that was asked for, base64 of 32-bit floats.

    Raises upstream_bad_answer where one is no list of numbers, or none came.
    """
    if not vectors:
        raise GatewayError("upstream_bad_answer", "The provider's answer has no embeddings.")
    packed = ask.document.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": index, "embedding": _pack(vector) if packed else _check(vector)}
        for index, vector in enumerate(vectors)
    ]
    answer: Document = {"object": "list", "data": data, "model": ask.shown_model}
    if usage is not None:
        counts = usage_document(usage)
        answer["usage"] = {name: counts[name] for name in ("prompt_tokens", "total_tokens")}
    return answer, usage


def _check(vector: object) -> list[Any]:
    # The encoder of JSON has let only numbers through where every item is one; the first tells for the rest.
    if not isinstance(vector, list) or not vector or type(vector[0]) not in (int, float):
        raise GatewayError("upstream_bad_answer", "The provider's answer has an embedding that is no list of numbers.")
    return vector


def _pack(vector: object) -> str:
    try:
        floats = array("f", _check(vector))
    except (TypeError, OverflowError):
        raise GatewayError(
            "upstream_bad_answer", "The provider's embedding holds something else than numbers."
        ) from None
    if sys.byteorder == "big":
        floats.byteswap()
    return base64.b64encode(floats.tobytes()).decode()
