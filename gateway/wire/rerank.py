"""POST /v1/rerank: the request as clients of several vendors write it, and the answer in Cohere v2's shape. Pure.

Canonical is Cohere v2 (https://docs.cohere.com/v2/reference/rerank, read 2026-11): `{"model", "query", "documents",
"top_n", "max_tokens_per_doc", "return_documents"}`, a document being text or an object with a `text`. Also taken are
v1's documents with fields of their own and `rank_fields` (https://docs.cohere.com/v1/reference/rerank), and Jina's
query in an object (https://api.jina.ai/redoc, both read 2026-11). The answer is `{"id", "results": [{"index",
"relevance_score", "document"?}], "meta"}`; the documents in it are the client's own, put there by the gateway.
"""

from __future__ import annotations

from typing import Any

import orjson

from gateway.wire.checks import invalid, missing
from gateway.wire.dialect import Document
from gateway.wire.openai import read_json_object

_MAX_MODEL_CHARACTERS = 256


def read_rerank(body: bytes) -> Document:
    """The canonical request; fields that are not rerank's own are left for the provider's dialect to judge.

    Raises invalid_json, missing_field or invalid_field, naming the field.
    """
    document = read_json_object(body)
    for field in ("model", "query", "documents"):
        if document.get(field) is None:
            raise missing(field)
    model = document["model"]
    if not isinstance(model, str) or not model or len(model) > _MAX_MODEL_CHARACTERS:
        raise invalid("model", f"must be a non-empty string of at most {_MAX_MODEL_CHARACTERS} characters")
    document["query"] = _read_query(document["query"])
    if document.get("stream"):
        raise invalid("stream", "is not supported by this endpoint")
    for field in ("top_n", "max_tokens_per_doc"):
        number = document.get(field)
        if number is not None and (type(number) is not int or number < 1):
            raise invalid(field, "must be a positive integer")
    if type(document.get("return_documents")) not in (type(None), bool):
        raise invalid("return_documents", "must be true or false")
    document_texts(document)
    return document


def _read_query(query: object) -> str:
    text = query.get("text") if isinstance(query, dict) else query
    if not isinstance(text, str) or not text:
        raise invalid("query", "must be a non-empty string")
    return text


def document_texts(document: Document) -> list[str]:
    """The texts to rank, for a provider that takes nothing else: of an object its `text`, or its `rank_fields`, each
    on a line of its own behind its name. Raises invalid_field naming the document."""
    documents = document.get("documents")
    if not isinstance(documents, list) or not documents:
        raise invalid("documents", "must be a non-empty array")
    fields = document.get("rank_fields")
    if fields is not None and not (
        isinstance(fields, list) and fields and all(isinstance(name, str) for name in fields)
    ):
        raise invalid("rank_fields", "must be a non-empty array of strings")
    return [_text(item, index, fields) for index, item in enumerate(documents)]


def _text(item: Any, index: int, fields: list[str] | None) -> str:
    if isinstance(item, str):
        return item
    where = f"documents[{index}]"
    if not isinstance(item, dict):
        raise invalid(where, "must be a string or an object with a text")
    if fields is None or fields == ["text"]:
        if not isinstance(item.get("text"), str):
            raise invalid(f"{where}.text", "must be a string")
        text: str = item["text"]
        return text
    lines = []
    for name in fields:
        value = item.get(name)
        if value is None:
            continue
        if not isinstance(value, (str, int, float)):
            raise invalid(f"{where}.{name}", "must be a string or a number")
        lines.append(f"{name}: {value}")
    if not lines:
        raise invalid(where, "has none of the rank_fields")
    return "\n".join(lines)


def render_rerank(answer: Document, document: Document) -> bytes:
    """A canonical answer as the client's body, with the documents in it where the request asks for them.

    `document` is what `read_rerank` gave. A text is shown as `{"text"}`, an object as it came.
    """
    if document.get("return_documents") is True:
        documents = document["documents"]
        results = [{**result, "document": _shown(documents[result["index"]])} for result in answer["results"]]
        answer = {**answer, "results": results}
    return orjson.dumps(answer)


def _shown(item: Any) -> Any:
    return {"text": item} if isinstance(item, str) else item
