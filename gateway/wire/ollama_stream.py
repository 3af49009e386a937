"""Ollama's streams: one JSON object a line, the last with `done`.

https://docs.ollama.com/api/streaming (read 2026-11)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gateway.errors import GatewayError
from gateway.wire.chunks import Chunks
from gateway.wire.dialect import Ask, Document
from gateway.wire.ollama_answer import (
    calls_of,
    created_of,
    error_of,
    finish_of,
    forced_by,
    forced_calls,
    logprobs_of,
    read_counts,
    text_of,
)
from gateway.wire.openai_dialect_answer import bad_answer, call_id, read_object
from gateway.wire.provider_errors import Rule
from gateway.wire.sse import MAX_EVENT_BYTES
from gateway.wire.usage import Usage


class OllamaStream:
    """The decoder of one stream."""

    def __init__(self, ask: Ask, rules: Sequence[Rule]) -> None:
        self.usage: Usage | None = None
        self.done = False
        self.error: GatewayError | None = None
        self._ask = ask
        self._rules = rules
        self._rest = b""
        self._chunks: Chunks | None = None
        self._calls = 0
        self._forced = forced_by(ask)
        self._held: list[str] = []

    def feed(self, data: bytes) -> list[Document]:
        """The chunks of all lines that are complete with this read."""
        if self.done or self.error is not None:
            return []
        if b"\n" not in data:
            self._rest += data
            if len(self._rest) > MAX_EVENT_BYTES:
                self.error = bad_answer("sent a line longer than 16 MiB")
            return []
        *lines, self._rest = (self._rest + data).split(b"\n")
        return self._read(lines)

    def finish(self) -> list[Document]:
        """The body has ended: a last line without its line end counts if it is whole."""
        if self.done or self.error is not None or read_object(self._rest) is None:
            return []
        return self._read([self._rest])

    def _read(self, lines: Sequence[bytes]) -> list[Document]:
        chunks: list[Document] = []
        for line in lines:
            if not line.strip():
                continue
            document = read_object(line)
            if document is None:
                self.error = bad_answer("sent a line that is not a JSON object")
                break
            if document.get("error"):
                self.error = error_of(document, self._rules)
                break
            chunk = self._chunk(document)
            if chunk is not None:
                chunks.append(chunk)
            if self.done or self.error is not None:
                break
        return chunks

    def _chunk(self, document: Document) -> Document | None:
        message = document.get("message")
        self.done = document.get("done") is True
        if type(message) is not dict:
            if not self.done:
                self.error = bad_answer("sent a line without a message")
                return None
            message = {}
        delta: Document = {}
        if self._chunks is None:
            self._chunks = Chunks(replace(self._ask, created=created_of(document, self._ask)))
            delta = {"role": "assistant", "content": ""}
        if text_of(message.get("thinking")):
            delta["reasoning_content"] = message["thinking"]
        calls = calls_of(self._ask, message, self._calls)
        self._calls += len(calls)
        text = text_of(message.get("content"))
        if self._forced is not None:
            text, forced = self._force(text)
            calls += forced
        if text:
            delta["content"] = text
        if calls:
            delta["tool_calls"] = calls
        logprobs = logprobs_of(document)
        more: Document = {} if logprobs is None else {"logprobs": logprobs}
        if self.done:
            self.usage = read_counts(document)
            more |= finish_of(document, called=bool(self._calls))
        return self._chunks.delta(delta, **more) if delta or more else None

    def _force(self, text: str) -> tuple[str, list[Document]]:
        """What is said of a forced call: its arguments as they come where its name is known, else the whole at the end.

        A model that makes a call of its own accord has it passed on; then the rest is text.
        """
        forced = self._forced
        if forced is None or (self._calls and not self._held):
            return text, []
        if forced.name is None:
            self._held += [text] if text else []
            if not self.done:
                return "", []
            whole = "".join(self._held)
            calls = forced_calls(self._ask, forced, whole)
            self._calls += len(calls)
            return ("" if calls else whole), calls
        if not text:
            return "", []
        if self._held:
            return "", [{"index": 0, "function": {"arguments": text}}]
        self._held.append(text)
        self._calls += 1
        function = {"name": forced.name, "arguments": text}
        return "", [{"index": 0, "id": call_id(self._ask, 0), "type": "function", "function": function}]
