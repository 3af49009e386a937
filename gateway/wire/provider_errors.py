"""Providers' errors as ours: rules are data in each dialect, the reading is here.

A dialect names where its error stands in the body and which codes, types or phrases of its own mean what; what no
rule takes is judged by its status. The provider's message is kept, what looks like a credential in it is not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.errors import GatewayError
from gateway.wire.dialect import Document
from gateway.wire.openai_error import parse_object, redact

_MAX_PARSED_BYTES = 1_000_000
_MAX_MESSAGE_CHARACTERS = 1000
# What the client must see as the provider said it: it is about the client's own request.
_ABOUT_THE_REQUEST = frozenset({"upstream_4xx", "context_length_exceeded", "content_policy_violation"})


@dataclass(frozen=True, slots=True)
class Rule:
    """An error of one of `names` (the provider's codes and types), or one whose message matches `says`, is `code`.

    `code` is a row of `FAILURES`. Where both are given both must hold; `statuses` narrows further.
    """

    code: str
    names: frozenset[str] = frozenset()
    says: re.Pattern[str] | None = None
    statuses: frozenset[int] = frozenset()

    def takes(self, status: int, names: frozenset[str], text: str) -> bool:
        """Is this error the rule's?"""
        if self.statuses and status not in self.statuses:
            return False
        if self.names and self.names.isdisjoint(names):
            return False
        if self.says is not None and self.says.search(text) is None:
            return False
        return bool(self.names or self.says)


def code_by_status(status: int) -> str:
    """What a status means where nothing else is known. 529 is Anthropic's and others' word for overload."""
    if status in (401, 403):
        return "upstream_auth"
    if status == 402:
        return "upstream_quota"
    if status in (408, 409, 429):
        return f"upstream_{status}"
    if status in (503, 529):
        return "upstream_overloaded"
    if status >= 500:
        return "upstream_5xx"
    return "upstream_4xx" if status >= 400 else "upstream_bad_answer"


def provider_error(
    rules: Sequence[Rule],
    provider: str,
    status: int,
    *,
    names: Sequence[object],
    text: object,
    shown_code: object = None,
    retry_after_s: float | None = None,
) -> GatewayError:
    """The error with this status, these codes and types, and this message; the first rule that takes it decides.

    `status` 0 stands for an error inside an answer that had begun with 200. `shown_code` is the provider's code
    where the client should read it.
    """
    said = _clean(text)
    known = frozenset(str(name) for name in names if name is not None)
    code = next((rule.code for rule in rules if rule.takes(status, known, said)), code_by_status(status))
    answered = f"The provider '{provider}' answered {status}" if status else f"The provider '{provider}' failed"
    if code in _ABOUT_THE_REQUEST:
        own = shown_code if isinstance(shown_code, str) and shown_code else None
        shown = status if 400 <= status < 500 else None
        return GatewayError(code, said or f"{answered}.", status=shown, shown_code=own)
    if code == "upstream_auth":
        return GatewayError(code, f"The provider '{provider}' refused the gateway's credentials ({status}).")
    return GatewayError(code, f"{answered}: {said}" if said else f"{answered}.", retry_after_s=retry_after_s)


def error_document(body: bytes) -> Document:
    """The JSON object of an error's body, or one whose `message` is the text itself (HTML is nobody's message)."""
    found = parse_object(body) if len(body) <= _MAX_PARSED_BYTES else None
    if found is not None:
        return found
    text = body[:4096].decode("utf-8", "replace").strip()
    return {} if text.startswith(("<", "[", "{")) else {"message": text}


def _clean(text: object) -> str:
    shown = text if isinstance(text, str) else ""
    return redact(shown.encode(errors="replace")).decode(errors="replace")[:_MAX_MESSAGE_CHARACTERS]
