"""Embeddings as OpenAI writes them, made of another provider's vectors, and what OpenAI's clients ask for."""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence

from gateway.errors import GatewayError
from gateway.wire.checks import invalid
from gateway.wire.chunks import usage_document
from gateway.wire.dialect import Ask, Document
from gateway.wire.openai_dialect_answer import bad_answer
from gateway.wire.usage import Usage

_NUMBERS = frozenset({int, float})


def texts_of(document: Document, who: str) -> str | list[str]:
    """The texts to embed. Raises unsupported_parameter for token ids, which mean nothing to another's model."""
    given = document.get("input")
    if type(given) is str:
        return given
    if type(given) is not list or not given:
        raise invalid("input", "must be a string or a non-empty array")
    if all(type(text) is str for text in given):
        return given
    if all(type(item) is int for item in given) or all(type(item) is list for item in given):
        raise GatewayError("unsupported_parameter", f"Token ids as 'input' are not supported by {who}.", param="input")
    raise invalid("input", "must hold strings only")


def embedding_list(ask: Ask, vectors: object, usage: Usage | None) -> Document:
    """The canonical answer with one embedding for each of `vectors`, as numbers or, where asked for, in base64.

    Raises upstream_bad_answer unless `vectors` is a list of lists of numbers.
    """
    if type(vectors) is not list or not vectors:
        raise bad_answer("answered without embeddings")
    packed = ask.document.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": index, "embedding": _packed(vector) if packed else _checked(vector)}
        for index, vector in enumerate(vectors)
    ]
    return with_usage({"object": "list", "data": data, "model": ask.shown_model}, usage)


def with_usage(document: Document, usage: Usage | None) -> Document:
    """`document` with its usage, which for embeddings has no completion. It is changed and given back."""
    if usage is not None:
        counts = usage_document(usage)
        document["usage"] = {"prompt_tokens": counts["prompt_tokens"], "total_tokens": counts["total_tokens"]}
    return document


def repacked(vector: object) -> object:
    """An embedding that came as numbers, in base64; one that came as text is left as it is."""
    return vector if type(vector) is str else _packed(vector)


def _checked(vector: object) -> Sequence[float]:
    if type(vector) is not list or not vector or not _NUMBERS.issuperset(map(type, vector)):
        raise bad_answer("answered with an embedding that is not a list of numbers")
    return vector


def _packed(vector: object) -> str:
    """32-bit floats, lowest byte first (https://platform.openai.com/docs/api-reference/embeddings, read 2026-11)."""
    numbers = _checked(vector)
    try:
        return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()
    except (struct.error, OverflowError):
        raise bad_answer("answered with an embedding whose numbers are out of range") from None
