"""Anthropic's whole answers as canonical ones, and what both they and its streams are made of.

https://platform.claude.com/docs/en/api/messages, .../build-with-claude/handling-stop-reasons and .../citations
(read 2026-11).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from gateway.errors import GatewayError
from gateway.wire.anthropic_error import error_inside
from gateway.wire.anthropic_messages import FORMAT
from gateway.wire.anthropic_models import find_traits
from gateway.wire.anthropic_tools import answer_form
from gateway.wire.chunks import completion
from gateway.wire.dialect import Ask, Document
from gateway.wire.openai_error import parse_object
from gateway.wire.usage import Usage

FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    # A turn with Anthropic's own tools that it interrupted: the answer so far is whole.
    "pause_turn": "stop",
    "compaction": "stop",
    "refusal": "content_filter",
}


def messages_usage(usage: Mapping[str, Any]) -> Usage:
    """Anthropic's `usage` in our terms: its input_tokens are only those that met no cache, so all three are added.

    A count that is not a sane integer reads as 0. Tokens of an advising model (`iterations`) are not in it. What is
    written for an hour is told apart in `cache_creation`
    (https://platform.claude.com/docs/en/build-with-claude/prompt-caching, read 2026-11).
    """
    read = _count(usage.get("cache_read_input_tokens"))
    written = _count(usage.get("cache_creation_input_tokens"))
    details = usage.get("output_tokens_details")
    kinds = usage.get("cache_creation") if written else None
    return Usage(
        prompt=_count(usage.get("input_tokens")) + read + written,
        completion=_count(usage.get("output_tokens")),
        cached=read,
        cache_write=written,
        cache_write_1h=min(_count(kinds.get("ephemeral_1h_input_tokens")), written) if isinstance(kinds, dict) else 0,
        reasoning=_count(details.get("thinking_tokens")) if isinstance(details, dict) else 0,
    )


def _count(value: object) -> int:
    return value if type(value) is int and 0 <= value < 2**53 else 0


def finish_reason(stop_reason: object, *, calls: bool, json_answer: bool) -> str:
    """OpenAI's word for why an answer ended; a call that is only the form of a JSON answer is none."""
    if stop_reason == "tool_use" and json_answer and not calls:
        return "stop"
    known = FINISH_REASONS.get(stop_reason) if isinstance(stop_reason, str) else None
    return known or ("tool_calls" if calls else "stop")


def json_tool_name(ask: Ask) -> str:
    """The name of the tool whose arguments are the answer, empty where there is none."""
    if ask.document.get("response_format") is None:
        return ""
    try:
        return answer_form(ask, find_traits(ask.model)).tool_name
    except GatewayError:
        return ""  # such a request is never sent


def call_id(ask: Ask, block: Mapping[str, Any], index: int) -> str:
    """The id of call number `index`: the provider's, else one made from the answer's."""
    given = block.get("id")
    return given if isinstance(given, str) and given else f"call_{ask.answer_id[-12:]}_{index}"


def tool_call(ident: str, name: object, arguments: str) -> Document:
    """A call as it stands in a message."""
    called = name if isinstance(name, str) else ""
    return {"id": ident, "type": "function", "function": {"name": called, "arguments": arguments}}


def reasoning_detail(block: Mapping[str, Any], index: int) -> Document:
    """The `reasoning_details` item number `index` of a thinking or redacted_thinking block."""
    if block.get("type") == "redacted_thinking":
        return {"type": "reasoning.encrypted", "data": text_of(block, "data"), "format": FORMAT, "index": index}
    detail = {"type": "reasoning.text", "text": text_of(block, "thinking"), "format": FORMAT, "index": index}
    if signature := text_of(block, "signature"):
        detail["signature"] = signature
    return detail


def text_of(block: Mapping[str, Any], name: str) -> str:
    """The text under `name`, empty where there is none."""
    value = block.get(name)
    return value if isinstance(value, str) else ""


def annotation(citation: object, start: int, end: int) -> Document | None:
    """A citation for the characters from `start` to `end` of the answer; None for what is no citation."""
    if not isinstance(citation, dict):
        return None
    span = {"start_index": start, "end_index": end}
    url = citation.get("url") or citation.get("source")
    if isinstance(url, str) and url.startswith(("http://", "https://")):
        about: Document = {"url": url, **_known(citation, {"title": "title"}), **span}
        return {"type": "url_citation", "url_citation": about}
    names = {"document_title": "filename", "title": "filename", "file_id": "file_id", "cited_text": "text"}
    return {"type": "file_citation", "file_citation": {**_known(citation, names), **span}}


def _known(citation: Mapping[str, Any], names: Mapping[str, str]) -> Document:
    return {new: citation[old] for old, new in names.items() if isinstance(citation.get(old), str)}


def refusal_text(holder: Mapping[str, Any]) -> str:
    """What a refusal says for itself (`stop_details.explanation`), empty where it says nothing."""
    details = holder.get("stop_details")
    return text_of(details, "explanation") if isinstance(details, dict) else ""


class Reply:
    """One message, gathered block by block."""

    __slots__ = ("_ask", "_json_tool", "_loose", "annotations", "calls", "details", "json_answer", "text", "thought")

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._json_tool = json_tool_name(ask)
        # Thinking that came after something else: what it precedes is known with the next call.
        self._loose: list[Document] = []
        self.text = ""
        self.thought = ""
        self.json_answer: str | None = None
        self.calls: list[Document] = []
        self.details: list[Document] = []
        self.annotations: list[Document] = []

    def add(self, block: Mapping[str, Any]) -> None:
        """Takes in a content block; blocks of Anthropic's own tools are passed over."""
        kind = block.get("type")
        if kind == "text":
            self._add_text(block)
        elif kind == "tool_use":
            self._add_call(block)
        elif kind in ("thinking", "redacted_thinking"):
            detail = reasoning_detail(block, len(self.details))
            if self.text or self.calls:
                self._loose.append(detail)
            self.details.append(detail)
            self.thought += detail.get("text", "")

    def _add_text(self, block: Mapping[str, Any]) -> None:
        start = len(self.text)
        self.text += text_of(block, "text")
        citations = block.get("citations")
        for citation in citations if isinstance(citations, list) else ():
            made = annotation(citation, start, len(self.text))
            if made is not None:
                self.annotations.append(made)

    def _add_call(self, block: Mapping[str, Any]) -> None:
        arguments = written(block.get("input"))
        if self._json_tool and block.get("name") == self._json_tool:
            if self.json_answer is None:
                self.json_answer = arguments
            return
        call = tool_call(call_id(self._ask, block, len(self.calls)), block.get("name"), arguments)
        for detail in self._loose:
            detail["id"] = call["id"]
        self._loose.clear()
        self.calls.append(call)

    def message(self, refusal: str) -> Document:
        """The canonical message."""
        text = self.text if self.json_answer is None else self.json_answer
        content = text if text or not (self.calls or refusal) else None
        message: Document = {"role": "assistant", "content": content}
        if refusal:
            message["refusal"] = refusal
        if self.thought:
            message["reasoning_content"] = self.thought
        if self.details:
            message["reasoning_details"] = self.details
        if self.calls:
            message["tool_calls"] = self.calls
        if self.annotations and self.json_answer is None:
            message["annotations"] = self.annotations
        return message


def written(given: object) -> str:
    """A call's input as the text of a JSON object."""
    return orjson.dumps(given).decode() if isinstance(given, dict) and given else "{}"


def decode_chat(ask: Ask, body: bytes) -> tuple[Document, Usage | None]:
    """The canonical answer of a whole 2xx body, and what it used.

    Raises upstream_bad_answer for what is no message, and what an error in it means.
    """
    document = parse_object(body)
    if document is None:
        raise GatewayError("upstream_bad_answer", "The provider's answer is not a JSON object.")
    content = document.get("content")
    if document.get("type") == "error" or (not isinstance(content, list) and document.get("error")):
        raise error_inside(document)
    if not isinstance(content, list):
        raise GatewayError("upstream_bad_answer", "The provider's answer has no content.")
    reply = Reply(ask)
    for block in content:
        if isinstance(block, dict):
            reply.add(block)
    stop_reason = document.get("stop_reason")
    choice: Document = {
        "index": 0,
        "message": reply.message(refusal_text(document)),
        "finish_reason": finish_reason(stop_reason, calls=bool(reply.calls), json_answer=reply.json_answer is not None),
    }
    if isinstance(stop_reason, str):
        choice["native_finish_reason"] = stop_reason
    used = document.get("usage")
    usage = messages_usage(used) if isinstance(used, dict) else None
    return completion(ask, [choice], usage, answer_id=text_of(document, "id") or None), usage
