"""What a request leaves to be looked up, and what of it is kept to be looked up by the next one. Pure.

https://platform.openai.com/docs/guides/conversation-state (read 2026-11): a `previous_response_id` stands for the
input and output items of that response and of all before it, not for their instructions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.wire.dialect import Document
from gateway.wire.responses_output import tail_of

_PREFIXES = {
    "message": "msg",
    "function_call": "fc",
    "function_call_output": "fco",
    "reasoning": "rs",
}
_MAX_ID_CHARS = 256
# The ids that are given here: a response's, and those of its items, which say whose they are.
_RESPONSE_ID = re.compile(r"resp_[0-9a-f]{32}\Z")
_ITEM_ID = re.compile(r"[a-z]{1,8}_([0-9a-f]{32})_(?:in)?[0-9]{1,9}\Z")
_SAID = {"user": "input_text", "system": "input_text", "developer": "input_text", "assistant": "output_text"}


def previous_response(document: Document) -> str | None:
    """The id of the response that this request goes on from."""
    given = document.get("previous_response_id")
    return given if isinstance(given, str) else None


def referenced_items(document: Document) -> list[str]:
    """The ids of the stored items that the input refers to."""
    given = document.get("input")
    return [item["id"] for item in given if _is_reference(item)] if isinstance(given, list) else []


def may_be_kept(response_id: str) -> bool:
    """Has it the form of the ids that the gateway gives? Other servers may give some of the same form."""
    return _RESPONSE_ID.match(response_id) is not None


def response_of_item(item_id: str) -> str | None:
    """The response in which an item stands whose id the gateway has made; None for other ids."""
    found = _ITEM_ID.match(item_id)
    return None if found is None else f"resp_{found[1]}"


def needs_translation(document: Document) -> bool:
    """Does the input hold what only the gateway has or can read: references to its items, thoughts in its own form?"""
    given = document.get("input")
    for item in given if isinstance(given, list) else ():
        if _is_reference(item) or (isinstance(item, dict) and item.get("type") == "reasoning"):
            item_id = item.get("id")
            if isinstance(item_id, str) and response_of_item(item_id) is not None:
                return True
    return False


def without_history(document: Document) -> Document:
    """The request without what it refers to in earlier responses: what is left refers to files and the like."""
    made = {name: value for name, value in document.items() if name not in ("previous_response_id", "conversation")}
    given = document.get("input")
    if isinstance(given, list):
        made["input"] = [item for item in given if not _is_reference(item)]
    return made


def resolved(
    document: Document, earlier: Sequence[Document] = (), found: Mapping[str, Document] | None = None
) -> Document:
    """The request as if everything stood in its input: `earlier` items first, those in `found` for references to them.

    Give this to `canonical`, and the request itself to `render` and `encoder`, which tell what was asked.
    """
    items: list[Any] = [*earlier, *_input_list(document)]
    if found:
        items = [found.get(item["id"], item) if _is_reference(item) else item for item in items]
    made = {name: value for name, value in document.items() if name != "previous_response_id"}
    made["input"] = items
    return made


def _input_list(document: Document) -> list[Any]:
    given = document.get("input")
    if isinstance(given, str):
        return [{"type": "message", "role": "user", "content": given}]
    return given if isinstance(given, list) else []


def _is_reference(item: Any) -> bool:
    if not isinstance(item, dict) or not isinstance(item.get("id"), str):
        return False
    return item.get("type") == "item_reference" or (item.get("type") is None and "role" not in item)


def stored_items(document: Document, response_id: str) -> list[Document]:
    """The input's own items as `GET /v1/responses/{id}/input_items` lists them: each with an id, a type and parts.

    `document` is one whose references have been resolved and that `canonical` has taken; items of earlier responses
    are not to be in it.
    """
    tail = tail_of(response_id)
    return [_stored(item, index, tail) for index, item in enumerate(_input_list(document)) if isinstance(item, dict)]


def _stored(item: Document, index: int, tail: str) -> Document:
    kind = item.get("type") or "message"
    item_id = item.get("id")
    if not isinstance(item_id, str) or not 0 < len(item_id) <= _MAX_ID_CHARS:
        prefix = _PREFIXES.get(kind, "item") if isinstance(kind, str) else "item"
        item_id = f"{prefix}_{tail}_in{index}"
    stored: Document = {**item, "id": item_id, "type": kind}
    if kind == "reasoning":
        stored.setdefault("summary", [])
        return stored
    stored.setdefault("status", "completed")
    if kind == "message":
        stored["content"] = _content(item.get("content"), item.get("role"))
    return stored


def _content(content: Any, role: Any) -> Any:
    part = _SAID.get(role, "input_text") if isinstance(role, str) else "input_text"
    if isinstance(content, str):
        content = [{"type": part, "text": content}]
    if part != "output_text" or not isinstance(content, list):
        return content
    return [
        {"annotations": [], **inner} if isinstance(inner, dict) and inner.get("type") == part else inner
        for inner in content
    ]
