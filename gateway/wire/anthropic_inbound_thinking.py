"""Thinking blocks of a client that speaks Anthropic's format, for whoever the model belongs to.

A `thinking` block has a signature and a `redacted_thinking` block has data, both opaque to clients, who send them
back as they are. What Anthropic signed stays as it is. What others need back (their `reasoning_details`: signatures,
encrypted thoughts, ids) travels in the same two places, packed by us and known by how it begins. Anthropic itself
refuses a signature that it has not made, so `without_foreign_marks` takes such blocks out of what goes there
unchanged. https://platform.claude.com/docs/en/build-with-claude/extended-thinking (read 2026-11)
"""

from __future__ import annotations

from typing import Any

from gateway.wire.checks import optional_text, required_text
from gateway.wire.dialect import Document
from gateway.wire.responses_reasoning import pack, unpack

# Whose signatures these are: OpenRouter's name for Claude's.
CLAUDE_FORMAT = "anthropic-claude-v1"
# Anthropic takes back only ids of these: https://platform.claude.com/docs/en/agents-and-tools/tool-use (read 2026-11).
_ID_SIGNS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
# Where a detail has what a person can read; it stands in the block itself and is not packed.
_READABLE = {"reasoning.text": "text", "reasoning.summary": "summary"}


def readable(detail: Document) -> str:
    """What of a reasoning detail can be read; empty for an encrypted one."""
    name = _READABLE.get(detail["type"]) if type(detail.get("type")) is str else None
    text = detail.get(name) if name is not None else None
    return text if type(text) is str else ""


def signature_of(detail: Document) -> str:
    """The signature of a thinking block: Anthropic's own, or whatever else has to come back with its text."""
    own = detail.get("signature")
    if detail.get("format") == CLAUDE_FORMAT:
        return own if type(own) is str else ""
    if not own and not detail.get("format"):
        return ""
    return _packed({name: value for name, value in detail.items() if name not in ("text", "summary")})


def plain_id(given: str) -> str:
    """A call's id as Anthropic takes it back, its foreign signs replaced."""
    if _ID_SIGNS.issuperset(given):
        return given
    return "".join([sign if sign in _ID_SIGNS else "_" for sign in given])


def _packed(detail: Document) -> str:
    """`detail` as a mark; the id in it may be that of a call, and the client knows the call by its plain one."""
    owner = detail.get("id")
    return pack([{**detail, "id": plain_id(owner)} if type(owner) is str else detail])


def is_sealed(detail: Document) -> bool:
    """Is this a detail that nobody but its maker can read? One without data only says which call another is for."""
    return detail.get("type") == "reasoning.encrypted" and bool(detail.get("data"))


def redacted_block(detail: Document) -> Document:
    """The block for a detail that is sealed."""
    data = detail.get("data")
    own = detail.get("format") == CLAUDE_FORMAT and type(data) is str
    return {"type": "redacted_thinking", "data": data if own else _packed(detail)}


def thinking_blocks(message: Document) -> tuple[list[Document], dict[str, list[Document]]]:
    """What the model thought, as blocks: what opens the answer, and what stands before a call, by that call's id."""
    first: list[Document] = []
    before: dict[str, list[Document]] = {}
    calls = _call_ids(message)
    seen = False
    given = message.get("reasoning_details")
    for detail in given if type(given) is list else ():
        if type(detail) is not dict:
            continue
        if is_sealed(detail):
            block = redacted_block(detail)
        else:
            text, signature = readable(detail), signature_of(detail)
            if not text and not detail.get("signature"):
                continue
            seen = seen or bool(text)
            block = {"type": "thinking", "thinking": text, "signature": signature}
        owner = detail.get("id")
        if type(owner) is str and owner in calls:
            before.setdefault(owner, []).append(block)
        else:
            first.append(block)
    thought = plain_thought(message)
    if thought and not seen:
        first.insert(0, {"type": "thinking", "thinking": thought, "signature": ""})
    return first, before


def _call_ids(message: Document) -> set[object]:
    calls = message.get("tool_calls")
    found = [call.get("id") for call in calls if type(call) is dict] if type(calls) is list else []
    return {call_id for call_id in found if type(call_id) is str}


def plain_thought(message: Document) -> str:
    """What was thought as mere text; `reasoning` is what some who speak OpenAI's format call it."""
    for name in ("reasoning_content", "reasoning"):
        text = message.get(name)
        if type(text) is str and text:
            return text
    return ""


def read_thinking(block: Document, where: str, index: int) -> tuple[str, list[Document]]:
    """A thinking block's text and the details it stands for, maybe none: without a signature it is only text.

    `index` is its place among the message's details. Raises missing_field or invalid_field under `where`.
    """
    text = required_text(block, "thinking", where)
    signature = optional_text(block, "signature", where)
    if not signature:
        return text, []
    details = unpack(signature)
    if details is None:
        own = {"type": "reasoning.text", "text": text, "signature": signature, "format": CLAUDE_FORMAT, "index": index}
        return text, [own]
    for detail in details[:1]:
        kind = detail.get("type")
        detail[_READABLE.get(kind, "text") if type(kind) is str else "text"] = text
    return text, details


def read_redacted(block: Document, where: str, index: int) -> list[Document]:
    """The details that a redacted_thinking block stands for. Raises missing_field or invalid_field."""
    data = required_text(block, "data", where)
    details = unpack(data)
    if details is None:
        return [{"type": "reasoning.encrypted", "data": data, "format": CLAUDE_FORMAT, "index": index}]
    return details


def without_foreign_marks(document: Document) -> Document:
    """A client's request as Anthropic takes it: itself, unless it holds thinking or citations that others made.

    For a request that goes on in the client's own format. Thinking without a signature of Anthropic's and
    citations without its `encrypted_index` are left out (it answers 400 to both), the rest is the same.
    """
    messages = document.get("messages")
    if type(messages) is not list:
        return document
    changed: list[Any] | None = None
    for index, message in enumerate(messages):
        if type(message) is not dict or message.get("role") != "assistant" or type(message.get("content")) is not list:
            continue
        blocks = [_own(block) for block in message["content"]]
        if any(new is not old for new, old in zip(blocks, message["content"], strict=True)):
            changed = list(messages) if changed is None else changed
            changed[index] = {**message, "content": [block for block in blocks if block is not None]}
    if changed is None:
        return document
    # Anthropic refuses a message without content, and takes two of one role in a row.
    return {**document, "messages": [message for message in changed if type(message) is not dict or _says(message)]}


def _says(message: Document) -> bool:
    return message.get("role") != "assistant" or message.get("content") != []


def _own(block: Any) -> Any:
    """`block` where Anthropic takes it, another in its place, or None."""
    if type(block) is not dict:
        return block
    kind = block.get("type")
    if kind == "thinking":
        return block if _is_own(block.get("signature")) else None
    if kind == "redacted_thinking":
        return block if _is_own(block.get("data")) else None
    citations = block.get("citations")
    if kind == "text" and type(citations) is list and citations:
        kept = [
            citation for citation in citations if type(citation) is not dict or citation.get("encrypted_index") != ""
        ]
        if len(kept) < len(citations):
            rest = {name: value for name, value in block.items() if name != "citations"}
            return {**rest, "citations": kept} if kept else rest
    return block


def _is_own(mark: object) -> bool:
    return type(mark) is str and bool(mark) and unpack(mark) is None
