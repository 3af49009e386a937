"""OpenAI's answers, whole ones and streams, read on their way through."""

from __future__ import annotations

import re

import orjson

from gateway.errors import GatewayError
from gateway.wire import sse
from gateway.wire.dialect import Document
from gateway.wire.openai import read_usage
from gateway.wire.openai_error import error_event, error_within, parse_object, read_error, redact
from gateway.wire.splice import replace_top_level_model
from gateway.wire.token_estimate import BYTES_PER_TOKEN, characters
from gateway.wire.usage import Usage

__all__ = ["StreamTap", "error_event", "estimate_answer_tokens", "read_answer", "read_error", "redact"]

# Answers above this size (embeddings, images) are not parsed whole: their usage is read from its own object.
_PARSE_WHOLE_BYTES = 64 * 1024
_USAGE = re.compile(rb'"usage"\s*:\s*(\{)')
_USAGE_HOT = re.compile(rb'"usage"\s*:\s*\{')
_ERROR_EVENT = re.compile(rb"(?m)^event: ?error\s*$")
# Comments that keep a connection alive are held back until the first event: until then the target can be replaced.
_MAX_HELD_BYTES = 64 * 1024


def read_answer(body: bytes, rename_to: str | None) -> tuple[bytes, Usage | None]:
    """The bytes for the client and what the answer used (None where it does not say).

    `rename_to` is the alias that the client asked for, None where the upstream's own name stays. Raises
    upstream_bad_answer where the body is not a JSON object.
    """
    if len(body) <= _PARSE_WHOLE_BYTES:
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError:
            document = None
        if type(document) is not dict:
            raise GatewayError("upstream_bad_answer", "The provider's answer is not a JSON object.")
        if document.get("error") and not document.get("choices") and not document.get("data"):
            raise error_within(document, "The provider answered 200 with an error")
        usage = read_usage(document.get("usage"))
    else:
        if body[:64].lstrip()[:1] != b"{" or body[-64:].rstrip()[-1:] != b"}":
            raise GatewayError("upstream_bad_answer", "The provider's answer is not a JSON object.")
        usage = _find_usage(body)
    if rename_to is not None:
        body = replace_top_level_model(body, rename_to)
    return body, usage


