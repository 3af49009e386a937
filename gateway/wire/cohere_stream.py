"""Cohere's chat streams: events that say by their `type` what they are (https://docs.cohere.com/v2/docs/streaming,
read 2026-11)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.errors import GatewayError
from gateway.wire import sse
from gateway.wire.chunks import Chunks
from gateway.wire.cohere_answer import (
    call_name,
    error_within,
    finish,
    is_broken,
    read_citations,
    read_logprobs,
    read_usage,
)
from gateway.wire.cohere_messages import REASONING_FORMAT
from gateway.wire.cohere_request import answer_tool
from gateway.wire.dialect import Ask, Document
from gateway.wire.openai_error import parse_object
from gateway.wire.usage import Usage


class CohereDecoder:
    """One stream. `done` with message-end; the `[DONE]` behind it says nothing more."""

    __slots__ = (
        "_answer_place",
        "_answer_tool",
        "_ask",
        "_calls",
        "_chunks",
        "_cutter",
        "_opened",
        "_silent",
        "_started",
        "done",
        "error",
        "usage",
    )

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._chunks = Chunks(ask)
        self._cutter = sse.EventCutter()
        self._answer_tool = answer_tool(ask.document)
        self._answer_place: int | None = None
        self._calls: dict[int, int] = {}  # Cohere's index of a call → ours
        self._started = 0
        self._silent: set[int] = set()  # calls of which no arguments have come
        self._opened = False
        self.usage: Usage | None = None
        self.done = False
        self.error: GatewayError | None = None

    def feed(self, data: bytes) -> list[Document]:
        """The chunks that are complete with this read."""
        if self.done or self.error is not None:
            return []
        try:
            data = self._cutter.feed(data)
        except GatewayError as error:
            self.error = error
            return []
        return self._read(data) if data else []

    def finish(self) -> list[Document]:
        """The body has ended; an event without the empty line behind it counts if it is whole."""
        if self.done or self.error is not None:
            return []
        payload = sse.event_data(self._cutter.rest)
        event = parse_object(payload) if payload else None
        return self._take(event) if event is not None else []

    def _read(self, data: bytes) -> list[Document]:
        chunks: list[Document] = []
        for event in sse.split_events(data):
            payload = sse.event_data(event)
            if not payload or payload.strip() == b"[DONE]":
                continue
            document = parse_object(payload)
            if document is None:
                self.error = GatewayError("upstream_bad_answer", "The provider sent an event that is not an object.")
                break
            chunks += self._take(document)
            if self.done or self.error is not None:
                break
        return chunks

    def _take(self, event: Document) -> list[Document]:
        kind = event.get("type")
        take = _TAKERS.get(kind) if isinstance(kind, str) else None
        if take is None:
            if kind in (None, "error") and (event.get("message") or event.get("error")):
                self.error = error_within(event)
            return []
        delta = event.get("delta")
        delta = delta if isinstance(delta, dict) else {}
        message = delta.get("message")
        return take(self, event, delta, message if isinstance(message, dict) else {})

    def _chunk(self, delta: Document, **choice: Any) -> list[Document]:
        """One chunk; the first one says who speaks."""
        if not self._opened:
            self._opened = True
            delta = {"role": "assistant", **delta}
        return [self._chunks.delta(delta, **choice)]

    def _start(self, event: Document, _: Document, __: Document) -> list[Document]:
        if isinstance(event.get("id"), str) and event["id"]:
            self._chunks.id = event["id"]
        return [] if self._opened else self._chunk({"content": ""})

    def _content(self, event: Document, _: Document, message: Document) -> list[Document]:
        content = message.get("content")
        if not isinstance(content, dict):
            return []
        text, thinking = content.get("text"), content.get("thinking")
        if isinstance(text, str) and text:
            logprobs = read_logprobs(event.get("logprobs"))
            return self._chunk({"content": text}, **({} if logprobs is None else {"logprobs": logprobs}))
        if isinstance(thinking, str) and thinking:
            item = {"type": "reasoning.text", "text": thinking, "format": REASONING_FORMAT, "index": 0}
            return self._chunk({"reasoning_content": thinking, "reasoning_details": [item]})
        return []

    def _plan(self, _: Document, __: Document, message: Document) -> list[Document]:
        plan = message.get("tool_plan")
        if not isinstance(plan, str) or not plan:
            return []
        item = {"type": "reasoning.summary", "summary": plan, "format": REASONING_FORMAT, "index": 1}
        return self._chunk({"reasoning_content": plan, "reasoning_details": [item]})

    def _call_start(self, event: Document, _: Document, message: Document) -> list[Document]:
        call, function = _call_in(message)
        name, arguments = function.get("name"), function.get("arguments")
        name = name if isinstance(name, str) else ""
        arguments = arguments if isinstance(arguments, str) else ""
        place = _place(event)
        if name and name == self._answer_tool:
            self._answer_place = place
            return self._chunk({"content": arguments}) if arguments else []
        index = self._started
        self._started += 1
        self._calls[place] = index
        if not arguments:
            self._silent.add(index)
        shown = {"id": call_name(self._ask, call.get("id"), index), "type": "function"}
        shown_function = {"name": name, "arguments": arguments}
        return self._chunk({"tool_calls": [{"index": index, **shown, "function": shown_function}]})

    def _call_delta(self, event: Document, _: Document, message: Document) -> list[Document]:
        _, function = _call_in(message)
        arguments = function.get("arguments")
        place = _place(event)
        if not isinstance(arguments, str) or not arguments:
            return []
        if place in self._calls:
            self._silent.discard(self._calls[place])
            return self._arguments(self._calls[place], arguments)
        return self._chunk({"content": arguments}) if self._answer_place == place else []

    def _call_end(self, event: Document, _: Document, __: Document) -> list[Document]:
        index = self._calls.get(_place(event))
        if index is None or index not in self._silent:
            return []
        self._silent.discard(index)
        return self._arguments(index, "{}")

    def _arguments(self, index: int, piece: str) -> list[Document]:
        return self._chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})

    def _citation(self, _: Document, __: Document, message: Document) -> list[Document]:
        notes = read_citations(message.get("citations"))
        return self._chunk({"annotations": notes}) if notes else []

    def _end(self, _: Document, delta: Document, __: Document) -> list[Document]:
        self.usage = read_usage(delta.get("usage")) or self.usage
        reason = delta.get("finish_reason")
        if is_broken(reason) or (reason is None and delta.get("error")):
            self.error = error_within(delta)
            return []
        self.done = True
        return self._chunk({}, **finish(reason, calls=bool(self._calls), answered=self._answer_place is not None))


def _call_in(message: Document) -> tuple[Document, Document]:
    """The call and its function, empty where they are missing."""
    call = message.get("tool_calls")
    call = call if isinstance(call, dict) else {}
    function = call.get("function")
    return call, function if isinstance(function, dict) else {}


def _place(event: Document) -> int:
    index = event.get("index")
    return index if type(index) is int else 0


_Taker = Callable[[CohereDecoder, Document, Document, Document], list[Document]]
_TAKERS: dict[str, _Taker] = {
    "message-start": CohereDecoder._start,
    "content-start": CohereDecoder._content,
    "content-delta": CohereDecoder._content,
    "tool-plan-delta": CohereDecoder._plan,
    "tool-call-start": CohereDecoder._call_start,
    "tool-call-delta": CohereDecoder._call_delta,
    "tool-call-end": CohereDecoder._call_end,
    "citation-start": CohereDecoder._citation,
    "message-end": CohereDecoder._end,
}
