"""The provider behind the `demo` model: answers made here, deterministic, that say so.

It speaks OpenAI's dialect through the same Connection interface as a real upstream, so that a first request
takes the whole path (keys, routing, metering, streaming) with no key and no network.
"""

from __future__ import annotations

import asyncio
import hashlib
import struct
import time
from base64 import b64encode
from typing import Any

import orjson

from gateway.upstream.connection import Connection, Limits, Receiver

_JSON = [(b"content-type", b"application/json")]
_EVENTS = [(b"content-type", b"text/event-stream")]
_EMBEDDING_DIMENSIONS = 64
_MAX_COMPLETION_TOKENS = 4096


class DemoLine:
    """A line to nowhere: every call gets a connection of its own."""

    def take(self) -> Connection | None:
        """A fresh demo connection."""
        return DemoConnection()

    async def connect(self, limits: Limits, deadline: float) -> Connection:
        """The same."""
        return DemoConnection()


class DemoConnection(Connection):
    """Answers one request on the next turn of the loop."""

    __slots__ = ("_aborted", "_paused", "_pieces", "_receiver")

    def __init__(self) -> None:  # a demo connection has no socket
        self._aborted = False
        self._paused = False
        self._pieces: list[bytes] = []
        self._receiver: Receiver | None = None

    def send(self, head: bytes, body: bytes, receiver: Receiver, limits: Limits, deadline: float) -> None:
        """Answer `body`, parsed by the path in `head`."""
        self._receiver = receiver
        document = orjson.loads(body)
        path = head.split(b" ", 2)[1]
        stream = document.get("stream") is True
        if path.endswith(b"/embeddings"):
            self._pieces = [orjson.dumps(_embeddings(document))]
        elif stream:
            self._pieces = _events(document, chat=path.endswith(b"/chat/completions"))
        else:
            self._pieces = [orjson.dumps(_completion(document, chat=path.endswith(b"/chat/completions")))]
        loop = asyncio.get_running_loop()
        loop.call_soon(self._give_answer, _EVENTS if stream else _JSON)

    def _give_answer(self, headers: list[tuple[bytes, bytes]]) -> None:
        if not self._aborted and self._receiver is not None:
            self._receiver.on_head(200, headers)
            self._go_on()

    def _go_on(self) -> None:
        receiver = self._receiver
        while self._pieces and not self._paused and not self._aborted and receiver is not None:
            receiver.on_body(self._pieces.pop(0))
        if not self._pieces and not self._aborted and receiver is not None:
            self._receiver = None
            receiver.on_end()

    def pause_reading(self) -> None:
        """The client is slow."""
        self._paused = True

    def resume_reading(self) -> None:
        """It has caught up."""
        if self._paused:
            self._paused = False
            asyncio.get_running_loop().call_soon(self._go_on)

    def abort(self) -> None:
        """The client has gone."""
        self._aborted = True
        self._pieces = []


def _text_of(content: Any) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):  # parts, or several prompts: no deeper, whatever a client nests
        parts = (part.get("text") if isinstance(part, dict) else part for part in content)
        return " ".join(part for part in parts if isinstance(part, str))
    return ""


def _prompt(document: dict[str, Any]) -> str:
    messages = document.get("messages")
    if isinstance(messages, list):
        asked = [message for message in messages if isinstance(message, dict) and message.get("role") == "user"]
        return _text_of(asked[-1].get("content")) if asked else ""
    return _text_of(document.get("prompt"))


def _words(document: dict[str, Any]) -> tuple[list[str], str]:
    """The answer in words and how it ends; a token is a word here."""
    prompt = " ".join(_prompt(document).split())
    quoted = prompt if len(prompt) <= 200 else prompt[:200] + "…"
    text = f"This is the gateway's built-in demo model; no provider was called. You said: {quoted}"
    limit = document.get("max_completion_tokens") or document.get("max_tokens")
    words = text.split(" ")
    allowed = min(limit, _MAX_COMPLETION_TOKENS) if type(limit) is int and limit > 0 else _MAX_COMPLETION_TOKENS
    return words[:allowed], "stop" if len(words) <= allowed else "length"


