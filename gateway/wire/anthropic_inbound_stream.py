"""Canonical chunks as Anthropic's stream of events.

https://platform.claude.com/docs/en/build-with-claude/streaming (read 2026-11): a message holds blocks one after the
other, each with a start, deltas and a stop. In OpenAI's form text and calls stand beside each other and the pieces of
several calls may come mixed. So while a call is not whole, what belongs to other blocks is held back; a call is whole
when its arguments are a JSON object, or when the stream ends.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from gateway.errors import GatewayError
from gateway.wire.anthropic_inbound_answer import citations_of, content_text, stop_of, tool_id, usage_of
from gateway.wire.anthropic_inbound_errors import error_event
from gateway.wire.anthropic_inbound_thinking import (
    CLAUDE_FORMAT,
    is_sealed,
    plain_thought,
    readable,
    redacted_block,
    signature_of,
)
from gateway.wire.dialect import Document
from gateway.wire.plain_json import to_json
from gateway.wire.usage import Usage


def event(name: str, document: Document) -> bytes:
    """One event; `name` is also its type."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), to_json({"type": name, **document}))


class _Call:
    """A tool call on its way: `parts` are the pieces of its arguments, `checked` how many `is_whole` has looked at."""

    __slots__ = ("checked", "closed", "id", "name", "opened", "parts")

    def __init__(self, call_id: object) -> None:
        self.id = call_id if type(call_id) is str else ""
        self.name = ""
        self.parts: list[str] = []
        self.opened = False
        self.closed = False
        self.checked = 0

    def is_whole(self) -> bool:
        """Are the arguments a complete JSON object? Looked at only where a piece that may end one has come."""
        if len(self.parts) == self.checked:
            return False
        self.checked = len(self.parts)
        if not self.parts[-1].rstrip().endswith("}"):
            return False
        try:
            return type(orjson.loads("".join(self.parts))) is dict
        except orjson.JSONDecodeError:
            return False


# What a delta adds: the call it belongs to (None for text and thinking), and how it is written.
_Item = tuple[_Call | None, Callable[..., None], tuple[Any, ...]]


