"""OpenAI's answers: whole ones, streams and errors, read on their way through."""

from __future__ import annotations

import re

import orjson

from gateway.errors import GatewayError
from gateway.wire import sse
from gateway.wire.openai import Document, read_usage
from gateway.wire.splice import replace_top_level_model
from gateway.wire.usage import Usage

# Answers above this size (embeddings, images) are not parsed whole: their usage is read from its own object.
_PARSE_WHOLE_BYTES = 64 * 1024
_USAGE = re.compile(rb'"usage"\s*:\s*(\{)')
_USAGE_HOT = re.compile(rb'"usage"\s*:\s*\{')
_MODEL = re.compile(rb'"model"\s*:\s*"(?:[^"\\]|\\.)*"')
_CREDENTIAL = re.compile(
    rb"(?i)\b(?:sk|pk|gsk|xai|key|api[-_]?key)[-_][A-Za-z0-9_\-*.]{6,}|bearer\s+[A-Za-z0-9._\-]{8,}"
)


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
        if "error" in document and "choices" not in document and type(document["error"]) is dict:
            raise GatewayError("upstream_bad_answer", f"The provider answered 200 with an error: {_message(document)}")
        usage = read_usage(document.get("usage"))
    else:
        if body[:64].lstrip()[:1] != b"{" or body[-64:].rstrip()[-1:] != b"}":
            raise GatewayError("upstream_bad_answer", "The provider's answer is not a JSON object.")
        usage = _find_usage(body)
    if rename_to is not None:
        body = replace_top_level_model(body, rename_to)
    return body, usage


