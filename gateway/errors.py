"""Every way a request can fail, in one table.

A `GatewayError` names a row of `FAILURES`; the row says the HTTP status, OpenAI's type, whether the
request had reached a provider, whether it may be billed, and what dispatch may do about it. The
inbound dialect renders it (`body` is OpenAI's shape).
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

import orjson


class Sent(Enum):
    """Had the request reached the provider when it failed?"""

    NO = "no"
    MAYBE = "maybe"
    YES = "yes"


class Again(Enum):
    """What dispatch may do after this failure of one attempt."""

    NEVER = "never"  # the answer would be the same anywhere: tell the client
    SAME = "same"  # try the same target again after a pause, then the next one
    NEXT = "next"  # this target will not do now: go on to the next one at once
    SPECIAL = "special"  # only to the targets that the model names for this failure


class Failure(NamedTuple):
    """One row: HTTP status and OpenAI type for the client, the rest for dispatch and the ledger."""

    status: int
    type: str
    sent: Sent = Sent.NO
    billable: bool = False
    again: Again = Again.NEVER


_BAD = "invalid_request_error"
_AUTH = "authentication_error"
_DENIED = "permission_error"
_LIMIT = "rate_limit_error"
_API = "api_error"

# OpenAI's types: https://platform.openai.com/docs/guides/error-codes (read 2026-11).
FAILURES: dict[str, Failure] = {
    # --- the client's request -----------------------------------------------------------------
    "invalid_request": Failure(400, _BAD),
    "invalid_json": Failure(400, _BAD),
    "invalid_http": Failure(400, _BAD),
    "missing_field": Failure(400, _BAD),
    "invalid_field": Failure(400, _BAD),
    "unsupported_parameter": Failure(400, _BAD),
    "unsupported_operation": Failure(400, _BAD, again=Again.NEXT),
    "address_not_allowed": Failure(400, _BAD),
    "no_provider": Failure(400, _BAD),
    "not_found": Failure(404, _BAD),
    "model_not_found": Failure(404, _BAD),
    "unknown_path": Failure(404, _BAD),
    "method_not_allowed": Failure(405, _BAD),
    "request_timeout": Failure(408, _BAD),
    "conflict": Failure(409, _BAD),
    "idempotency_key_invalid": Failure(400, _BAD),
    "idempotency_key_reused": Failure(422, _BAD),
    "idempotency_in_progress": Failure(409, _BAD),
    "idempotency_outcome_unknown": Failure(409, _BAD),
    "idempotency_answer_too_large": Failure(409, _BAD),
    "body_too_large": Failure(413, _BAD),
    "url_too_long": Failure(414, _BAD),
    "unsupported_media_type": Failure(415, _BAD),
    "expectation_failed": Failure(417, _BAD),
    "headers_too_large": Failure(431, _BAD),
    # --- who is asking ------------------------------------------------------------------------
    "missing_api_key": Failure(401, _AUTH),
    "invalid_api_key": Failure(401, _AUTH),
    "expired_api_key": Failure(401, _AUTH),
    "disabled_api_key": Failure(401, _AUTH),
    "model_not_allowed": Failure(403, _DENIED),
    "endpoint_not_allowed": Failure(403, _DENIED),
    "organisation_disabled": Failure(403, _DENIED),
    "team_disabled": Failure(403, _DENIED),
    "user_disabled": Failure(403, _DENIED),
    "admin_required": Failure(403, _DENIED),
    "role_not_allowed": Failure(403, _DENIED),
    # --- limits and budgets -------------------------------------------------------------------
    "rate_limit_exceeded": Failure(429, _LIMIT),
    "concurrency_limit_exceeded": Failure(429, _LIMIT),
    "target_limited": Failure(429, _LIMIT, again=Again.NEXT),
    "limits_unavailable": Failure(503, _API),
    "budget_exceeded": Failure(429, "insufficient_quota", again=Again.NEXT),
    "budget_unbounded": Failure(400, _BAD, again=Again.NEXT),
    "budget_unpriced": Failure(400, _BAD, again=Again.NEXT),
    "budget_rebuilding": Failure(503, _API),
    # --- the gateway itself -------------------------------------------------------------------
    "internal_error": Failure(500, _API),
    "key_store_unavailable": Failure(503, _API),
    "store_unavailable": Failure(503, _API),
    "store_unsuitable": Failure(503, _API),
    "journal_unavailable": Failure(503, _API),
    "draining": Failure(503, _API),
    "overloaded": Failure(503, _API),
    "client_gone": Failure(499, _API, Sent.MAYBE, billable=True),
    # --- one attempt at an upstream -----------------------------------------------------------
    "no_target_available": Failure(503, _API, again=Again.NEXT),
    "upstream_connect_failed": Failure(502, _API, Sent.NO, again=Again.SAME),
    "upstream_connect_timeout": Failure(504, _API, Sent.NO, again=Again.NEXT),
    "upstream_tls_failed": Failure(502, _API, Sent.NO, again=Again.NEXT),
    "upstream_proxy_failed": Failure(502, _API, Sent.NO, again=Again.NEXT),
    "upstream_reset_before_write": Failure(502, _API, Sent.NO, again=Again.SAME),
    "upstream_reset_after_write": Failure(502, _API, Sent.MAYBE, billable=True, again=Again.SAME),
    "upstream_first_byte_timeout": Failure(504, _API, Sent.YES, billable=True, again=Again.NEXT),
    "upstream_idle_timeout": Failure(504, _API, Sent.YES, billable=True, again=Again.NEXT),
    "upstream_total_timeout": Failure(504, _API, Sent.YES, billable=True, again=Again.NEVER),
    "upstream_bad_answer": Failure(502, _API, Sent.YES, billable=True, again=Again.NEXT),
    "upstream_truncated": Failure(502, _API, Sent.YES, billable=True, again=Again.SAME),
    "upstream_answer_too_large": Failure(502, _API, Sent.YES, billable=True, again=Again.NEVER),
    "upstream_408": Failure(408, _API, Sent.YES, again=Again.SAME),
    "upstream_409": Failure(409, _BAD, Sent.YES, again=Again.SAME),
    "upstream_429": Failure(429, _LIMIT, Sent.YES, again=Again.SAME),
    "upstream_quota": Failure(429, "insufficient_quota", Sent.YES, again=Again.NEXT),
    "upstream_auth": Failure(502, _API, Sent.YES, again=Again.NEXT),
    "upstream_4xx": Failure(400, _BAD, Sent.YES, again=Again.NEVER),
    "upstream_5xx": Failure(502, _API, Sent.YES, again=Again.SAME),
    "upstream_overloaded": Failure(503, _API, Sent.YES, again=Again.SAME),
    "context_length_exceeded": Failure(400, _BAD, Sent.YES, again=Again.SPECIAL),
    "content_policy_violation": Failure(400, _BAD, Sent.YES, again=Again.SPECIAL),
}


class GatewayError(Exception):
    """A failure named by `code`, a row of `FAILURES`.

    `message` is for the client and never holds a secret. `status` overrides the row's (an upstream's
    own status), `shown_code` is what the client reads as `code` where it differs, `body` is a
    complete answer to pass on unchanged. `retry_after_s` becomes `Retry-After`; `should_retry` the
    `x-should-retry` header that OpenAI's SDKs obey.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        param: str | None = None,
        status: int | None = None,
        shown_code: str | None = None,
        raw: bytes | None = None,
        retry_after_s: float | None = None,
        should_retry: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.failure = FAILURES[code]
        self.message = message
        self.param = param
        self.status = status or self.failure.status
        self.shown_code = shown_code or code
        self.raw = raw
        self.retry_after_s = retry_after_s
        self.should_retry = should_retry

    def body(self, request_id: str | None = None) -> bytes:
        """OpenAI's error object as JSON bytes, or the upstream's own bytes where those are passed on."""
        if self.raw is not None:
            return self.raw
        error: dict[str, object] = {
            "message": self.message,
            "type": self.failure.type,
            "param": self.param,
            "code": self.shown_code,
        }
        if request_id is not None:
            error["request_id"] = request_id
        return orjson.dumps({"error": error})
