"""litellm's exceptions as what a provider would have answered, or as ours where nothing was answered.

They are known by the names of their classes, so that litellm itself need not be imported here.
https://docs.litellm.ai/docs/exception_mapping (read 2026-11).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson

from gateway.errors import GatewayError
from gateway.upstream.answer import Headers
from gateway.wire.openai_error import redact

_MAX_MESSAGE_CHARACTERS = 1000
_MAX_CAUSES = 16
# Of httpx, aiohttp and the standard library: no connection came about, so nothing was sent.
_UNREACHABLE = frozenset({"ConnectError", "ClientConnectorError", "ConnectionRefusedError", "gaierror"})
_CONNECT_TIMEOUTS = frozenset({"ConnectTimeout", "ConnectionTimeoutError"})
_CODES = {
    "ContextWindowExceededError": "context_length_exceeded",
    "ContentPolicyViolationError": "content_policy_violation",
}
_PREFIX = re.compile(r"\A(?:litellm\.)?[A-Za-z]{1,40}(?:Error|Exception|Timeout)(?: - |: )")
_REFUSED_NAMES = re.compile(r"parameters: \[(.{1,200}?)\]")
_NAME = re.compile(r"[a-z_]{1,64}")


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer outside 2xx, in OpenAI's form."""

    status: int
    body: bytes
    headers: Headers = field(default_factory=list)


def read_failure(error: BaseException, secrets: Iterable[str], *, began: bool) -> Refusal | GatewayError:
    """What `error`, raised by a call of litellm's, means; `began`: part of the answer had come.

    `secrets` are blotted out of its message.
    """
    error = getattr(error, "original_exception", None) or error  # what litellm wraps in the middle of a stream
    causes = _causes(error)
    names = frozenset(kind.__name__ for kind in type(error).__mro__)
    said = _message(error, secrets)
    status = _status(error)
    if not began and causes & _CONNECT_TIMEOUTS:
        return GatewayError("upstream_connect_timeout", "litellm could not connect to the provider in time.")
    if not began and causes & _UNREACHABLE:
        return GatewayError("upstream_connect_failed", "litellm could not connect to the provider.")
    if "UnsupportedParamsError" in names:
        return _unsupported(said)
    if names & {"Timeout", "TimeoutError"} and status in (0, 408):
        late = "upstream_idle_timeout" if began else "upstream_first_byte_timeout"
        return GatewayError(late, "The provider did not answer litellm in time.")
    if "APIConnectionError" in names:  # also its word for whatever it does not understand
        lost = "upstream_truncated" if began else "upstream_reset_after_write"
        return GatewayError(lost, f"litellm lost the provider: {said}" if said else "litellm lost the provider.")
    if not status:
        status, said = 500, f"litellm failed ({type(error).__name__})"
    code = next((_CODES[name] for name in _CODES if name in names), None)
    kind = "invalid_request_error" if status < 500 else "api_error"
    detail = {"message": said, "type": kind, "param": None, "code": code}
    return Refusal(status, orjson.dumps({"error": detail}), _pauses(error))


def error_event(refusal: Refusal) -> bytes:
    """The same inside a stream that had begun: an event that names the status it stands for."""
    document = orjson.loads(refusal.body)
    document["error"]["status_code"] = refusal.status
    return b"data: " + orjson.dumps(document) + b"\n\n"


def _causes(error: BaseException) -> frozenset[str]:
    names: set[str] = set()
    link: BaseException | None = error
    for _ in range(_MAX_CAUSES):
        if link is None:
            break
        names.update(kind.__name__ for kind in type(link).__mro__)
        link = link.__cause__ or link.__context__
    return frozenset(names)


def _status(error: BaseException) -> int:
    status = getattr(error, "status_code", None)
    if isinstance(status, str) and status.isdecimal() and len(status) == 3:
        status = int(status)
    return status if type(status) is int and 400 <= status <= 599 else 0


def _message(error: BaseException, secrets: Iterable[str]) -> str:
    text = getattr(error, "message", None)
    text = text if isinstance(text, str) else str(error)
    for secret in secrets:
        text = text.replace(secret, "…")
    text = text.partition("Traceback (most recent call last)")[0].strip()
    while (shorter := _PREFIX.sub("", text)) != text:
        text = shorter
    return redact(text.encode(errors="replace")).decode(errors="replace")[:_MAX_MESSAGE_CHARACTERS].strip()


def _unsupported(said: str) -> GatewayError:
    """litellm sent nothing: it knows that the provider has no such field."""
    found = _REFUSED_NAMES.search(said)
    names = _NAME.findall(found[1]) if found else []
    shown = " and ".join(f"'{name}'" for name in names) or "a field of the request"
    message = (
        f"litellm says that this provider does not support {shown}; leave it out, or have the gateway leave it out "
        "(`unsupported` on the provider)."
    )
    return GatewayError("unsupported_parameter", message, param=names[0] if names else None)


def _pauses(error: BaseException) -> Headers:
    """The headers of the provider's answer that say when to try again."""
    found: Headers = []
    for headers in (
        getattr(getattr(error, "response", None), "headers", None),
        getattr(error, "litellm_response_headers", None),
    ):
        for name in ("retry-after-ms", "retry-after"):
            value = _header(headers, name)
            if value is not None and not any(key == name.encode() for key, _ in found):
                found.append((name.encode(), value))
    return found


def _header(headers: Any, name: str) -> bytes | None:
    try:
        value = headers.get(name)
    except AttributeError:
        return None
    return value.encode("ascii", "replace") if isinstance(value, str) and len(value) < 100 else None
