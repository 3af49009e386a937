"""Failures in Anthropic's shape.

https://platform.claude.com/docs/en/api/errors (read 2026-11)
"""

from __future__ import annotations

from gateway.errors import GatewayError
from gateway.wire.plain_json import to_json

_BY_STATUS = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
# Coding agents shorten the conversation where they read this, as Anthropic's own API begins the sentence.
_TOO_LONG = "prompt is too long"


def error_type(error: GatewayError) -> str:
    """Anthropic's word for what has failed: a used-up account goes before the status, which may say 429 too."""
    if error.failure.type == "insufficient_quota":
        return "billing_error"
    named = _BY_STATUS.get(error.status)
    if named is not None:
        return named
    return "invalid_request_error" if error.status < 500 else "api_error"


def error_body(error: GatewayError, request_id: str) -> bytes:
    """The error object. An upstream's own body, which is in another shape, is never passed on."""
    message = error.message
    if error.code == "context_length_exceeded" and _TOO_LONG not in message.lower():
        message = f"{_TOO_LONG}: {message}"
    return to_json(
        {
            "type": "error",
            "error": {"type": error_type(error), "message": message},
            "request_id": request_id,
        }
    )


def error_event(error: GatewayError, request_id: str) -> bytes:
    """The event that ends a stream which cannot be finished."""
    return b"event: error\ndata: " + error_body(error, request_id) + b"\n\n"