def _find_usage(body: bytes) -> Usage | None:
    """Usage of a large answer: the object that follows the last `"usage":`, which cannot stand inside a string."""
    found = None
    for window in (body[-4096:], body[:4096], body):
        for match in _USAGE.finditer(window):
            found = _object_at(window, match.start(1)) or found
        if found is not None:
            return read_usage(found)
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

    What it does: whole events only, the usage kept, the usage chunk withheld from a client that did not ask
    for it, an alias put in place of the model's name, `[DONE]` held back (`done` is set) so that the account
    is closed before it leaves. Raises upstream_bad_answer for an event that is itself an error.
    """

    __slots__ = ("_cutter", "_model_token", "_rename_to", "_withhold", "bytes", "done", "events", "least", "usage")

    def __init__(self, *, rename_to: str | None, withhold_usage: bool) -> None:
        self._cutter = sse.EventCutter()
        self._withhold = withhold_usage
        self._rename_to = None if rename_to is None else b'"model":' + orjson.dumps(rename_to)
        self._model_token = b""
        self.usage: Usage | None = None
        self.done = False
        self.events = 0
        self.bytes = 0
        self.least = 0

    def feed(self, data: bytes) -> bytes:
        """The bytes to write on now. Raises upstream_bad_answer for an error event or an event without end."""
        data = self._cutter.feed(data)
        if not data or self.done:
            return b""
        events = data.count(b"\n\ndata:") + 1
        self.events += events
        size = len(data)
        self.bytes += size
        if events == 1 and (size < self.least or not self.least):
            self.least = size
        if b"[DONE]" in data or b'"error"' in data or _USAGE_HOT.search(data) is not None:
            data = self._look_closely(data)
        if self._rename_to is not None:
            data = self._rename(data)
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
            if self._keep(payload):
                kept.append(event)
        return b"".join(kept)

    def _keep(self, payload: bytes) -> bool:
        """Should the client see this event? Reads its usage; raises for an error."""
        if b'"error"' not in payload and b'"usage"' not in payload:
            return True
        try:
            chunk = orjson.loads(payload)
        except orjson.JSONDecodeError:
            raise GatewayError("upstream_bad_answer", "The provider sent an event that is not JSON.") from None
        if type(chunk) is not dict:
            return True
        if chunk.get("error") and not chunk.get("choices"):
            raise GatewayError("upstream_bad_answer", f"The provider broke off its stream: {_message(chunk)}")
        usage = read_usage(chunk.get("usage"))
        if usage is None:
            return True
        self.usage = usage
        return bool(chunk.get("choices")) or not self._withhold

    def _rename(self, data: bytes) -> bytes:
        replacement = self._rename_to
        assert replacement is not None
        token = self._model_token
        if not token or token not in data:
            match = _MODEL.search(data)
            if match is None:
                return data
            token = self._model_token = match.group()
        return data.replace(token, replacement)

    def estimate_completion_tokens(self) -> int:
        """Tokens seen so far where no usage came: an event is a token at least, four characters are one.

        The smallest event stands for the frame that carries the text.
        """
        text = self.bytes - self.events * self.least
        return max(self.events - 1, text // 4, 0)


def error_event(error: GatewayError, request_id: str) -> bytes:
    """The event that ends a stream which cannot be finished; it is not followed by `[DONE]`."""
    return b"data: " + error.body(request_id) + b"\n\n"


def _message(document: Document) -> str:
    error = document.get("error")
    text = error.get("message") if isinstance(error, dict) else error
    if not isinstance(text, str):
        text = document.get("message") or document.get("detail") or ""
    text = text if isinstance(text, str) else str(text)
    return redact(text.encode(errors="replace")).decode(errors="replace")[:1000]


def redact(text: bytes) -> bytes:
    """`text` without what looks like a credential: providers echo keys in their messages."""
    return _CREDENTIAL.sub(b"[redacted]", text)


_CONTEXT = re.compile(r"(?i)maximum context length|context.length|context window|too many tokens|prompt is too long")
_CONTEXT_CODES = frozenset({"context_length_exceeded", "string_above_max_length"})
_POLICY_CODES = frozenset({"content_policy_violation", "content_filter", "moderation_blocked"})
_QUOTA_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached", "quota_exceeded", "billing_not_active"})


def read_error(provider: str, status: int, body: bytes, *, retry_after_s: float | None = None) -> GatewayError:
    """What an answer outside 2xx means. The provider's message is kept, what looks like a credential is not."""
    try:
        document = orjson.loads(body) if len(body) <= 1_000_000 else None
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        document = {}
    error = document.get("error")
    detail = error if isinstance(error, dict) else {}
    codes = {str(detail.get("code")), str(detail.get("type"))}
    text = _message(document)
    said = f"The provider '{provider}' answered {status}" + (f": {text}" if text else ".")
    code = _classify(status, codes, text)
    raw = redact(body) if detail and status < 500 and code in _PASSED_ON else None
    shown = detail.get("code") if isinstance(detail.get("code"), str) else None
    if code in ("upstream_4xx", "context_length_exceeded", "content_policy_violation"):
        return GatewayError(code, text or said, status=status, shown_code=shown, raw=raw)
    if code == "upstream_auth":
        return GatewayError(code, f"The provider '{provider}' refused the gateway's credentials ({status}).")
    return GatewayError(code, said, retry_after_s=retry_after_s)


# What the client must see as the provider wrote it.
_PASSED_ON = frozenset({"upstream_4xx", "context_length_exceeded", "content_policy_violation"})


def _classify(status: int, codes: set[str], text: str) -> str:
    if status in (401, 403):
        return "upstream_auth"
    if codes & _CONTEXT_CODES or (status in (400, 413, 422) and _CONTEXT.search(text)):
        return "context_length_exceeded"
    if codes & _POLICY_CODES:
        return "content_policy_violation"
    if status in (402, 429) and (codes & _QUOTA_CODES or status == 402):
        return "upstream_quota"
    if status in (408, 409, 429):
        return f"upstream_{status}"
    if status in (503, 529):
        return "upstream_overloaded"
    if status >= 500:
        return "upstream_5xx"
    if status >= 400:
        return "upstream_4xx"
    return "upstream_bad_answer"
