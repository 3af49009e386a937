"""Converse's whole answers, and what streams share with them: usage, reasons for the end, citations.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html (read 2026-11).
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import Any

import orjson

from gateway.errors import GatewayError
from gateway.wire.bedrock_content import document_names
from gateway.wire.bedrock_error import error_within
from gateway.wire.bedrock_models import Family, family_of
from gateway.wire.bedrock_tools import NO_TOOL, answer_tool_name
from gateway.wire.chunks import completion
from gateway.wire.dialect import Ask, Document
from gateway.wire.openai_error import parse_object
from gateway.wire.usage import Usage

_FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
    "malformed_model_output": "stop",
    "malformed_tool_use": "stop",
}


def decode_chat(ask: Ask, body: bytes) -> tuple[Document, Usage | None]:
    """The canonical answer and its usage. Raises upstream_bad_answer, or what an error with status 200 means."""
    document = parse_object(body)
    if document is None:
        raise GatewayError("upstream_bad_answer", "The provider's answer is not a JSON object.")
    message = objected(objected(document.get("output")).get("message"))
    content = message.get("content")
    if not isinstance(content, list):
        raise error_within(document)
    parts = _Parts(ask)
    for block in content:
        parts.take(objected(block))
    usage = read_usage(document.get("usage"))
    native = document.get("stopReason")
    choice = {
        "index": 0,
        "message": parts.message(),
        "finish_reason": finish_reason(native, called=bool(parts.calls)),
        "native_finish_reason": native if isinstance(native, str) else None,
    }
    return completion(ask, [choice], usage), usage


@dataclass(slots=True)
class _Parts:
    """The blocks of one answer, sorted."""

    ask: Ask
    texts: list[str] = field(default_factory=list)
    length: int = 0
    calls: list[Document] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    details: list[Document] = field(default_factory=list)
    annotations: list[Document] = field(default_factory=list)
    answer: str | None = None
    family: Family = field(init=False)
    answer_tool: str | None = field(init=False)

    def __post_init__(self) -> None:
        self.family = family_of(self.ask.model)
        self.answer_tool = answer_tool_name(self.ask.document, self.family)

    def take(self, block: Document) -> None:
        """One block of the answer; kinds that are not known are left out."""
        if isinstance(block.get("text"), str):
            self._say(block["text"])
        elif "toolUse" in block:
            self._call(objected(block["toolUse"]))
        elif "reasoningContent" in block:
            self._think(objected(block["reasoningContent"]))
        elif "citationsContent" in block:
            self._cite(objected(block["citationsContent"]))

    def message(self) -> Document:
        """The assistant's message."""
        text = "".join(self.texts) if self.answer is None else self.answer
        message: Document = {"role": "assistant", "content": text if text or not self.calls else None}
        if self.calls:
            message["tool_calls"] = self.calls
        if self.thoughts:
            message["reasoning_content"] = "".join(self.thoughts)
        if self.details:
            message["reasoning_details"] = self.details
        if self.annotations and self.answer is None:
            message["annotations"] = self.annotations
        return message

    def _say(self, text: str) -> None:
        self.texts.append(text)
        self.length += len(text)

    def _call(self, call: Document) -> None:
        name = call.get("name")
        if is_hidden(call):
            return
        arguments = _dumped(call.get("input"))
        if name == self.answer_tool:
            self.answer = arguments
            return
        call_id = call.get("toolUseId")
        self.calls.append(
            {
                "id": call_id if isinstance(call_id, str) and call_id else made_id(self.ask, len(self.calls)),
                "type": "function",
                "function": {"name": name if isinstance(name, str) else "", "arguments": arguments},
            }
        )

    def _think(self, content: Document) -> None:
        mark = {"format": self.family.reasoning_format, "index": len(self.details)}
        said = objected(content.get("reasoningText"))
        if isinstance(said.get("text"), str):
            self.thoughts.append(said["text"])
            detail = {"type": "reasoning.text", "text": said["text"], **mark}
            if isinstance(said.get("signature"), str) and said["signature"]:
                detail["signature"] = said["signature"]
            self.details.append(detail)
        elif isinstance(content.get("redactedContent"), str):
            data = readable(content["redactedContent"], self.family)
            self.details.append({"type": "reasoning.encrypted", "data": data, **mark})

    def _cite(self, content: Document) -> None:
        start = self.length
        for piece in listed(content.get("content")):
            text = objected(piece).get("text")
            if isinstance(text, str):
                self._say(text)
        for citation in listed(content.get("citations")):
            found = annotation(objected(citation), self.ask.document, start, self.length)
            if found is not None:
                self.annotations.append(found)


