"""OpenAI's embeddings request as Cohere's POST /v2/embed, and its answer back.

https://docs.cohere.com/v2/reference/embed (read 2026-11).
"""

from __future__ import annotations

import struct
from base64 import b64encode
from typing import Any

from gateway.errors import GatewayError
from gateway.wire.checks import invalid
from gateway.wire.cohere_answer import read_object, sane
from gateway.wire.cohere_messages import lacking
from gateway.wire.cohere_request import dump
from gateway.wire.dialect import Ask, Document, Encoded
from gateway.wire.lacking import settle_lacking
from gateway.wire.usage import Usage

_TAKEN = frozenset({"dimensions", "encoding_format", "input_type", "truncate"})
# What others call the same.
_INPUT_TYPES = {"document": "search_document", "passage": "search_document", "query": "search_query"}
_NUMBERS = {float, int}
_NO_VECTORS = "The provider's answer holds no embeddings."


def encode_embeddings(ask: Ask) -> Encoded:
    """The request. Cohere demands an `input_type`; the default is that of texts that are to be found.

    Raises invalid_field or unsupported_parameter: lists of tokens mean nothing without OpenAI's tokenizer.
    """
    document = ask.document
    dropped = settle_lacking(document, _TAKEN, ask.policy, "Cohere's embeddings")
    input_type = document.get("input_type")
    input_type = "search_document" if input_type is None else input_type
    if not isinstance(input_type, str):
        raise invalid("input_type", "must be a string")
    if document.get("encoding_format") not in (None, "float", "base64"):
        raise invalid("encoding_format", "must be float or base64")
    body: Document = {
        "model": ask.model,
        "texts": _texts(document.get("input")),
        "input_type": _INPUT_TYPES.get(input_type, input_type),
        "embedding_types": ["float"],
    }
    if document.get("dimensions") is not None:
        body["output_dimension"] = document["dimensions"]
    if document.get("truncate") is not None:
        body["truncate"] = document["truncate"]
    return Encoded("/v2/embed", dump(body), dropped=dropped)


def _texts(given: object) -> list[str]:
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts:
        raise invalid("input", "must be a string or a non-empty array of strings")
    for index, text in enumerate(texts):
        if isinstance(text, (int, list)):
            raise lacking("input", "tokens in place of text")
        if not isinstance(text, str):
            raise invalid(f"input[{index}]", "must be a string")
    return texts


def decode_embeddings(ask: Ask, body: bytes) -> tuple[Document, Usage | None]:
    """OpenAI's list of embeddings, as base64 of little-endian 32-bit floats where the client wants that.

    Raises upstream_bad_answer.
    """
    document = read_object(body)
    vectors = document.get("embeddings")
    vectors = vectors.get("float") if isinstance(vectors, dict) else vectors
    if not isinstance(vectors, list) or not all(map(_is_vector, vectors)):
        raise GatewayError("upstream_bad_answer", _NO_VECTORS)
    packed = ask.document.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": index, "embedding": _pack(vector) if packed else vector}
        for index, vector in enumerate(vectors)
    ]
    usage = _read_usage(document.get("meta"))
    tokens = usage.prompt if usage is not None else 0
    shown = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": ask.shown_model, "usage": shown}, usage


def _is_vector(vector: Any) -> bool:
    return isinstance(vector, list) and set(map(type, vector)) <= _NUMBERS


def _pack(vector: list[Any]) -> str:
    try:
        return b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
    except (struct.error, OverflowError):
        raise GatewayError("upstream_bad_answer", _NO_VECTORS) from None


def _read_usage(meta: object) -> Usage | None:
    billed = meta.get("billed_units") if isinstance(meta, dict) else None
    if not isinstance(billed, dict) or "input_tokens" not in billed:
        return None
    images = sane(billed.get("image_tokens"))
    return Usage(sane(billed.get("input_tokens")) + images, image_in=images)
