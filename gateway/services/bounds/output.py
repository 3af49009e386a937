"""The cap on an answer: what a request says, and the request with a smaller one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.providers.price import Price
from gateway.wire.dialect import Document
from gateway.wire.openai_dialect_request import write_json
from gateway.wire.splice import insert_member

# What the cap is called, by the endpoint's name. Reasoning counts within it, and so does Anthropic's thinking budget
# (https://platform.claude.com/docs/en/build-with-claude/extended-thinking,
# https://platform.openai.com/docs/guides/reasoning, read 2026-11). Other endpoints make no tokens.
_CAP_FIELDS: Mapping[str, tuple[str, ...]] = {
    "chat": ("max_completion_tokens", "max_tokens"),
    "completions": ("max_tokens",),
    "messages": ("max_tokens",),
    "responses": ("max_output_tokens",),
}
# The least that the API takes: https://platform.openai.com/docs/api-reference/responses/create (read 2026-11).
_LEAST_CAPS: Mapping[str, int] = {"responses": 16}
_LEAST_THINKING = 1024
_MOST = 2**31 - 1


def output_cap(document: Document, endpoint: str, price: Price) -> tuple[int | None, str]:
    """The most tokens that one answer may have, and the field that says so.

    The field is empty where the request has no cap, and the number then the model's own limit, None where that is not
    known. A field with None is one whose number says nothing (some servers take -1 for "no limit"). Where two fields
    give a cap the larger counts; 0 is no cap, since some take it for none.
    """
    names = _CAP_FIELDS.get(endpoint)
    if names is None:
        return 0, ""
    cap, field = 0, ""
    for name in names:
        value = document.get(name)
        if value is None or value == 0:
            continue
        if type(value) is not int or not 0 < value <= _MOST:
            return None, name
        if value > cap:
            cap, field = value, name
    return (cap, field) if cap else (price.max_output_tokens, "")


def answer_count(document: Document, endpoint: str) -> tuple[int, str]:
    """How many answers are made, each up to the cap, and the field whose value says nothing, empty for none.

    Legacy completions make `best_of` (or `n`) answers to each of a list of prompts.
    https://platform.openai.com/docs/api-reference/completions/create (read 2026-11)
    """
    if endpoint not in _CAP_FIELDS:
        return 0, ""
    count = 1
    for name in ("n", "best_of"):
        value = document.get(name)
        if value is None:
            continue
        if type(value) is not int or value > _MOST:
            return 1, name
        count = max(count, value)
    prompt = document.get("prompt")
    if type(prompt) is list and prompt and type(prompt[0]) is not int:
        count *= len(prompt)
    return count, ""


def least_cap(endpoint: str) -> int:
    """The smallest cap that can be sent to the endpoint."""
    return _LEAST_CAPS.get(endpoint, 1)


def with_cap(
    body: bytes, document: Document, endpoint: str, cap: int, chat_field: str = "max_tokens"
) -> tuple[bytes, Document]:
    """The request with an output cap of `cap` tokens, as bytes and parsed; `document` itself stays as it is.

    `endpoint` is one that makes tokens: `answer_count` is not 0 there.

    A cap that is there is lowered, whatever its name; where there is none it is written under `chat_field`, what the
    model calls it (`Billing.cap_field`), or under the endpoint's own name for it. A thinking budget that no longer fits
    shrinks with it, or goes. Raises invalid_field for a document that cannot be written.
    """
    names = _CAP_FIELDS[endpoint]
    present = [name for name in names if name in document]
    changed: dict[str, Any] = {name: _lowered(document[name], cap) for name in present if document[name] is not None}
    if not changed:
        changed = {chat_field if endpoint == "chat" else names[0]: cap}
    if endpoint == "messages" and (thinking := _thinking(document.get("thinking"), cap)) is not None:
        changed["thinking"] = thinking
    capped = {**document, **changed}
    if not present and len(changed) == 1:
        ((name, value),) = changed.items()
        spliced = insert_member(body, b'"%b":%d' % (name.encode(), value))
        if spliced is not None:
            return spliced, capped
    return write_json(capped, "messages"), capped


def _lowered(value: object, cap: int) -> int:
    return min(value, cap) if type(value) is int and value > 0 else cap


def _thinking(thinking: object, cap: int) -> Document | None:
    """What to think with under `cap`, where the budget is too large for it; None where nothing has to change.

    https://platform.claude.com/docs/en/build-with-claude/extended-thinking (read 2026-11): the budget is below the cap
    and at least 1,024 tokens.
    """
    budget = thinking.get("budget_tokens") if type(thinking) is dict else None
    if type(thinking) is not dict or type(budget) is not int or budget < cap:
        return None
    smaller = cap - max(cap // 4, 1)
    return {**thinking, "budget_tokens": smaller} if smaller >= _LEAST_THINKING else {"type": "disabled"}
