"""Cohere's POST /v2/rerank, whose shape is the canonical one. Version 2 takes texts only, and gives none back.

https://docs.cohere.com/v2/reference/rerank (read 2026-11).
"""

from __future__ import annotations

from typing import Any

import orjson

from gateway.errors import GatewayError
from gateway.wire.checks import invalid
from gateway.wire.cohere_answer import read_object, sane
from gateway.wire.cohere_request import dump
from gateway.wire.dialect import Ask, Document, Encoded
from gateway.wire.lacking import settle_lacking
from gateway.wire.rerank import document_texts
from gateway.wire.usage import Usage

# `return_documents` is the gateway's to do; `priority` is Cohere's own.
_TAKEN = frozenset({"max_tokens_per_doc", "priority", "rank_fields", "return_documents", "top_n"})


def encode_rerank(ask: Ask) -> Encoded:
    """The request. Raises invalid_field or unsupported_parameter naming the field."""
    document = ask.document
    dropped = settle_lacking(document, _TAKEN, ask.policy, "Cohere's rerank")
    if not isinstance(document.get("query"), str):
        raise invalid("query", "must be a string")
    body: Document = {"model": ask.model, "query": document["query"], "documents": document_texts(document)}
    for name in ("top_n", "max_tokens_per_doc", "priority"):
        if document.get(name) is not None:
            body[name] = document[name]
    return Encoded("/v2/rerank", dump(body), dropped=dropped)


def decode_rerank(ask: Ask, body: bytes) -> tuple[Document, Usage | None]:
    """The canonical answer, with Cohere's `meta` as it came.

    Usage is the search units, which Cohere bills, and the tokens where they are told. Raises upstream_bad_answer, also
    for a result of no document.
    """
    document = read_object(body)
    results = document.get("results")
    given = ask.document.get("documents")
    count = len(given) if isinstance(given, list) else 0
    if not isinstance(results, list):
        raise GatewayError("upstream_bad_answer", "The provider's answer holds no results.")
    answer: Document = {
        "id": document["id"] if isinstance(document.get("id"), str) else ask.answer_id,
        "results": [_result(result, count) for result in results],
    }
    meta = document.get("meta")
    if not isinstance(meta, dict):
        return answer, None
    _check_depth(meta)
    answer["meta"] = meta
    return answer, _read_usage(meta)


def _result(result: Any, count: int) -> Document:
    index = result.get("index") if isinstance(result, dict) else None
    score = result.get("relevance_score") if isinstance(result, dict) else None
    if type(index) is not int or not 0 <= index < count or type(score) not in (int, float):
        raise GatewayError("upstream_bad_answer", "The provider's answer ranks a document that it was not given.")
    return {"index": index, "relevance_score": score}


def _read_usage(meta: Document) -> Usage | None:
    """The billed search units, and the tokens; None where neither is told."""
    billed, tokens = meta.get("billed_units"), meta.get("tokens")
    units = billed.get("search_units") if isinstance(billed, dict) else None
    counted = tokens if isinstance(tokens, dict) else {}
    if units is None and "input_tokens" not in counted:
        return None
    prompt, completion = sane(counted.get("input_tokens")), sane(counted.get("output_tokens"))
    return Usage(prompt, completion, search_units=sane(units))


def _check_depth(meta: Document) -> None:
    """Raises upstream_bad_answer for what nests too deeply to be written anew."""
    try:
        orjson.dumps(meta)
    except orjson.JSONEncodeError:
        raise GatewayError("upstream_bad_answer", "The provider's answer nests too deeply.") from None