class AnthropicStream:
    """Writes one stream; `document` is the client's own request."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._out: list[bytes] = []
        self._started = False
        self._ended = False
        self._id = ""
        # The block that is being written: its kind, empty for none, and its place.
        self._open = ""
        self._index = -1
        self._call: _Call | None = None
        self._calls: dict[int, _Call] = {}
        self._held: list[_Item] = []
        self._used_tools = False
        # The detail behind the thinking block that is open; thoughts that came as mere text.
        self._detail: Document = {}
        self._signed = False
        self._told_plainly = False
        self._finish: object = None
        self._native: object = None
        self._refused = False

    def encode(self, chunk: Document) -> bytes:
        """The events that this chunk becomes; the first also starts the message."""
        if self._ended:
            return b""
        if not self._started:
            self._start(chunk)
        choices = chunk.get("choices")
        for choice in choices if type(choices) is list else ():
            if type(choice) is dict and not choice.get("index"):
                self._read(choice)
        return self._written()

    def finish(self, usage: Usage | None) -> bytes:
        """The events that end the message, one that never had a chunk included."""
        if self._ended:
            return b""
        self._ended = True
        if not self._started:
            self._start({})
        self._release(force=True)
        self._close()
        reason, sequence = stop_of(
            self._finish, self._native, self._document, calls=self._used_tools, refused=self._refused
        )
        delta = {"stop_reason": reason, "stop_sequence": sequence}
        self._out.append(event("message_delta", {"delta": delta, "usage": usage_of(usage)}))
        self._out.append(event("message_stop", {}))
        return self._written()

    def fail(self, error: GatewayError, request_id: str) -> bytes:
        """The error event that ends a message which cannot be finished."""
        self._ended = True
        return error_event(error, request_id)

    def _written(self) -> bytes:
        out = self._out
        if not out:
            return b""
        self._out = []
        return out[0] if len(out) == 1 else b"".join(out)

    def _start(self, chunk: Document) -> None:
        """What was used is told at the end: no provider but Anthropic knows it before."""
        self._started = True
        answer_id, model = chunk.get("id"), chunk.get("model")
        self._id = answer_id if type(answer_id) is str and answer_id else "msg_unnamed"
        message: Document = {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "model": model if type(model) is str and model else self._document["model"],
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage_of(None),
        }
        self._out += (event("message_start", {"message": message}), event("ping", {}))

    def _read(self, choice: Document) -> None:
        delta = choice.get("delta")
        if type(delta) is dict:
            text = delta.get("content")
            if len(delta) == 1 and type(text) is str and text:
                self._take((None, self._say, (text,)))
            else:
                self._read_delta(delta)
        if choice.get("finish_reason") is not None:
            self._finish = choice["finish_reason"]
            self._native = choice.get("native_finish_reason")

    def _read_delta(self, delta: Document) -> None:
        self._read_thoughts(delta)
        text = content_text(delta.get("content"))
        if text:
            self._take((None, self._say, (text,)))
        citations = citations_of(delta.get("annotations"), self._document) if delta.get("annotations") else None
        if citations:
            self._take((None, self._cite, (citations,)))
        refusal = delta.get("refusal")
        if type(refusal) is str and refusal:
            self._refused = True
            self._take((None, self._say, (refusal,)))
        calls = delta.get("tool_calls")
        for place, piece in enumerate(calls if type(calls) is list else ()):
            if type(piece) is dict:
                self._read_call(piece, place)
        if type(delta.get("function_call")) is dict:
            self._read_call({"index": 0, "function": delta["function_call"]}, 0)

    def _read_thoughts(self, delta: Document) -> None:
        plain = plain_thought(delta)
        given = delta.get("reasoning_details")
        details = [detail for detail in given if type(detail) is dict] if type(given) is list else []
        if plain and not any(map(readable, details)):
            self._told_plainly = True
            self._take((None, self._think, (plain, {})))
        for detail in details:
            if is_sealed(detail):
                self._take((None, self._seal, (detail,)))
                continue
            # Thoughts that came as text come again here, now whole, where a provider signs at the end.
            text = readable(detail) if plain or not self._told_plainly else ""
            self._take((None, self._think, (text, detail)))

    def _read_call(self, piece: Document, place: int) -> None:
        function = piece.get("function")
        function = function if type(function) is dict else {}
        given = piece.get("index")
        index = given if type(given) is int else place
        call = self._calls.get(index)
        name, call_id = function.get("name"), piece.get("id")
        name = name if type(name) is str else ""
        if call is None or (call_id and name and call.name and call.id and call_id != call.id):
            # Some who speak OpenAI's format give all their calls the same index.
            call = self._calls[index] = _Call(call_id)
        if not call.id and type(call_id) is str:
            call.id = call_id
        if not call.name:
            call.name = name
        arguments = function.get("arguments")
        self._take((call, self._add_to_call, (call, arguments if type(arguments) is str else "")))

    def _take(self, item: _Item) -> None:
        """Write `item`, or hold it while a call that it does not belong to is being written."""
        self._write_or_hold(item)
        if self._held:
            self._release(force=False)

    def _write_or_hold(self, item: _Item) -> None:
        call, write, what = item
        if self._call is None or self._call is call or (call is not None and call.closed):
            write(*what)
        else:
            self._held.append(item)

    def _release(self, *, force: bool) -> None:
        """Write what is held, as far as calls are whole; `force` takes every call for whole."""
        while self._held and (self._call is None or force or self._call.is_whole()):
            self._close()
            held, self._held = self._held, []
            for item in held:
                self._write_or_hold(item)

    def _begin(self, kind: str, block: Document) -> None:
        self._close()
        self._open = kind
        self._index += 1
        self._out.append(event("content_block_start", {"index": self._index, "content_block": block}))

    def _delta(self, delta: Document) -> None:
        self._out.append(event("content_block_delta", {"index": self._index, "delta": delta}))

    def _close(self) -> None:
        if not self._open:
            return
        if self._open == "thinking" and not self._signed:
            signature = signature_of(self._detail)
            if signature:
                self._delta({"type": "signature_delta", "signature": signature})
        if self._call is not None:
            self._call.closed = True
            self._call = None
        self._open = ""
        self._out.append(event("content_block_stop", {"index": self._index}))

    def _say(self, text: str) -> None:
        if self._open != "text":
            self._begin("text", {"type": "text", "text": ""})
        self._delta({"type": "text_delta", "text": text})

    def _cite(self, citations: list[Document]) -> None:
        """Citations belong to text; those that come behind its end are not told."""
        if self._open == "text":
            for citation in citations:
                self._delta({"type": "citations_delta", "citation": citation})

    def _think(self, text: str, detail: Document) -> None:
        """More of what was thought; a signature, or another detail's number, ends the block before."""
        if not text and not detail.get("signature") and self._open != "thinking":
            return
        number, known = detail.get("index"), self._detail.get("index")
        another = number is not None and known is not None and number != known
        if self._open != "thinking" or self._signed or another:
            self._begin("thinking", {"type": "thinking", "thinking": "", "signature": ""})
            self._detail = {}
            self._signed = False
        self._detail.update({name: value for name, value in detail.items() if value is not None})
        if text:
            self._delta({"type": "thinking_delta", "thinking": text})
        if self._detail.get("format") == CLAUDE_FORMAT and detail.get("signature"):
            self._signed = True
            self._delta({"type": "signature_delta", "signature": signature_of(self._detail)})

    def _seal(self, detail: Document) -> None:
        self._begin("redacted_thinking", redacted_block(detail))
        self._close()

    def _add_to_call(self, call: _Call, arguments: str) -> None:
        if call.closed:
            return
        if arguments:
            call.parts.append(arguments)
        if call.opened:
            if arguments:
                self._delta({"type": "input_json_delta", "partial_json": arguments})
        elif call.name:
            block_id = tool_id(call.id, self._id, self._index + 1)
            self._begin("tool_use", {"type": "tool_use", "id": block_id, "name": call.name, "input": {}})
            call.opened = self._used_tools = True
            self._call = call
            if call.parts:
                self._delta({"type": "input_json_delta", "partial_json": "".join(call.parts)})
