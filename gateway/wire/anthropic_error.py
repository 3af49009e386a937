"""Anthropic's errors: `{"type": "error", "error": {"type", "message", "details": {"error_code"}}, "request_id"}`.

https://platform.claude.com/docs/en/api/errors (read 2026-11).
"""

from __future__ import annotations

import re

from gateway.errors import GatewayError
from gateway.wire.dialect import Document
from gateway.wire.provider_errors import Rule, error_document, provider_error

_REFUSED = frozenset({400, 413, 422})
RULES = (
    Rule(
        "context_length_exceeded",
        says=re.compile(
            r"(?i)prompt is too long|exceeds? (?:the )?(?:model's )?(?:maximum )?context|context (?:window|limit)"
            r"|input is too long|too many (?:total )?(?:input )?tokens"
        ),
        statuses=_REFUSED,
    ),
    Rule(
        "upstream_quota",
        names=frozenset(
            {
                "billing_error",
                "contract_spend_limit_reached",
                "enforced_spend_limit_reached",
                "linked_organization_billing_unavailable",
                "linked_organization_spend_limit_reached",
                "user_profile_billing_not_authorized",
                "user_profile_not_billable",
            }
        ),
    ),
    # These come as invalid_request_error.
    Rule("upstream_quota", says=re.compile(r"(?i)credit balance is too low|api usage limits|spend(?:ing)? limit")),
    Rule("content_policy_violation", says=re.compile(r"(?i)blocked by (?:our )?content filter"), statuses=_REFUSED),
    Rule("upstream_auth", names=frozenset({"authentication_error", "permission_error", "organization_on_hold"})),
    Rule("upstream_429", names=frozenset({"rate_limit_error"})),
    Rule("upstream_overloaded", names=frozenset({"overloaded_error"})),
    Rule("upstream_5xx", names=frozenset({"api_error", "timeout_error"})),
    Rule("upstream_4xx", names=frozenset({"invalid_request_error", "not_found_error", "request_too_large"})),
)


def read_error(provider: str, status: int, body: bytes, *, retry_after_s: float | None = None) -> GatewayError:
    """What an answer outside 2xx means; `retry_after_s` is the answer's own, in seconds."""
    return _meaning(error_document(body), provider, status, retry_after_s)


def error_inside(document: Document) -> GatewayError:
    """What an error means that came after 200: as the answer, or as an event that breaks off a stream."""
    return _meaning(document, "anthropic", 0, None)


def _meaning(document: Document, provider: str, status: int, retry_after_s: float | None) -> GatewayError:
    found = document.get("error")
    error = found if isinstance(found, dict) else {}
    details = error.get("details")
    code = details.get("error_code") if isinstance(details, dict) else None
    kind = error.get("type")
    text = error.get("message") if error else (found if isinstance(found, str) else document.get("message"))
    return provider_error(
        RULES,
        provider,
        status,
        names=(code, kind),
        text=text,
        shown_code=code or kind,
        retry_after_s=retry_after_s,
    )
