"""A whole answer where a stream was asked for: PaLM has none."""

from __future__ import annotations

from collections.abc import Callable

import orjson

from gateway.errors import GatewayError
from gateway.wire import sse
from gateway.wire.dialect import Document
from gateway.wire.usage import Usage


class PalmDecoder:
    """Waits for the whole body and gives one chunk for each choice of it. `usage` stays None: PaLM counts nothing."""

    __slots__ = ("_body", "_decode", "done", "error", "usage")

    def __init__(self, decode: Callable[[bytes], Document]) -> None:
        self._body = bytearray()
        self._decode = decode
        self.usage: Usage | None = None
        self.done = False
        self.error: GatewayError | None = None

    def feed(self, data: bytes) -> list[Document]:
        """Nothing yet; notes an answer that is too large."""
        if self.error is None and not self.done:
            self._body += data
            if len(self._body) > sse.MAX_EVENT_BYTES:
                self._body.clear()
                self.error = GatewayError("upstream_bad_answer", "The provider sent an answer larger than 16 MiB.")
        return []

    def finish(self) -> list[Document]:
        """The chunks of the answer. Half an answer is one cut short: neither `done` nor an error."""
        if self.error is not None or self.done:
            return []
        body = bytes(self._body)
        try:
            answer = self._decode(body)
        except GatewayError as error:
            if not _is_cut(body):
                self.error = error
            return []
        self.done = True
        return [_chunk(answer, choice) for choice in answer["choices"]]


def _is_cut(body: bytes) -> bool:
    """Has the body begun as an object and not ended, or not begun at all?"""
    start = body.lstrip()[:1]
    if start and start != b"{":
        return False
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError:
        return True
    return False


def _chunk(answer: Document, choice: Document) -> Document:
    delta = choice["message"]
    return {
        "id": answer["id"],
        "object": "chat.completion.chunk",
        "created": answer["created"],
        "model": answer["model"],
        "choices": [{"index": choice["index"], "delta": delta, "finish_reason": choice["finish_reason"]}],
    }