def estimate_answer_tokens(body: bytes) -> int:
    """Completion tokens of a whole answer that reports no usage: four characters of what the choices say are one."""
    try:
        document = orjson.loads(body) if len(body) <= 1_000_000 else None
    except orjson.JSONDecodeError:
        document = None
    choices = document.get("choices") if isinstance(document, dict) else None
    if not isinstance(choices, list):
        return 0
    return -(-sum(characters(choice) for choice in choices) // BYTES_PER_TOKEN)


def _find_usage(body: bytes) -> Usage | None:
    """Usage of a large answer: the object that follows the last `"usage":`, which cannot stand inside a string."""
    for window in (body[-4096:], body[:4096], body):
        found = None
        for match in _USAGE.finditer(window):
            found = read_usage(_object_at(window, match.start(1))) or found
        if found is not None:
            return found
    return None


def _object_at(data: bytes, start: int) -> Document | None:
    end = start
    for _ in range(16):  # a usage object nests its details: try each closing brace in turn
        end = data.find(b"}", end) + 1
        if end == 0:
            return None
        try:
            value = orjson.loads(data[start:end])
        except orjson.JSONDecodeError:
            continue
        return value if type(value) is dict else None
    return None


class StreamTap:
    """Looks at a stream on its way to the client: `feed` takes each read and gives what to write on.

    What it does: whole events only, none before the first that has data; the usage kept, the usage chunk
    withheld from a client that did not ask for it, an alias put in place of the model's name, `[DONE]` held
    back (`done` is set) so that the account is closed before it leaves. `error` is set where the stream cannot
    go on: an event that is itself an error, or has no end, or a first one that is no OpenAI chunk.
    """

    __slots__ = (
        "_cutter",
        "_held",
        "_least",
        "_rename_to",
        "_smallest",
        "_withhold",
        "bytes",
        "done",
        "error",
        "events",
        "usage",
    )

    def __init__(self, *, rename_to: str | None, withhold_usage: bool) -> None:
        self._cutter = sse.EventCutter()
        self._withhold = withhold_usage
        self._rename_to = rename_to
        self._held = b""
        self._least = 0
        self._smallest = b""  # the read whose events are the smallest
        self.usage: Usage | None = None
        self.error: GatewayError | None = None
        self.done = False
        self.events = 0
        self.bytes = 0

    def feed(self, data: bytes) -> bytes:
        """The bytes to write on now; look at `error` and `done` after it."""
        if self.done or self.error is not None:
            return b""
        try:
            data = self._cutter.feed(data)
        except GatewayError as error:
            self.error = error
            return b""
        if data and not self.events:
            data = self._first(data)
        if not data:
            return b""
        if b"[DONE]" in data or b'"error"' in data or b"event:" in data or _USAGE_HOT.search(data) is not None:
            data = self._look_closely(data)
        self._count(data)
        return data if self._rename_to is None else self._rename(data, self._rename_to)

    def broken(self, error: GatewayError, request_id: str) -> bytes:
        """The event that ends a stream which cannot be finished."""
        return error_event(error, request_id)

    @property
    def ending(self) -> bytes:
        """The event that ends a complete stream."""
        return sse.DONE

    def finish(self) -> bytes:
        """The body has ended: a `[DONE]` counts also where the empty line behind it never came."""
        payload = sse.event_data(self._cutter.rest)
        if self.error is None and payload is not None and payload.strip() == b"[DONE]":
            self.done = True
        return b""

    def _first(self, data: bytes) -> bytes:
        """Everything up to here, once it holds an event with data; that must be JSON."""
        data, self._held = self._held + data, b""
        payload = next(filter(None, map(sse.event_data, sse.split_events(data))), None)
        if payload is None:
            if len(data) > _MAX_HELD_BYTES:
                self.error = GatewayError("upstream_bad_answer", "The provider's stream has no events.")
            self._held = data
            return b""
        if payload.strip() != b"[DONE]" and parse_object(payload) is None:
            self.error = GatewayError("upstream_bad_answer", "The provider's first event is not a JSON object.")
            return b""
        return data

    def _look_closely(self, data: bytes) -> bytes:
        kept = []
        for event in sse.split_events(data):
            payload = sse.event_data(event)
            if payload is None:
                kept.append(event)
                continue
            if payload.strip() == b"[DONE]":
                self.done = True
                break
            if self._keep(event, payload):
                kept.append(event)
            if self.error is not None:
                break
        return b"".join(kept)

    def _keep(self, event: bytes, payload: bytes) -> bool:
        """Should the client see this event? Reads its usage, and notes an error."""
        named_error = _ERROR_EVENT.search(event) is not None
        if not named_error and b'"error"' not in payload and b'"usage"' not in payload:
            return True
        chunk = parse_object(payload)
        if chunk is None:
            self.error = GatewayError("upstream_bad_answer", "The provider sent an event that is not a JSON object.")
            return False
        usage = read_usage(chunk.get("usage")) or _nested_usage(chunk)
        if usage is not None:
            self.usage = usage
        if named_error or chunk.get("error"):
            self.error = error_within(chunk, "The provider broke off its stream")
            return False
        if usage is None:
            return True
        return bool(chunk.get("choices")) or not self._withhold

    def _count(self, data: bytes) -> None:
        """Sizes for an estimate. Not counted are comments; JSON has no line breaks in its strings."""
        events = data.count(b"\ndata:") + data.startswith(b"data:")
        if events:
            size = len(data)
            self.events += events
            self.bytes += size
            mean = size // events
            if mean < self._least or not self._least:
                self._least, self._smallest = mean, data

    def _rename(self, data: bytes, name: str) -> bytes:
        if data.count(b"\ndata:") + data.startswith(b"data:") <= 1:
            return _renamed(data, name)
        return b"".join([_renamed(event, name) for event in sse.split_events(data)])

    def estimate_completion_tokens(self) -> int:
        """Tokens seen so far where no usage came: an event is a token at least, four characters are one.

        The smallest event stands for the frame that carries the text.
        """
        text = self.bytes - self.events * self._least
        return max(self.events - 1, text // BYTES_PER_TOKEN, 0)

    def most_completion_tokens(self) -> int:
        """Tokens seen so far at most: all bytes but what stands around the text of the smallest event, in each."""
        smallest = sse.split_events(self._smallest)
        text = sum(map(_most_text_bytes, smallest)) // max(len(smallest), 1) + 1
        return max(self.events, self.bytes - self.events * max(self._least - text, 0))


def _most_text_bytes(event: bytes) -> int:
    """Bytes of an event that its choices' text can take at most: more than it has characters where it is escaped."""
    chunk = parse_object(sse.event_data(event) or b"")
    bytes_per_character = 12 if b"\\" in event else 1 if event.isascii() else 4
    return 0 if chunk is None else characters(chunk.get("choices")) * bytes_per_character


def _renamed(event: bytes, name: str) -> bytes:
    start = event.find(b"data:")
    if start > 0:  # what stands before the data is no JSON
        return event[:start] + replace_top_level_model(event[start:], name)
    return replace_top_level_model(event, name)


def _nested_usage(chunk: Document) -> Usage | None:
    """Usage that a provider reports one level down, in an object of its own beside the choices."""
    for value in chunk.values():
        if type(value) is dict and type(value.get("usage")) is dict:
            return read_usage(value["usage"])
    return None
