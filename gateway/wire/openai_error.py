"""OpenAI's errors: what an answer outside 2xx or an error in a stream means, and the event that ends one of ours."""

from __future__ import annotations

import re
from typing import Any

import orjson

from gateway.errors import GatewayError

# What looks like a key: a vendor's prefix and something with a digit (or the asterisks of a masked one) behind it.
_CREDENTIAL = re.compile(
    rb"(?i)\b(?:sk|pk|rk|gsk|csk|xai|nvapi|hf|r8|fw|pplx|tgp|key|api[-_]?key)[-_](?=[A-Za-z_\-.]*[0-9*])[A-Za-z0-9_\-*.]{8,}"
    rb"|\bAIza[A-Za-z0-9_\-]{20,}|\bbearer\s+(?=[A-Za-z_\-.]*[0-9*])[A-Za-z0-9._\-*]{8,}"
)
_CONTEXT = re.compile(r"(?i)maximum context length|context.length|context window|too many tokens|prompt is too long")
# The last is llama.cpp's: https://github.com/ggml-org/llama.cpp/pull/15780 (read 2026-11)
_CONTEXT_CODES = frozenset({"context_length_exceeded", "string_above_max_length", "exceed_context_size_error"})
_POLICY_CODES = frozenset(
    {
        "content_policy_violation",
        "content_filter",
        "moderation_blocked",
        "ResponsibleAIPolicyViolation",
        "contentFilter",
        "invalid_prompt",
    }
)
_LIMIT_CODES = frozenset({"rate_limit_exceeded", "rate_limit_error", "rate_limited", "too_many_requests"})
_QUOTA_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached", "quota_exceeded", "billing_not_active"})
# What the client must see as the provider wrote it.
_PASSED_ON = frozenset({"upstream_4xx", "context_length_exceeded", "content_policy_violation"})


def error_event(error: GatewayError, request_id: str) -> bytes:
    """The event that ends a stream which cannot be finished; it is not followed by `[DONE]`."""
    error.raw = None  # an upstream's own body has no request id, and may have line breaks
    return b"data: " + error.body(request_id) + b"\n\n"


def _message(document: dict[str, Any]) -> str:
    error = document.get("error")
    text = error.get("message") if isinstance(error, dict) else error
    if not isinstance(text, str):
        text = document.get("message") or document.get("detail") or ""
    text = text if isinstance(text, str) else str(text)
    return redact(text.encode(errors="replace")).decode(errors="replace")[:1000]


def redact(text: bytes) -> bytes:
    """`text` without what looks like a credential: providers echo keys in their messages."""
    return _CREDENTIAL.sub(b"[redacted]", text)


def read_error(provider: str, status: int, body: bytes, *, retry_after_s: float | None = None) -> GatewayError:
    """What an answer outside 2xx means. The provider's message is kept, what looks like a credential is not."""
    document = (parse_object(body) if len(body) <= 1_000_000 else None) or {}
    detail = document.get("error")
    detail = detail if isinstance(detail, dict) else {}
    text = _message(document)
    code = _classify(status, _codes(detail), text)
    if code in _PASSED_ON:
        said = text or f"The provider '{provider}' answered {status}."
        raw = redact(body) if detail else None
        return GatewayError(code, said, status=status, shown_code=_shown(detail), raw=raw)
    if code == "upstream_auth":
        return GatewayError(code, f"The provider '{provider}' refused the gateway's credentials ({status}).")
    said = f"The provider '{provider}' answered {status}" + (f": {text}" if text else ".")
    return GatewayError(code, said, retry_after_s=retry_after_s)


def error_within(document: dict[str, Any], what: str) -> GatewayError:
    """What an error means that came with status 200, whole or as an event; it may name the status it stands for."""
    error = document.get("error")
    detail = error if isinstance(error, dict) else document if not error else {}
    statuses = [detail.get(name) for name in ("status_code", "code", "status")]
    status = next((number for number in statuses if type(number) is int and 400 <= number <= 599), 0)
    text = _message(document)
    codes = _codes(detail)
    if not status and codes & _LIMIT_CODES:
        status = 429
    code = _classify(status, codes, text)
    if code in _PASSED_ON:
        return GatewayError(code, text or what, status=status or None, shown_code=_shown(detail))
    if code == "upstream_auth":
        return GatewayError(code, "The provider refused the gateway's credentials.")
    return GatewayError(code, f"{what}: {text}" if text else f"{what}.")


def _codes(detail: dict[str, Any]) -> set[str]:
    inner = detail.get("innererror") or detail.get("inner_error")  # Azure's, which says more
    within = inner.get("code") if isinstance(inner, dict) else None
    return {str(detail.get("code")), str(detail.get("type")), str(within)}


def _shown(detail: dict[str, Any]) -> str | None:
    code = detail.get("code")
    return code if isinstance(code, str) and code else None


def _classify(status: int, codes: set[str], text: str) -> str:
    if codes & _POLICY_CODES and status < 500:
        return "content_policy_violation"
    if status == 403 and "call volume quota" in text:  # Azure's way to say it
        return "upstream_quota"
    if status in (401, 403):
        return "upstream_auth"
    if (codes & _CONTEXT_CODES and status < 500) or (status in (400, 413, 422) and _CONTEXT.search(text)):
        return "context_length_exceeded"
    if status in (402, 429) and (codes & _QUOTA_CODES or status == 402):
        return "upstream_quota"
    if status in (408, 409, 429):
        return f"upstream_{status}"
    if status in (503, 529):
        return "upstream_overloaded"
    if status >= 500:
        return "upstream_5xx"
    if status >= 400:
        return "upstream_4xx"
    return "upstream_bad_answer"


def parse_object(payload: bytes) -> dict[str, Any] | None:
    """The JSON object in `payload`, None for anything else."""
    try:
        chunk = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return None
    return chunk if type(chunk) is dict else None
