"""Hugging Face's errors: OpenAI's object from the router, `{"error": text, "error_type"}` from its own servers.

The types are those of text-generation-inference (router/src/infer, in small letters) and text-embeddings-inference
(in capitals): https://huggingface.co/docs/text-generation-inference/reference/api_reference,
https://huggingface.github.io/text-embeddings-inference (read 2026-11).
"""

from __future__ import annotations

import re

from gateway.errors import GatewayError
from gateway.wire.dialect import Document
from gateway.wire.provider_errors import Rule, error_document, provider_error

_REQUEST = frozenset({0, 400, 413, 422})
_RULES = (
    Rule(
        "content_policy_violation",
        names=frozenset({"content_policy_violation", "content_filter", "moderation_blocked"}),
    ),
    Rule("context_length_exceeded", names=frozenset({"context_length_exceeded"})),
    Rule(
        "context_length_exceeded",
        says=re.compile(
            r"(?i)`inputs` (?:tokens \+|must have less than)|inputs? (?:is|are) too long|maximum context length"
            r"|context (?:length|window)|must have less than \d+ tokens|too many tokens|prompt is too long"
        ),
        statuses=_REQUEST,
    ),
    Rule(
        "upstream_auth",
        says=re.compile(r"(?i)token seems invalid|invalid username or password|invalid (?:credentials|token)"),
        statuses=frozenset({0, 400, 401, 403}),
    ),
    Rule(
        "upstream_quota",
        says=re.compile(r"(?i)(?:exceeded|depleted|reached|used up) your monthly|pre-?paid credits|out of credits"),
        statuses=frozenset({0, 402, 403, 429}),
    ),
    Rule("upstream_quota", names=frozenset({"insufficient_quota"})),
    Rule("upstream_overloaded", names=frozenset({"overloaded", "Overloaded", "unhealthy", "Unhealthy"})),
    Rule("upstream_429", names=frozenset({"rate_limit_exceeded", "rate_limit_error"}), statuses=frozenset({0})),
    # 424: the server's own model failed, which a client can do nothing about.
    Rule("upstream_5xx", names=frozenset({"generation", "incomplete_generation", "Backend", "backend"})),
    Rule("upstream_5xx", says=re.compile(""), statuses=frozenset({424})),
    Rule("upstream_overloaded", says=re.compile(r"(?i)is (?:currently|still) loading|model is overloaded")),
)
# How long a client is told to wait at most for a model that is being loaded.
_MAX_WAIT_S = 120.0


def huggingface_error(provider: str, status: int, body: bytes, retry_after_s: float | None) -> GatewayError:
    """What an answer outside 2xx means; a model that is being loaded says how long that takes."""
    document = error_document(body)
    names, text, code = _read(document)
    wait_s = document.get("estimated_time")
    if retry_after_s is None and status == 503 and isinstance(wait_s, int | float) and wait_s > 0:
        retry_after_s = min(float(wait_s), _MAX_WAIT_S)
    return provider_error(
        _RULES, provider, status, names=names, text=text, shown_code=code, retry_after_s=retry_after_s
    )


def huggingface_error_within(document: Document, what: str) -> GatewayError:
    """What an error inside an answer that had begun with 200 means; it may name the status it stands for."""
    names, text, code = _read(document)
    error = document.get("error")
    detail = error if type(error) is dict else document
    numbers = [detail.get(name) for name in ("http_status_code", "status_code", "status", "code")]
    status = next((number for number in numbers if type(number) is int and 400 <= number <= 599), 0)
    found = provider_error(_RULES, "huggingface", status, names=names, text=text, shown_code=code)
    if found.code == "upstream_bad_answer":
        said = found.message.partition(": ")[2]
        return GatewayError(found.code, f"{what}: {said}" if said else f"{what}.")
    return found


def _read(document: Document) -> tuple[list[object], object, object]:
    """The codes and types, the message, and the code to show."""
    error = document.get("error")
    if type(error) is dict:
        return [error.get("code"), error.get("type")], error.get("message"), error.get("code")
    if type(error) is list:  # of messages, one for each thing wrong with the request
        error = "; ".join(str(item) for item in error[:10] if type(item) is str)
    text = error if type(error) is str and error else document.get("message") or document.get("detail")
    kind = document.get("error_type") or document.get("type")
    return [kind, document.get("code")], text, kind
