"""Google's errors as ours: https://ai.google.dev/gemini-api/docs/troubleshooting, google.rpc.Status (read 2026-11).

`{"error": {"code", "message", "status", "details"}}`, where `status` is a word of google.rpc.Code and `details` say
which quota, and how long to wait. Streams that are not events wrap it in an array.
"""

from __future__ import annotations

import re

import orjson

from gateway.errors import GatewayError
from gateway.wire.dialect import Document
from gateway.wire.provider_errors import Rule, error_document, provider_error

_MAX_PARSED_BYTES = 1_000_000
_DELAY = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s")
_MAX_DELAY_S = 24 * 3600.0

RULES = (
    Rule("upstream_auth", frozenset({"API_KEY_INVALID", "API_KEY_EXPIRED", "UNAUTHENTICATED", "PERMISSION_DENIED"})),
    Rule("upstream_auth", says=re.compile(r"(?i)^api key (?:not valid|expired|not found)"), statuses=frozenset({400})),
    # About the account, not the request: another provider may answer it.
    Rule(
        "upstream_auth",
        frozenset({"FAILED_PRECONDITION"}),
        re.compile(r"(?i)location is not supported|billing|not been used in project"),
    ),
    Rule(
        "context_length_exceeded",
        says=re.compile(
            r"(?i)input token count.{0,60}(?:exceed|only supports|maximum)|exceeds the maximum number of tokens"
            r"|input context is too long|prompt is too long"
        ),
        statuses=frozenset({0, 400, 413}),
    ),
    Rule(
        "content_policy_violation",
        says=re.compile(
            r"(?i)responsible ai|prohibited_content|usage guidelines"
            r"|blocked (?:by|due to) .{0,40}(?:safety|filter|polic)"
        ),
        statuses=frozenset({0, 400}),
    ),
    # The free and the daily quota are used up for longer than anybody waits; a minute's is a rate.
    Rule("upstream_quota", frozenset({"PerDay"})),
    Rule("upstream_429", frozenset({"PerMinute"})),
    Rule(
        "upstream_quota",
        frozenset({"RESOURCE_EXHAUSTED"}),
        re.compile(
            r"(?i)billing|prepa(?:y|id)|credits? (?:are|is) depleted|spend(?:ing)? (?:cap|limit)|per_?day|daily"
        ),
    ),
    Rule("upstream_429", frozenset({"RESOURCE_EXHAUSTED"}), statuses=frozenset({0, 429})),
    Rule("upstream_overloaded", frozenset({"UNAVAILABLE"})),
    Rule("upstream_5xx", frozenset({"CANCELLED", "DATA_LOSS", "DEADLINE_EXCEEDED", "INTERNAL", "UNKNOWN"})),
)


def read_error(provider: str, status: int, body: bytes, *, retry_after_s: float | None = None) -> GatewayError:
    """What an answer outside 2xx means. `retry_after_s` is what the headers say, which goes before the body's."""
    return _read(provider, status, _document(body), retry_after_s)


def error_in(document: Document, provider: str) -> GatewayError:
    """What an error inside an answer of 200 means, whole or as an event."""
    error = document.get("error")
    code = error.get("code") if isinstance(error, dict) else None
    return _read(provider, code if type(code) is int and 400 <= code <= 599 else 0, document, None)


def _read(provider: str, status: int, document: Document, retry_after_s: float | None) -> GatewayError:
    error = document.get("error")
    if not isinstance(error, dict):
        error = {"message": error if isinstance(error, str) else document.get("message")}
    word = error.get("status")
    names: list[object] = [word] if isinstance(word, str) else []
    details = error.get("details")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict):
            delay = _read_detail(detail, names)
            retry_after_s = delay if retry_after_s is None else retry_after_s
    found = provider_error(RULES, provider, status, names=names, text=error.get("message"), retry_after_s=retry_after_s)
    if found.code == "upstream_4xx" and isinstance(word, str) and word.isascii() and word.isprintable():
        found.shown_code = word[:100].lower()
    return found


def _read_detail(detail: Document, names: list[object]) -> float | None:
    """The seconds to wait that this detail tells; notes the reason or the kind of quota it names."""
    reason = detail.get("reason")
    if isinstance(reason, str):
        names.append(reason)
    violations = detail.get("violations")
    for violation in violations if isinstance(violations, list) else ():
        quota = violation.get("quotaId") if isinstance(violation, dict) else None
        if isinstance(quota, str):
            names += [span for span in ("PerDay", "PerMinute") if span in quota]
    delay = detail.get("retryDelay")
    found = _DELAY.fullmatch(delay) if isinstance(delay, str) else None
    return min(float(found[1]), _MAX_DELAY_S) if found is not None else None


def _document(body: bytes) -> Document:
    if len(body) <= _MAX_PARSED_BYTES and body.lstrip()[:1] == b"[":
        try:
            found = orjson.loads(body)
        except orjson.JSONDecodeError:
            return {}
        return next((item for item in found if isinstance(item, dict)), {}) if isinstance(found, list) else {}
    return error_document(body)
