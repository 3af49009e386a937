"""Bedrock's errors: the exception's name where the body or the stream tells it, else its message and status.

Over HTTP the name stands in a header (`x-amzn-errortype`), so mostly the message has to do.
https://docs.aws.amazon.com/bedrock/latest/APIReference/CommonErrors.html and the errors of each operation there
(read 2026-11).
"""

from __future__ import annotations

import re

from gateway.errors import GatewayError
from gateway.wire.dialect import Document
from gateway.wire.provider_errors import Rule, error_document, provider_error

_ANY = re.compile("")
_CONTEXT = re.compile(
    r"(?i)input is too long|prompt is too long|too many input tokens|maximum context length|context (?:length|window)"
    r"|exceed\w* (?:the )?(?:maximum|max) (?:number of )?(?:input )?(?:tokens|length)|exceed context limit"
    r"|input tokens? exceed|too many total text bytes"
)
_FILTER = re.compile(
    r"(?i)content filter|filtering policy|responsible ai policy"
    r"|blocked by (?:the|our|a|your) (?:guardrail|content|safety)"
)
_QUOTA = re.compile(r"(?i)tokens per day|exceeds the service quota|daily (?:token )?limit")
_IN_STREAM = frozenset({0})
_REFUSED = frozenset({0, 400, 413, 422})

RULES = (
    Rule("upstream_quota", names=frozenset({"ServiceQuotaExceededException"})),
    Rule("upstream_quota", says=_QUOTA, statuses=frozenset({0, 400, 429})),
    Rule(
        "upstream_429", names=frozenset({"ThrottlingException", "ModelNotReadyException", "TooManyRequestsException"})
    ),
    Rule("upstream_overloaded", names=frozenset({"ServiceUnavailableException"})),
    # 424: the model itself failed, which is not the client's fault.
    Rule(
        "upstream_5xx",
        names=frozenset({"InternalServerException", "ModelErrorException", "ModelStreamErrorException"}),
    ),
    Rule("upstream_5xx", says=_ANY, statuses=frozenset({424})),
    Rule("upstream_408", names=frozenset({"ModelTimeoutException"})),
    Rule(
        "upstream_auth",
        names=frozenset(
            {
                "AccessDeniedException",
                "ExpiredTokenException",
                "IncompleteSignature",
                "InvalidSignatureException",
                "MissingAuthenticationTokenException",
                "UnrecognizedClientException",
            }
        ),
    ),
    Rule("context_length_exceeded", says=_CONTEXT, statuses=_REFUSED),
    Rule("content_policy_violation", says=_FILTER, statuses=_REFUSED),
    Rule("upstream_4xx", names=frozenset({"ValidationException", "ResourceNotFoundException"}), statuses=_IN_STREAM),
)


def read_error(provider: str, status: int, body: bytes, *, retry_after_s: float | None = None) -> GatewayError:
    """What an answer outside 2xx means."""
    document = error_document(body)
    return provider_error(
        RULES, provider, status, names=_names(document), text=_text(document), retry_after_s=retry_after_s
    )


def error_within(document: Document) -> GatewayError:
    """What an answer means that came with 200 and is none."""
    if not _text(document) and not _names(document):
        return GatewayError("upstream_bad_answer", "The provider's answer has no message.")
    return provider_error(RULES, "bedrock", 0, names=_names(document), text=_text(document))


def stream_error(name: object, document: Document) -> GatewayError:
    """What an exception in an event stream means."""
    return provider_error(RULES, "bedrock", 0, names=[_bare(name), *_names(document)], text=_text(document))


def _names(document: Document) -> list[str]:
    return [bare for key in ("__type", "code", "Code") if (bare := _bare(document.get(key)))]


def _bare(name: object) -> str:
    """com.amazon#ThrottlingException:http://… and throttlingException are one."""
    if not isinstance(name, str) or not name:
        return ""
    bare = name.rpartition("#")[2].partition(":")[0]
    return bare[:1].upper() + bare[1:]


def _text(document: Document) -> str:
    for key in ("message", "Message", "originalMessage"):
        text = document.get(key)
        if isinstance(text, str) and text:
            return text
    return ""