# --- shared with streams --------------------------------------------------------------------------


def objected(value: Any) -> Document:
    """`value` where it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def listed(value: Any) -> list[Any]:
    """`value` where it is an array, else an empty one."""
    return value if isinstance(value, list) else []


def is_hidden(call: Document) -> bool:
    """Is this a call that the provider makes itself, or one of the tool that stands in for none?"""
    return call.get("type") == "server_tool_use" or call.get("name") == NO_TOOL


def made_id(ask: Ask, index: int) -> str:
    """An id for a call that came without one."""
    return f"call_{ask.answer_id[-24:]}_{index}"


def finish_reason(native: object, *, called: bool) -> str:
    """OpenAI's word for the end; `called` says whether the client sees a tool call."""
    reason = _FINISH.get(native, "stop") if isinstance(native, str) else "stop"
    if reason in ("stop", "tool_calls"):
        return "tool_calls" if called else "stop"
    return reason


def read_usage(value: object) -> Usage | None:
    """Usage in our terms: Bedrock's `inputTokens` leaves out what was read from or written to the cache.

    `cacheDetails` tells what was written by how long it is kept
    (https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_TokenUsage.html, read 2026-11).
    """
    if not isinstance(value, dict) or "inputTokens" not in value:
        return None
    cached, written = _count(value.get("cacheReadInputTokens")), _count(value.get("cacheWriteInputTokens"))
    return Usage(
        prompt=_count(value.get("inputTokens")) + cached + written,
        completion=_count(value.get("outputTokens")),
        cached=cached,
        cache_write=written,
        cache_write_1h=min(_written_for_an_hour(value.get("cacheDetails")), written) if written else 0,
    )


def _written_for_an_hour(details: object) -> int:
    if not isinstance(details, list):
        return 0
    return sum(_count(one.get("inputTokens")) for one in details if isinstance(one, dict) and one.get("ttl") == "1h")


def _count(value: object) -> int:
    return value if type(value) is int and value > 0 else 0


def readable(data: str, family: Family) -> str:
    """Redacted reasoning as Claude's own API gives it, which Bedrock encodes once more; else as it came."""
    if family.vendor != "anthropic":
        return data
    try:
        return base64.b64decode(data, validate=True).decode()
    except (binascii.Error, ValueError):
        return data


def annotation(citation: Document, request: Document, start: int, end: int) -> Document | None:
    """One citation of the text from `start` to `end` (characters); None for one that names no source."""
    location = objected(citation.get("location"))
    title, source = citation.get("title"), citation.get("source")
    place: Document = {"start_index": start, "end_index": end}
    url = objected(location.get("web")).get("url")
    if not isinstance(url, str) and isinstance(source, str) and source.startswith(("https://", "http://")):
        url = source
    if isinstance(url, str):
        named = {"title": title} if isinstance(title, str) else {}
        return {"type": "url_citation", "url_citation": {"url": url, **named, **place}}
    quoted = "".join(
        text for piece in listed(citation.get("sourceContent")) if isinstance(text := objected(piece).get("text"), str)
    )
    filename = _filename(location, request) or title or source
    if not isinstance(filename, str):
        return None
    text = {"text": quoted} if quoted else {}
    return {"type": "file_citation", "file_citation": {"filename": filename, **text, **place}}


def _filename(location: Document, request: Document) -> str:
    """The client's own name of the document that is cited: the provider knows a tamer one."""
    for kind in ("documentChar", "documentPage", "documentChunk"):
        index = objected(location.get(kind)).get("documentIndex")
        if type(index) is int and index >= 0:
            names = document_names(request)
            return names[index] if index < len(names) else ""
    return ""


def _dumped(value: object) -> str:
    if isinstance(value, str):
        return value
    try:
        return orjson.dumps({} if value is None else value).decode()
    except orjson.JSONEncodeError:
        raise GatewayError("upstream_bad_answer", "The provider's answer nests too deeply.") from None
