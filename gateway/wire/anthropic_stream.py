"""Anthropic's stream as canonical chunks.

Events: message_start, then per content block a start, deltas and a stop, message_delta with why it ended, and
message_stop; ping and error anywhere
(https://platform.claude.com/docs/en/build-with-claude/streaming, read 2026-11).
"""

from __future__ import annotations

from typing import Any

from gateway.errors import GatewayError
from gateway.wire import sse
from gateway.wire.anthropic_answer import (
    annotation,
    call_id,
    finish_reason,
    json_tool_name,
    messages_usage,
    reasoning_detail,
    refusal_text,
    text_of,
    tool_call,
    written,
)
from gateway.wire.anthropic_error import error_inside
from gateway.wire.anthropic_messages import FORMAT
from gateway.wire.chunks import Chunks
from gateway.wire.dialect import Ask, Document
from gateway.wire.openai_error import parse_object
from gateway.wire.usage import Usage


class _Block:
    """A content block that is being streamed: `index` counts calls or reasoning details, whichever it is."""

    __slots__ = ("citations", "given", "index", "kind", "pieces", "start")

    def __init__(self, kind: str, index: int = 0, given: object = None, start: int = 0) -> None:
        self.kind = kind
        self.index = index
        self.given = given
        self.start = start
        self.pieces = 0
        self.citations: list[object] = []


