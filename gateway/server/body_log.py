"""Prompts and answers in the log: only where `logging.bodies` says so."""

from __future__ import annotations

import logging
from typing import Literal

import orjson

from gateway.pipeline.call import Call, Reply
from gateway.pipeline.reporting import Reporting

_log = logging.getLogger("gateway.bodies")

MAX_BYTES = 65_536
_LONGEST_WORD = 1024
_ENDS = (" ", "\n", "\t", '"', "'")
_UNREAD = b"(no JSON object: not shown, for end users are hashed)"

Bodies = Literal["none", "errors", "all"]


class BodyLog:
    """Logs what was asked and answered, each cut at 64 KiB: of no request, of failed ones, or of all.

    Secrets in them are masked as in every log line, but what people write to a model is theirs: "none" is the
    default.
    """

    def __init__(self, bodies: Bodies, reporting: Reporting | None = None) -> None:
        """`reporting` says whether end users are to be shown as hashes."""
        self._bodies = bodies
        self._reporting = reporting
        self._streams: dict[str, bytearray] = {}

    @property
    def enabled(self) -> bool:
        """Is anything to be logged at all?"""
        return self._bodies != "none"

    def begin(self, call: Call) -> None:
        """Listen to what goes to the client of a stream."""
        seen = self._streams[call.request_id] = bytearray()

        def watch(data: bytes) -> None:
            if len(seen) < MAX_BYTES:
                seen.extend(data)

        call.chunk_watcher = watch

    def end(self, call: Call, reply: Reply | None) -> None:
        """Log the call, if it is one of those to be logged."""
        streamed = self._streams.pop(call.request_id, b"")
        if self._bodies == "errors" and call.error is None and call.status < 400:
            return
        request, answer = call.body, reply.body if reply is not None else bytes(streamed)
        if request and self._reporting is not None and self._reporting.hashes:
            request, answer = _hidden(request, answer, self._reporting)
        _log.info(
            "bodies of request %s",
            call.request_id,
            extra={"request_id": call.request_id, "request": _text(request), "answer": _text(answer)},
        )


def _hidden(request: bytes, answer: bytes, reporting: Reporting) -> tuple[bytes, bytes]:
    """Both with hashes in the place of the end user; of a request that is no JSON object, nothing."""
    try:
        document = orjson.loads(request)
    except orjson.JSONDecodeError:
        document = None
    if type(document) is not dict:
        return _UNREAD, answer
    for name, written in reporting.names(document).items():
        answer = answer.replace(orjson.dumps(name), orjson.dumps(written))
    return orjson.dumps(reporting.hidden(document)), answer


def _text(body: bytes) -> str:
    text = body[:MAX_BYTES].decode(errors="replace")
    if len(body) <= MAX_BYTES:
        return text
    # A secret that the cut went through is no longer known as one: the last word goes with it.
    kept, tail = text[:-_LONGEST_WORD], text[-_LONGEST_WORD:]
    return f"{kept}{tail[: 1 + max(map(tail.rfind, _ENDS))]}…"