def _identity(document: dict[str, Any], kind: str) -> dict[str, Any]:
    digest = hashlib.sha256(_canonical(document)).hexdigest()
    return {"id": f"{kind}-demo-{digest[:24]}", "created": int(time.time()), "model": document["model"]}


def _canonical(value: Any) -> bytes:
    """`value` as JSON with sorted keys; all that nests too deeply to be written (orjson stops at 254) is the same."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        return b"deep"


def _usage(document: dict[str, Any], completion: int) -> dict[str, int]:
    source = document.get("messages") or document.get("prompt") or document.get("input")
    prompt = max(1, len(_canonical(source).split()))
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _completion(document: dict[str, Any], *, chat: bool) -> dict[str, Any]:
    words, reason = _words(document)
    answer: dict[str, Any] = {"index": 0, "finish_reason": reason, "logprobs": None}
    if chat:
        answer["message"] = {"role": "assistant", "content": " ".join(words), "refusal": None}
    else:
        answer["text"] = " ".join(words)
    return {
        **_identity(document, "chatcmpl" if chat else "cmpl"),
        "object": "chat.completion" if chat else "text_completion",
        "choices": [answer],
        "usage": _usage(document, len(words)),
    }


def _events(document: dict[str, Any], *, chat: bool) -> list[bytes]:
    words, reason = _words(document)
    frame = {
        **_identity(document, "chatcmpl" if chat else "cmpl"),
        "object": "chat.completion.chunk" if chat else "text_completion",
    }

    def event(choice: dict[str, Any] | None, usage: dict[str, int] | None = None) -> bytes:
        chunk = {**frame, "choices": [] if choice is None else [choice], "usage": usage}
        return b"data: " + orjson.dumps(chunk) + b"\n\n"

    events = []
    for number, word in enumerate(words):
        text = word if number == 0 else " " + word
        choice: dict[str, Any] = {"index": 0, "finish_reason": None}
        if chat:
            choice["delta"] = {"role": "assistant", "content": text} if number == 0 else {"content": text}
        else:
            choice["text"] = text
        events.append(event(choice))
    events.append(event({"index": 0, "finish_reason": reason, **({"delta": {}} if chat else {"text": ""})}))
    options = document.get("stream_options")
    if isinstance(options, dict) and options.get("include_usage"):
        events.append(event(None, _usage(document, len(words))))
    events.append(b"data: [DONE]\n\n")
    return events


def _embeddings(document: dict[str, Any]) -> dict[str, Any]:
    """Unit vectors drawn from a hash of the text: equal texts get equal vectors, nothing more is promised."""
    given = document["input"]
    texts = given if isinstance(given, list) and given and not isinstance(given[0], int) else [given]
    asked = document.get("dimensions")
    size = asked if type(asked) is int and 0 < asked <= 4096 else _EMBEDDING_DIMENSIONS
    as_base64 = document.get("encoding_format") == "base64"
    return {
        "object": "list",
        "model": document["model"],
        "data": [
            {"object": "embedding", "index": index, "embedding": _vector(_canonical(text), size, as_base64=as_base64)}
            for index, text in enumerate(texts)
        ],
        "usage": {"prompt_tokens": (tokens := _usage(document, 0)["prompt_tokens"]), "total_tokens": tokens},
    }


def _vector(text: bytes, size: int, *, as_base64: bool) -> list[float] | str:
    stream = hashlib.shake_256(text).digest(size * 2)
    raw = [value - 32767.5 for value in struct.unpack(f"<{size}H", stream)]
    length = sum(value * value for value in raw) ** 0.5
    vector = [value / length for value in raw]
    if not as_base64:
        return vector
    return b64encode(struct.pack(f"<{size}f", *vector)).decode()