class MessagesDecoder:
    """Decodes one stream; see `StreamDecoder`.

    Where the answer is to come as a tool's arguments, text is kept until it is clear that it is the answer after
    all, or that a call of another tool follows.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._chunks = Chunks(ask)
        self._cutter = sse.EventCutter()
        self._json_tool = json_tool_name(ask)
        self._json_given = False
        self._kept: list[str] = []
        self._blocks: dict[int, _Block] = {}
        self._calls = 0
        self._details = 0
        self._length = 0
        # Reasoning details that came after something else: what they precede is known with the next call.
        self._loose: list[Document] = []
        self._used: Document = {}
        self._started = False
        self._ended = False
        self.usage: Usage | None = None
        self.done = False
        self.error: GatewayError | None = None

    def feed(self, data: bytes) -> list[Document]:
        """The chunks that are complete with this read."""
        if self.done or self.error is not None:
            return []
        try:
            whole = self._cutter.feed(data)
        except GatewayError as error:
            self.error = error
            return []
        return self._read(whole) if whole else []

    def finish(self) -> list[Document]:
        """The body has ended: an event counts also where the empty line behind it never came."""
        if self.done or self.error is not None:
            return []
        rest = self._cutter.rest
        payload = sse.event_data(rest)
        # A part of an event is no JSON: the stream was cut short then, which is not this event's fault.
        if payload is None or parse_object(payload) is None:
            return []
        return self._read(rest)

    def _read(self, whole: bytes) -> list[Document]:
        made: list[Document] = []
        for event in sse.split_events(whole):
            payload = sse.event_data(event)
            if payload is None or not payload.strip() or payload.strip() == b"[DONE]":
                continue
            document = parse_object(payload)
            if document is None:
                self.error = GatewayError("upstream_bad_answer", "The provider sent an event that is not JSON.")
                break
            made += self._event(document)
            if self.done or self.error is not None:
                break
        return made

    def _event(self, event: Document) -> list[Document]:
        kind = event.get("type")
        if kind == "content_block_delta":
            return self._delta(event)
        if kind == "content_block_start":
            return self._start_block(event)
        if kind == "content_block_stop":
            return self._stop_block(event)
        if kind == "message_start":
            return self._start(event.get("message"))
        if kind == "message_delta":
            return self._end(event)
        if kind == "message_stop":
            self.done = True
            return [] if self._ended else self._finish(None, {})
        if kind == "error" or (kind is None and event.get("error")):
            self.error = error_inside(event)
        return []

    def _say(self, delta: Document) -> Document:
        """A chunk with `delta`; the first one says whose it is."""
        if self._started:
            return self._chunks.delta(delta)
        self._started = True
        return self._chunks.delta({"role": "assistant", **delta})

    def _start(self, message: object) -> list[Document]:
        if not isinstance(message, dict):
            message = {}
        self._chunks.id = text_of(message, "id") or self._chunks.id
        self._count(message.get("usage"))
        return [] if self._started else [self._say({"content": ""})]

    def _count(self, usage: object) -> None:
        """Counts are running totals: what is named later replaces what was named before."""
        if isinstance(usage, dict):
            self._used.update({name: value for name, value in usage.items() if value is not None})
            self.usage = messages_usage(self._used)

    def _start_block(self, event: Document) -> list[Document]:
        index = event.get("index")
        given = event.get("content_block")
        if type(index) is not int or not isinstance(given, dict):
            return []
        kind = given.get("type")
        made: list[Document] = []
        if kind == "tool_use":
            block, made = self._start_call(given)
        elif kind in ("thinking", "redacted_thinking"):
            block = _Block("thinking", self._details)
            self._details += 1
            made = self._detail(reasoning_detail(given, block.index))
        elif kind == "text":
            block = _Block("text", start=self._length)
            citations = given.get("citations")
            block.citations = citations[:] if isinstance(citations, list) else []
            made = self._text(text_of(given, "text"))
        else:
            block = _Block("")
        self._blocks[index] = block
        return made

    def _start_call(self, given: Document) -> tuple[_Block, list[Document]]:
        if self._json_tool and given.get("name") == self._json_tool:
            block = _Block("" if self._json_given else "json", given=given.get("input"))
            self._json_given = True
            self._kept.clear()
            return block, []
        block = _Block("call", self._calls, given.get("input"))
        self._calls += 1
        call = tool_call(call_id(self._ask, given, block.index), given.get("name"), "")
        delta: Document = {"tool_calls": [{"index": block.index, **call}]}
        if self._loose:
            # Which call this thinking belongs to; a client joins it to the detail by its index.
            delta["reasoning_details"] = [{**detail, "id": call["id"]} for detail in self._loose]
            self._loose.clear()
        return block, [*self._release(), self._say(delta)]

    def _detail(self, detail: Document) -> list[Document]:
        if self._length or self._calls or self._kept:
            loose = {name: detail[name] for name in ("type", "format", "index")}
            self._loose.append(loose)
        if detail["type"] == "reasoning.text" and not detail["text"] and "signature" not in detail:
            return []
        delta: Document = {"reasoning_details": [detail]}
        if detail.get("text"):
            delta["reasoning_content"] = detail["text"]
        return [self._say(delta)]

    def _delta(self, event: Document) -> list[Document]:
        index = event.get("index")
        block = self._blocks.get(index) if type(index) is int else None
        delta = event.get("delta")
        if block is None or not isinstance(delta, dict):
            return []
        kind = delta.get("type")
        if kind == "text_delta" and block.kind == "text":
            return self._text(text_of(delta, "text"))
        if kind == "input_json_delta":
            return self._arguments(block, text_of(delta, "partial_json"))
        if kind == "thinking_delta" and block.kind == "thinking":
            return self._thought(block, "text", text_of(delta, "thinking"))
        if kind == "signature_delta" and block.kind == "thinking":
            return self._thought(block, "signature", text_of(delta, "signature"))
        if kind == "citations_delta":
            block.citations.append(delta.get("citation"))
        return []

    def _thought(self, block: _Block, name: str, piece: str) -> list[Document]:
        if not piece:
            return []
        detail = {"type": "reasoning.text", name: piece, "format": FORMAT, "index": block.index}
        delta: Document = {"reasoning_details": [detail]}
        if name == "text":
            delta["reasoning_content"] = piece
        return [self._say(delta)]

    def _text(self, piece: str) -> list[Document]:
        if not piece:
            return []
        if self._json_tool:
            if not self._json_given:
                self._kept.append(piece)
            return []
        self._length += len(piece)
        return [self._say({"content": piece})]

    def _release(self) -> list[Document]:
        """The text that was kept, now that it is known to be meant for the client."""
        text = "".join(self._kept)
        self._kept.clear()
        self._length += len(text)
        return [self._say({"content": text})] if text else []

    def _arguments(self, block: _Block, piece: str) -> list[Document]:
        if not piece or block.kind not in ("call", "json"):
            return []
        block.pieces += 1
        if block.kind == "json":
            return [self._say({"content": piece})]
        return [self._say({"tool_calls": [{"index": block.index, "function": {"arguments": piece}}]})]

    def _stop_block(self, event: Document) -> list[Document]:
        index = event.get("index")
        block = self._blocks.pop(index, None) if type(index) is int else None
        if block is None:
            return []
        if block.kind in ("call", "json") and not block.pieces:
            # No argument at all, or all of them at the block's start.
            return self._arguments(block, written(block.given))
        if block.kind == "text" and block.citations and not self._json_tool:
            found = [annotation(citation, block.start, self._length) for citation in block.citations]
            cited = [one for one in found if one is not None]
            return [self._say({"annotations": cited})] if cited else []
        return []

    def _end(self, event: Document) -> list[Document]:
        self._count(event.get("usage"))
        delta = event.get("delta")
        if self._ended or not isinstance(delta, dict) or not isinstance(delta.get("stop_reason"), str):
            return []
        return self._finish(delta["stop_reason"], delta)

    def _finish(self, stop_reason: str | None, holder: dict[str, Any]) -> list[Document]:
        self._ended = True
        made = self._release()
        if refusal := refusal_text(holder):
            made.append(self._say({"refusal": refusal}))
        if not self._started:
            made.append(self._say({"content": ""}))
        reason = finish_reason(stop_reason, calls=self._calls > 0, json_answer=self._json_given)
        last = self._chunks.delta({}, finish_reason=reason)
        if stop_reason is not None:
            last["choices"][0]["native_finish_reason"] = stop_reason
        made.append(last)
        return made
