"""AI21's answers, whole ones and streams, and its errors.

https://docs.ai21.com/reference/jamba-api-response (read 2026-11).
"""

from __future__ import annotations

import re

from gateway.errors import GatewayError
from gateway.wire import sse
from gateway.wire.chunks import FINISH_REASONS, Chunks, completion
from gateway.wire.dialect import Ask, Document
from gateway.wire.openai import read_usage
from gateway.wire.openai_error import parse_object
from gateway.wire.provider_errors import Rule, error_document, provider_error
from gateway.wire.usage import Usage

_RULES = (
    Rule(
        "context_length_exceeded",
        names=frozenset({"context_length_exceeded"}),
    ),
    Rule(
        "context_length_exceeded",
        says=re.compile(r"(?i)context (length|window)|prompt is too long|too many (input )?tokens|exceeds the maximum"),
        statuses=frozenset({400, 413, 422}),
    ),
    Rule("content_policy_violation", names=frozenset({"content_filter", "content_policy_violation"})),
    Rule("upstream_quota", says=re.compile(r"(?i)quota|credit|balance|billing"), statuses=frozenset({402, 429})),
)


def decode_chat(ask: Ask, body: bytes) -> tuple[Document, Usage | None]:
    """The canonical answer. Raises upstream_bad_answer, or what an error in the body means."""
    document = parse_object(body)
    choices = document.get("choices") if document is not None else None
    if document is None or not isinstance(choices, list) or not choices:
        raise _error("ai21", 0, document or {}, None)
    shown = [_choice(ask, choice, place) for place, choice in enumerate(choices)]
    usage = read_usage(document.get("usage"))
    answer_id = document.get("id")
    return completion(ask, shown, usage, answer_id=answer_id if isinstance(answer_id, str) else None), usage


def _choice(ask: Ask, choice: object, place: int) -> Document:
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        raise GatewayError("upstream_bad_answer", "The provider's answer has a choice without a message.")
    content = message.get("content")
    shown: Document = {"role": "assistant", "content": content if isinstance(content, str) else None}
    calls = message.get("tool_calls")
    found = []
    for index, call in enumerate(calls if isinstance(calls, list) else ()):
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict) and isinstance(function.get("name"), str):
            arguments = function.get("arguments")
            call_id = _call_id(ask, call.get("id"), place, index)
            inner = {"name": function["name"], "arguments": arguments if isinstance(arguments, str) else "{}"}
            found.append({"id": call_id, "type": "function", "function": inner})
    if found:
        shown["tool_calls"] = found
    elif shown["content"] is None:
        shown["content"] = ""
    return {"index": _index(choice, place), "message": shown, **_finish(choice.get("finish_reason"), bool(found))}


def _finish(reason: object, called: bool) -> Document:
    """OpenAI's finish reasons under the same names; any other word is an end like any."""
    ours = reason if isinstance(reason, str) and reason in FINISH_REASONS else "stop"
    if called and ours == "stop":
        ours = "tool_calls"
    return {"finish_reason": ours, **({"native_finish_reason": reason} if isinstance(reason, str) else {})}


def _call_id(ask: Ask, call_id: object, place: int, index: int) -> str:
    if isinstance(call_id, str) and call_id:
        return call_id
    return f"call_{ask.answer_id.rpartition('-')[2]}_{f'{place}_' if place else ''}{index}"


def _index(holder: Document, default: int) -> int:
    index = holder.get("index")
    return index if type(index) is int and 0 <= index < 1024 else default


def read_error(provider: str, status: int, body: bytes, *, retry_after_s: float | None = None) -> GatewayError:
    """What an answer outside 2xx means."""
    return _error(provider, status, error_document(body), retry_after_s)


