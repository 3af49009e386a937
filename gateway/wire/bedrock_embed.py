"""Embeddings by InvokeModel, whose body is each vendor's own: Amazon's Titan, one text a request, and Cohere's.

https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-embed-text.html and
https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-embed.html (read 2026-11).
"""

from __future__ import annotations

import base64
import struct

from gateway.errors import GatewayError
from gateway.wire.bedrock_error import error_within
from gateway.wire.bedrock_models import Family
from gateway.wire.checks import invalid
from gateway.wire.chunks import usage_document
from gateway.wire.dialect import Ask, Document
from gateway.wire.lacking import settle_lacking
from gateway.wire.openai_error import parse_object
from gateway.wire.usage import Usage

_TITAN = frozenset({"encoding_format", "normalize"})
_TITAN_2 = _TITAN | {"dimensions"}
_COHERE = frozenset({"encoding_format", "input_type", "truncate"})
_COHERE_4 = _COHERE | {"dimensions"}
# Every answer of InvokeModel's has it, and Cohere's answers say it nowhere else: Cohere's own client reads it so
# (https://github.com/cohere-ai/cohere-python/pull/537, read 2026-11).
_COUNT_HEADER = b"x-amzn-bedrock-input-token-count"
_COUNT_DIGITS = 15


def encode_embeddings(ask: Ask, family: Family) -> tuple[Document, list[str]]:
    """InvokeModel's body and what was left out. Raises invalid_field and unsupported_parameter."""
    if family.vendor == "amazon" and family.name.startswith("titan-embed-text"):
        return _titan(ask, family)
    if family.vendor == "cohere" and family.name.startswith("embed-"):
        return _cohere(ask, family)
    raise invalid("model", "is none of Bedrock's embedding models that the gateway knows: Titan Text and Cohere Embed")


def _texts(ask: Ask) -> list[str]:
    given = ask.document.get("input")
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise invalid("input", "must be a text or an array of texts")
    return texts


def _titan(ask: Ask, family: Family) -> tuple[Document, list[str]]:
    document, texts = ask.document, _texts(ask)
    second = family.name.startswith("titan-embed-text-v2")
    dropped = settle_lacking(document, _TITAN_2 if second else _TITAN, ask.policy, "this model of Bedrock's")
    if len(texts) != 1:
        raise invalid("input", "must be one text: Titan embeds one a request")
    body: Document = {"inputText": texts[0]}
    if second:
        for name, kinds in (("dimensions", int), ("normalize", bool)):
            value = document.get(name)
            if value is not None:
                if type(value) is not kinds:
                    raise invalid(name, "has the wrong type")
                body[name] = value
    return body, dropped


def _cohere(ask: Ask, family: Family) -> tuple[Document, list[str]]:
    document = ask.document
    fourth = family.name.startswith("embed-v4")
    dropped = settle_lacking(document, _COHERE_4 if fourth else _COHERE, ask.policy, "this model of Bedrock's")
    body: Document = {
        "texts": _texts(ask),
        "input_type": document.get("input_type") or "search_document",  # Cohere demands one
        "embedding_types": ["float"],
    }
    if document.get("truncate") is not None:
        body["truncate"] = document["truncate"]
    if document.get("dimensions") is not None:
        body["output_dimension"] = document["dimensions"]
    return body, dropped


def decode_embeddings(ask: Ask, body: bytes) -> tuple[Document, Usage | None]:
    """The canonical list. Titan counts its tokens in the body, Cohere in a header of the answer.

    Raises upstream_bad_answer, or what an error with status 200 means.
    """
    document = parse_object(body)
    if document is None:
        raise GatewayError("upstream_bad_answer", "The provider's answer is not a JSON object.")
    one, many = document.get("embedding"), document.get("embeddings")
    if isinstance(many, dict):
        many = many.get("float")
    vectors = [one] if isinstance(one, list) else many
    if not isinstance(vectors, list):
        raise error_within(document)
    packed = ask.document.get("encoding_format") == "base64"
    count = document.get("inputTextTokenCount")
    if type(count) is not int or count < 0:
        count = _counted_in_head(ask)
    usage = None if count is None else Usage(prompt=count)
    written = usage_document(usage or Usage())
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": _vector(vector, packed=packed)}
            for index, vector in enumerate(vectors)
        ],
        "model": ask.shown_model,
        "usage": {"prompt_tokens": written["prompt_tokens"], "total_tokens": written["total_tokens"]},
    }, usage


def _counted_in_head(ask: Ask) -> int | None:
    text = dict(ask.answer_headers).get(_COUNT_HEADER, b"")
    return int(text) if text.isdigit() and len(text) <= _COUNT_DIGITS else None


def _vector(vector: object, *, packed: bool) -> list[float] | str:
    """The numbers, or as OpenAI packs them: base64 of 32-bit floats, least byte first."""
    if not isinstance(vector, list):
        raise GatewayError("upstream_bad_answer", "The provider's answer has an embedding that is no array.")
    if not packed:
        return vector
    try:
        return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
    except (struct.error, OverflowError):
        raise GatewayError("upstream_bad_answer", "The provider's answer has an embedding without numbers.") from None
