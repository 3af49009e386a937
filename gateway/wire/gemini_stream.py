"""Gemini's streams: events that are whole `GenerateContentResponse` objects, or the same objects in a JSON array."""

from __future__ import annotations

import re

from gateway.errors import GatewayError
from gateway.wire import sse
from gateway.wire.chunks import Chunks
from gateway.wire.dialect import Ask, Document
from gateway.wire.gemini_answer import Choice, candidate_index, logprobs, refused_prompt
from gateway.wire.gemini_error import error_in
from gateway.wire.gemini_usage import read_usage
from gateway.wire.openai_error import parse_object
from gateway.wire.usage import Usage

_OUTSIDE = re.compile(rb'["{}]')
_INSIDE = re.compile(rb'["\\]')
_BLANK = b" \t\r\n\xef\xbb\xbf"


class ObjectCutter:
    """Gives back the objects of a JSON array whole, as they come, however its reads were split."""

    __slots__ = ("_buffer", "_depth", "_in_string", "_position", "_start")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._position = self._start = self._depth = 0
        self._in_string = False

    def feed(self, data: bytes) -> list[bytes]:
        """The objects that are complete with this read. Raises upstream_bad_answer for one over 16 MiB."""
        self._buffer += data
        buffer = self._buffer
        found: list[bytes] = []
        while (match := (_INSIDE if self._in_string else _OUTSIDE).search(buffer, self._position)) is not None:
            mark = match[0]
            self._position = match.end()
            if mark == b'"':
                self._in_string = not self._in_string
            elif mark == b"\\":
                self._position += 1
            elif mark == b"{":
                if not self._depth:
                    self._start = match.start()
                self._depth += 1
            elif self._depth:
                self._depth -= 1
                if not self._depth:
                    found.append(bytes(buffer[self._start : match.end()]))
        self._position = max(self._position, len(buffer))
        keep = self._start if self._depth else len(buffer)
        self._position -= keep
        self._start = 0
        del buffer[:keep]
        if len(buffer) > sse.MAX_EVENT_BYTES:
            raise GatewayError("upstream_bad_answer", "The provider sent an event larger than 16 MiB.")
        return found

    @property
    def open(self) -> bool:
        """Is there an object that has begun and not ended?"""
        return self._depth > 0


class GeminiDecoder:
    """A stream as canonical chunks. Each event adds what it brings; how a choice ended is said when the body has.

    There is no last event: the end is that of the body, behind a reason for every choice. `done` says so then.
    """

    __slots__ = ("_array", "_ask", "_choices", "_chunks", "_cutter", "_head", "_who", "done", "error", "usage")

    def __init__(self, ask: Ask, who: str) -> None:
        self._ask = ask
        self._who = who
        self._chunks = Chunks(ask)
        self._cutter = sse.EventCutter()
        self._array: ObjectCutter | None = None
        self._head: bytes | None = b""
        self._choices: dict[int, Choice] = {}
        self.usage: Usage | None = None
        self.done = False
        self.error: GatewayError | None = None

    def feed(self, data: bytes) -> list[Document]:
        """The chunks that are complete with this read."""
        if self.done or self.error is not None:
            return []
        chunks: list[Document] = []
        try:
            for payload in self._payloads(data):
                self._read(payload, chunks)
        except GatewayError as error:
            self.error = error
        return chunks

    def finish(self) -> list[Document]:
        """How each choice ended; only where the body ends behind the reasons for it."""
        if self.done or self.error is not None:
            return []
        chunks: list[Document] = []
        try:
            left = sse.event_data(self._cutter.rest)
            if left is not None and left.strip():
                if parse_object(left) is None:
                    return []
                self._read(left, chunks)
        except GatewayError as error:
            self.error = error
            return chunks
        if self._array is not None and self._array.open:
            return chunks
        if not self._choices or not all(choice.native for choice in self._choices.values()):
            return chunks
        for choice in self._choices.values():
            reason, refusal = choice.finish()
            delta = {} if refusal is None else {"refusal": refusal}
            chunks.append(
                self._chunks.delta(delta, choice.index, finish_reason=reason, native_finish_reason=choice.native)
            )
        self.done = True
        return chunks

    def _payloads(self, data: bytes) -> list[bytes]:
        """The JSON objects that are complete; which of the two forms it is shows in the first byte."""
        if self._head is not None:
            data = (self._head + data).lstrip(_BLANK)
            if not data:
                return []
            self._head = None
            if data[:1] in b"[{":
                self._array = ObjectCutter()
        if self._array is not None:
            return self._array.feed(data)
        found = (sse.event_data(event) for event in sse.split_events(self._cutter.feed(data)))
        return [payload for payload in found if payload]

    def _read(self, payload: bytes, chunks: list[Document]) -> None:
        event = parse_object(payload)
        if event is None:
            if payload.strip() == b"[DONE]":  # not Google's, but of proxies before it
                return
            raise GatewayError("upstream_bad_answer", "The provider sent an event that is not a JSON object.")
        if event.get("error"):
            raise error_in(event, self._who)
        self.usage = read_usage(event.get("usageMetadata")) or self.usage
        if not self._choices and isinstance(event.get("responseId"), str):
            self._chunks.id = event["responseId"] or self._chunks.id
        candidates = event.get("candidates")
        if not isinstance(candidates, list) or not candidates:
            if (refused := refused_prompt(event)) is not None:
                raise refused
            return
        for position, candidate in enumerate(candidates):
            if isinstance(candidate, dict):
                self._read_candidate(candidate, position, chunks)

    def _read_candidate(self, candidate: Document, position: int, chunks: list[Document]) -> None:
        index = candidate_index(candidate, position)
        choice = self._choices.get(index)
        first = choice is None
        if choice is None:
            choice = self._choices[index] = Choice(self._ask, index)
        delta = choice.read(candidate)
        told = logprobs(candidate)
        if first:
            delta = {"role": "assistant", **(delta or {"content": ""})}
        if told is not None:
            chunks.append(self._chunks.delta(delta, index, logprobs=told))
        elif delta:
            chunks.append(self._chunks.delta(delta, index))