def _error(provider: str, status: int, document: Document, retry_after_s: float | None) -> GatewayError:
    """`{"detail"}` is a text or, where the request's form is wrong, a list of places and what is wrong there."""
    inner = document.get("error")
    inner = inner if isinstance(inner, dict) else document
    text = inner.get("message") or document.get("detail") or document.get("error")
    if isinstance(text, list):
        text = "; ".join(_complaint(item) for item in text[:20] if isinstance(item, dict))
    names = (inner.get("code"), inner.get("type"))
    return provider_error(_RULES, provider, status, names=names, text=text, retry_after_s=retry_after_s)


def _complaint(item: Document) -> str:
    place = item.get("loc")
    where = ".".join(str(step) for step in place) if isinstance(place, list) else ""
    return f"{where}: {item.get('msg')}" if where else str(item.get("msg"))


class AI21Decoder:
    """One stream. `done` with its `[DONE]`."""

    __slots__ = ("_ask", "_called", "_chunks", "_cutter", "_opened", "done", "error", "usage")

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._chunks = Chunks(ask)
        self._cutter = sse.EventCutter()
        self._opened: set[int] = set()
        self._called: set[tuple[int, int]] = set()
        self.usage: Usage | None = None
        self.done = False
        self.error: GatewayError | None = None

    def feed(self, data: bytes) -> list[Document]:
        """The chunks that are complete with this read."""
        if self.done or self.error is not None:
            return []
        try:
            events = sse.split_events(self._cutter.feed(data))
        except GatewayError as error:
            self.error = error
            return []
        return [chunk for event in events for chunk in self._take(sse.event_data(event))]

    def finish(self) -> list[Document]:
        """The body has ended; an event without the empty line behind it counts if it is whole."""
        payload = sse.event_data(self._cutter.rest)
        whole = payload is not None and (payload.strip() == b"[DONE]" or parse_object(payload) is not None)
        return self._take(payload) if whole else []

    def _take(self, payload: bytes | None) -> list[Document]:
        if not payload or self.done or self.error is not None:
            return []
        if payload.strip() == b"[DONE]":
            self.done = True
            return []
        event = parse_object(payload)
        if event is None:
            self.error = GatewayError("upstream_bad_answer", "The provider sent an event that is not an object.")
            return []
        self.usage = read_usage(event.get("usage")) or self.usage
        choices = event.get("choices")
        if not isinstance(choices, list) or event.get("error"):
            if event.get("error") or event.get("detail"):
                self.error = _error("ai21", 0, event, None)
            return []
        if isinstance(event.get("id"), str) and event["id"]:
            self._chunks.id = event["id"]
        return [self._chunk(choice) for choice in choices if isinstance(choice, dict)]

    def _chunk(self, choice: Document) -> Document:
        index = _index(choice, 0)
        given = choice.get("delta")
        given = given if isinstance(given, dict) else {}
        delta: Document = {}
        if index not in self._opened:
            self._opened.add(index)
            delta["role"] = "assistant"
        if isinstance(given.get("content"), str):
            delta["content"] = given["content"]
        calls = given.get("tool_calls")
        if isinstance(calls, list):
            pieces = [self._piece(call, index, place) for place, call in enumerate(calls) if isinstance(call, dict)]
            if pieces:
                delta["tool_calls"] = pieces
        reason = choice.get("finish_reason")
        if reason is None:
            return self._chunks.delta(delta, index)
        called = any(place == index for place, _ in self._called)
        return self._chunks.delta(delta, index, **_finish(reason, called))

    def _piece(self, call: Document, choice: int, place: int) -> Document:
        function = call.get("function")
        function = function if isinstance(function, dict) else {}
        index = _index(call, place)
        arguments = function.get("arguments")
        inner: Document = {"arguments": arguments if isinstance(arguments, str) else ""}
        piece: Document = {"index": index, "function": inner}
        if (choice, index) not in self._called:
            self._called.add((choice, index))
            piece["id"] = _call_id(self._ask, call.get("id"), choice, index)
            piece["type"] = "function"
            inner["name"] = function["name"] if isinstance(function.get("name"), str) else ""
        return piece
