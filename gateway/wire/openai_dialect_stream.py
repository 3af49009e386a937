"""Streams in OpenAI's format as canonical chunks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.errors import GatewayError
from gateway.wire import sse
from gateway.wire.chunks import Chunks
from gateway.wire.dialect import Ask, Document
from gateway.wire.openai import read_usage
from gateway.wire.openai_dialect_answer import (
    arguments_text,
    bad_answer,
    call_id,
    citations_of,
    content_of,
    finish_of,
    read_object,
    reasoning_of,
)
from gateway.wire.usage import Usage

ReadError = Callable[[Document, str], GatewayError]
_DELTA_FIELDS = ("refusal", "annotations", "audio", "reasoning_details")
# So many choices and calls are kept apart in one stream; more than any provider gives.
_MAX_PARTS = 1024


class _Choice:
    """What has been seen of one choice: its tool calls by the provider's index, with our index and their id."""

    __slots__ = ("calls", "count", "finished", "index")

    def __init__(self, index: int) -> None:
        self.index = index
        self.finished = False
        self.calls: dict[int, tuple[int, str]] = {}
        self.count = 0


class OpenAIStream:
    """The decoder of one stream; `read_error` says what an error within it means.

    `marked` says whether the provider always ends with `[DONE]`; without, a body that ends behind the finish reason
    of every choice is complete too.
    """

    def __init__(self, ask: Ask, read_error: ReadError, *, marked: bool) -> None:
        self.usage: Usage | None = None
        self.done = False
        self.error: GatewayError | None = None
        self._ask = ask
        self._read_error = read_error
        self._marked = marked
        self._cutter = sse.EventCutter()
        self._chunks = Chunks(ask)
        self._named = False
        self._choices: dict[int, _Choice] = {}
        self._citations: list[Document] = []

    def feed(self, data: bytes) -> list[Document]:
        """The chunks that are complete with this read."""
        if self.done or self.error is not None:
            return []
        try:
            events = self._cutter.feed(data)
        except GatewayError as error:
            self.error = error
            return []
        return self._read(events) if events else []

    def finish(self) -> list[Document]:
        """The body has ended: an event whose empty line never came counts if it is whole."""
        if self.done or self.error is not None:
            return []
        rest = self._cutter.rest
        payload = sse.event_data(rest)
        chunks: list[Document] = []
        if payload is not None and (payload.strip() == b"[DONE]" or read_object(payload) is not None):
            chunks = self._read(rest)
        if not self._marked and self.error is None and self._choices:
            self.done = self.done or all(choice.finished for choice in self._choices.values())
        return chunks

    def _read(self, events: bytes) -> list[Document]:
        chunks: list[Document] = []
        for event in sse.split_events(events):
            payload = sse.event_data(event)
            if payload is None:
                continue
            if payload.strip() == b"[DONE]":
                self.done = True
                break
            document = read_object(payload)
            if document is None:
                self.error = bad_answer("sent an event that is not a JSON object")
                break
            if b'"usage"' in payload:
                self._note_usage(document)
            if document.get("error") or _is_error_event(event):
                self.error = self._read_error(document, "The provider broke off its stream")
                break
            chunk = self._chunk(document)
            if chunk is not None:
                chunks.append(chunk)
        return chunks

    def _note_usage(self, document: Document) -> None:
        """Keeps the usage of a chunk, which some report one level down, in an object of their own."""
        inner = (value["usage"] for value in document.values() if type(value) is dict and "usage" in value)
        for reported in (document.get("usage"), *inner):
            usage = read_usage(reported)
            if usage is not None:
                self.usage = usage
                return

    def _chunk(self, document: Document) -> Document | None:
        if not self._named:
            own_id = document.get("id")
            if type(own_id) is str and own_id:
                self._chunks.id = own_id
                self._named = True
        if "citations" in document or "search_results" in document:
            self._citations = citations_of(document) or self._citations
        given = document.get("choices")
        if type(given) is not list:
            return None
        choices = [read for choice in given if type(choice) is dict and (read := self._choice(choice)) is not None]
        if not choices:
            return None
        chunk = self._chunks.delta({})
        chunk["choices"] = choices
        if type(document.get("created")) is int:
            chunk["created"] = document["created"]
        return chunk

    def _choice(self, given: Document) -> Document | None:
        index = given.get("index")
        index = index if type(index) is int and 0 <= index < _MAX_PARTS else 0
        choice = self._choices.get(index)
        delta: Document = {}
        if choice is None:
            choice = self._choices[index] = _Choice(index)
            delta["role"] = "assistant"
        added = given.get("delta")
        self._add(delta, choice, added if type(added) is dict else {})
        read: Document = {"index": index, "delta": delta, "finish_reason": None}
        if type(given.get("logprobs")) is dict:
            read["logprobs"] = given["logprobs"]
        word = given.get("finish_reason")
        if type(word) is str and word:
            self._finish(read, choice, word, given.get("native_finish_reason"))
        return read if delta or len(read) > 3 or read["finish_reason"] is not None else None

    def _finish(self, read: Document, choice: _Choice, word: str, own: object) -> None:
        read["finish_reason"], native = finish_of(word, called=choice.count > 0)
        choice.finished = True
        if type(own) is str or native is not None:
            read["native_finish_reason"] = own if type(own) is str else native
        if self._citations and not choice.index:
            read["delta"].setdefault("annotations", self._citations)

    def _add(self, delta: Document, choice: _Choice, added: Document) -> None:
        text, thought = content_of(added.get("content"))
        if text or (text is not None and delta):
            delta["content"] = text
        thought = reasoning_of(added) or thought
        if thought:
            delta["reasoning_content"] = thought
        for name in _DELTA_FIELDS:
            if added.get(name):
                delta[name] = added[name]
        calls = added.get("tool_calls")
        if type(calls) is dict:  # text-generation-inference before 2.0
            calls = [calls]
        old = added.get("function_call")
        if not calls and type(old) is dict and (old.get("name") or old.get("arguments")):
            calls = [{"index": 0, "function": old}]
        if type(calls) is list:
            pieces = [piece for call in calls if type(call) is dict and (piece := self._call(choice, call)) is not None]
            if pieces:
                delta["tool_calls"] = pieces

    def _call(self, choice: _Choice, call: Document) -> Document | None:
        """One piece of a call: the first has id, type and name, the others only more of the arguments."""
        function = call.get("function")
        function = function if type(function) is dict else {}
        name = _text(function.get("name"))
        arguments = arguments_text(function.get("arguments"))
        own = _text(call.get("id"))
        place = call.get("index")
        place = place if type(place) is int else (max(choice.calls, default=0) if not own else choice.count)
        known = choice.calls.get(place)
        if known is None or (own and name and own != known[1]):
            if choice.count >= _MAX_PARTS:
                return None
            known = (choice.count, own or call_id(self._ask, choice.count, choice.index))
            choice.calls[place] = known
            choice.count += 1
            return _first_piece(call, known, name, arguments)
        if type(call.get("custom")) is dict:
            return {"index": known[0], "custom": {"input": _text(call["custom"].get("input"))}}
        return {"index": known[0], "function": {"arguments": arguments}}


def _first_piece(call: Document, known: tuple[int, str], name: str, arguments: str) -> dict[str, Any]:
    index, own = known
    if call.get("type") == "custom" and type(call.get("custom")) is dict:
        return {"index": index, "id": own, "type": "custom", "custom": call["custom"]}
    return {"index": index, "id": own, "type": "function", "function": {"name": name, "arguments": arguments}}


def _text(value: object) -> str:
    return value if type(value) is str else ""


def _is_error_event(event: bytes) -> bool:
    return event.startswith(b"event:") and event[6 : event.find(b"\n")].strip() == b"error"
