"""ConverseStream's answers: AWS's binary event stream, read by botocore's parser, as canonical chunks.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html (read 2026-11). The last
event is `metadata`, with the usage; it comes after `messageStop`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from gateway.errors import GatewayError
from gateway.wire.bedrock_answer import (
    annotation,
    finish_reason,
    is_hidden,
    made_id,
    objected,
    read_usage,
    readable,
)
from gateway.wire.bedrock_error import stream_error
from gateway.wire.bedrock_models import family_of
from gateway.wire.bedrock_tools import answer_tool_name
from gateway.wire.chunks import Chunks
from gateway.wire.dialect import Ask, Document
from gateway.wire.openai_error import parse_object
from gateway.wire.sse import MAX_EVENT_BYTES
from gateway.wire.usage import Usage

# Lengths of message and headers, and their checksum.
_PRELUDE_BYTES = 12


class EventFrames:
    """Cuts an event stream into messages, however its reads were split."""

    __slots__ = ("_faults", "_held", "_make_buffer")

    def __init__(self) -> None:
        self._make_buffer, self._faults = load_parser()
        self._held = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[dict[str, Any], bytes]]:
        """Headers and payload of each message that is complete. Raises upstream_bad_answer for what is none."""
        held = self._held
        held += data
        while len(held) >= _PRELUDE_BYTES:
            length = int.from_bytes(held[:4], "big")
            if not _PRELUDE_BYTES < length <= MAX_EVENT_BYTES:
                raise _broken()
            if len(held) < length:
                return
            buffer = self._make_buffer()
            try:
                buffer.add_data(bytes(held[:length]))
                message = next(buffer, None)
            except self._faults:
                raise _broken() from None
            del held[:length]
            if message is None:
                raise _broken()
            yield message.headers, message.payload

    @property
    def cut(self) -> bool:
        """Has a message begun and not ended?"""
        return bool(self._held)


def load_parser() -> tuple[Any, tuple[type[Exception], ...]]:
    """botocore's parser and what it raises: loaded here, when the first stream comes.

    Raises no_target_available where botocore is not installed.
    """
    try:
        from botocore.eventstream import EventStreamBuffer, ParserError
    except ImportError:
        raise GatewayError(
            "no_target_available", "Streams from Bedrock need botocore: install kubechat-gateway[bedrock]."
        ) from None
    return EventStreamBuffer, (ParserError, ValueError, KeyError, IndexError, struct.error)


def _broken() -> GatewayError:
    return GatewayError("upstream_bad_answer", "The provider's stream is not an AWS event stream.")


class BedrockDecoder:
    """One stream."""

    __slots__ = (
        "_answer_tool",
        "_answered",
        "_arguments",
        "_ask",
        "_blocks",
        "_calls",
        "_chunks",
        "_family",
        "_frames",
        "_held",
        "_length",
        "_starts",
        "_stopped",
        "_thoughts",
        "_told",
        "done",
        "error",
        "usage",
    )

    def __init__(self, ask: Ask) -> None:
        self.usage: Usage | None = None
        self.done = False
        self.error: GatewayError | None = None
        self._ask = ask
        self._chunks = Chunks(ask)
        self._family = family_of(ask.model)
        self._blocks: dict[int, int | str] = {}  # block → its tool call, or "hidden" or "answer"
        self._arguments: set[int] = set()  # calls whose arguments have begun
        self._starts: dict[int, int] = {}  # block → where its text begins in the content
        self._thoughts: dict[int, int] = {}  # block → its index among the reasoning details
        self._held: list[str] = []  # text of an answer that a tool is to give
        self._calls = self._length = 0
        self._told = self._stopped = self._answered = False
        self._answer_tool: str | None = None
        self._frames: EventFrames | None = None
        try:
            self._answer_tool = answer_tool_name(ask.document, self._family)
            self._frames = EventFrames()
        except GatewayError as error:
            self.error = error

    def feed(self, data: bytes) -> list[Document]:
        """The chunks that are complete with this read."""
        chunks: list[Document] = []
        if self.done or self.error is not None or self._frames is None:
            return chunks
        try:
            for headers, payload in self._frames.feed(data):
                self._take(headers, payload, chunks)
                if self.done:
                    break
        except GatewayError as error:
            self.error = error
        return chunks

    def finish(self) -> list[Document]:
        """The body has ended; with `messageStop` the answer was whole, if without usage."""
        if self.error is None and self._stopped and self._frames is not None and not self._frames.cut:
            self.done = True
        return []

    def _take(self, headers: dict[str, Any], payload: bytes, chunks: list[Document]) -> None:
        event = parse_object(payload)
        if headers.get(":message-type") != "event":
            name = headers.get(":exception-type", headers.get(":error-code"))
            raise stream_error(name, event or {"message": headers.get(":error-message")})
        if event is None:
            raise GatewayError("upstream_bad_answer", "The provider sent an event that is not a JSON object.")
        kind = headers.get(":event-type")
        if self._stopped and kind != "metadata":
            return
        if not self._told and kind in ("messageStart", "contentBlockStart", "contentBlockDelta", "messageStop"):
            self._told = True
            chunks.append(self._chunks.delta({"role": "assistant", "content": ""}))
        if kind == "contentBlockDelta":
            self._delta(_index(event), objected(event.get("delta")), chunks)
        elif kind == "contentBlockStart":
            self._start(_index(event), objected(objected(event.get("start")).get("toolUse")), chunks)
        elif kind == "contentBlockStop":
            self._stop_block(_index(event), chunks)
        elif kind == "messageStop":
            self._stop(event.get("stopReason"), chunks)
        elif kind == "metadata":
            self.usage = read_usage(event.get("usage")) or self.usage
            self.done = self._stopped

    # --- blocks -----------------------------------------------------------------------------------

    def _start(self, block: int, call: Document, chunks: list[Document]) -> None:
        if not call:
            return
        name, call_id = call.get("name"), call.get("toolUseId")
        if is_hidden(call):
            self._blocks[block] = "hidden"
        elif name == self._answer_tool:
            self._blocks[block] = "answer"
            self._answered = True
            self._held.clear()
        else:
            index = self._blocks[block] = self._calls
            self._calls += 1
            begun = {
                "index": index,
                "id": call_id if isinstance(call_id, str) and call_id else made_id(self._ask, index),
                "type": "function",
                "function": {"name": name if isinstance(name, str) else "", "arguments": ""},
            }
            chunks.append(self._chunks.delta({"tool_calls": [begun]}))

    def _delta(self, block: int, delta: Document, chunks: list[Document]) -> None:
        if isinstance(delta.get("text"), str):
            self._say(block, delta["text"], chunks)
        elif "toolUse" in delta:
            self._argue(block, objected(delta["toolUse"]).get("input"), chunks)
        elif "reasoningContent" in delta:
            self._think(block, objected(delta["reasoningContent"]), chunks)
        elif "citation" in delta and self._answer_tool is None:
            start = self._starts.get(block, self._length)
            found = annotation(objected(delta["citation"]), self._ask.document, start, self._length)
            if found is not None:
                chunks.append(self._chunks.delta({"annotations": [found]}))

    def _say(self, block: int, text: str, chunks: list[Document]) -> None:
        if not text:
            return
        if self._answer_tool is not None:
            if not self._answered:
                self._held.append(text)
            return
        self._starts.setdefault(block, self._length)
        self._length += len(text)
        chunks.append(self._chunks.delta({"content": text}))

    def _argue(self, block: int, piece: object, chunks: list[Document]) -> None:
        call = self._blocks.get(block, "hidden")
        if not isinstance(piece, str) or not piece or call == "hidden":
            return
        if isinstance(call, str):
            chunks.append(self._chunks.delta({"content": piece}))
            return
        self._arguments.add(call)
        chunks.append(self._chunks.delta({"tool_calls": [{"index": call, "function": {"arguments": piece}}]}))

    def _think(self, block: int, content: Document, chunks: list[Document]) -> None:
        index = self._thoughts.setdefault(block, len(self._thoughts))
        mark = {"format": self._family.reasoning_format, "index": index}
        text, signature, data = (content.get(key) for key in ("text", "signature", "redactedContent"))
        if isinstance(text, str) and text:
            detail = {"type": "reasoning.text", "text": text, **mark}
            chunks.append(self._chunks.delta({"reasoning_content": text, "reasoning_details": [detail]}))
        elif isinstance(signature, str) and signature:
            detail = {"type": "reasoning.text", "signature": signature, **mark}
            chunks.append(self._chunks.delta({"reasoning_details": [detail]}))
        elif isinstance(data, str) and data:
            detail = {"type": "reasoning.encrypted", "data": readable(data, self._family), **mark}
            chunks.append(self._chunks.delta({"reasoning_details": [detail]}))

    def _stop_block(self, block: int, chunks: list[Document]) -> None:
        call = self._blocks.pop(block, None)
        if isinstance(call, int) and call not in self._arguments:  # a call without arguments is still JSON
            chunks.append(self._chunks.delta({"tool_calls": [{"index": call, "function": {"arguments": "{}"}}]}))
        self._starts.pop(block, None)

    def _stop(self, native: object, chunks: list[Document]) -> None:
        if self._stopped:
            return
        self._stopped = True
        if self._held:
            chunks.append(self._chunks.delta({"content": "".join(self._held)}))
        reason = finish_reason(native, called=self._calls > 0)
        named = native if isinstance(native, str) else None
        chunks.append(self._chunks.delta({}, finish_reason=reason, native_finish_reason=named))
        self.done = self.usage is not None


def _index(event: Document) -> int:
    index = event.get("contentBlockIndex")
    return index if type(index) is int else 0
