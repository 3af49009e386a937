"""What the OpenAI-like server answers where nothing is kept: texts, pictures, sounds; deterministic."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

MODELS = ("gpt-4o-mini", "gpt-image-1", "gpt-4o-mini-transcribe", "tts-1", "omni-moderation-latest", "dall-e-2")
PNG = bytes.fromhex("89504e470d0a1a0a") + b"a picture"
AUDIO = b"ID3" + bytes(range(256)) * 64
RATE_HEADERS = {"x-ratelimit-remaining-requests": "7", "Set-Cookie": "upstream=secret", "openai-version": "2020-10-01"}


@dataclass
class Received:
    """One request as it came. `form` has the values of a form's fields, of its files (name, bytes, SHA-256)."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes = b""
    json: Any = None
    form: dict[str, Any] = field(default_factory=dict)
    cut: bool = False  # the client went away before the answer's end


SEEN: web.RequestKey[Received] = web.RequestKey("seen", Received)


class Answering:
    """The handlers. `pause_s` is waited between the pieces of streams."""

    pause_s = 0.0
    _counter = 0

    def _id(self, prefix: str) -> str:
        self._counter += 1
        return f"{prefix}{self._counter:06d}"

    async def _models(self, request: web.Request) -> web.Response:
        data = [{"id": name, "object": "model", "created": 1, "owned_by": "fake"} for name in MODELS]
        return json_response({"object": "list", "data": data})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = request[SEEN].json
        usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
        identity = {"id": self._id("chatcmpl-"), "created": 1, "model": body["model"]}
        if not body.get("stream"):
            choice = {"index": 0, "message": {"role": "assistant", "content": "Hello there"}, "finish_reason": "stop"}
            return json_response({**identity, "object": "chat.completion", "choices": [choice], "usage": usage})
        chunk = {**identity, "object": "chat.completion.chunk"}
        events: list[Any] = [
            {**chunk, "choices": [{"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": None}]}
            for text in ("Hello", " there")
        ]
        events.append({**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        if (body.get("stream_options") or {}).get("include_usage"):
            events.append({**chunk, "choices": [], "usage": usage})
        return await self._events(request, events, done=True)

    async def _completions(self, request: web.Request) -> web.StreamResponse:
        body = request[SEEN].json
        usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
        identity = {"id": self._id("cmpl-"), "object": "text_completion", "created": 1, "model": body["model"]}
        choice = {"index": 0, "logprobs": None}
        if not body.get("stream"):
            return json_response(
                {**identity, "choices": [{**choice, "text": " world", "finish_reason": "stop"}], "usage": usage}
            )
        events: list[Any] = [
            {**identity, "choices": [{**choice, "text": text, "finish_reason": None}]} for text in (" wor", "ld")
        ]
        events.append({**identity, "choices": [{**choice, "text": "", "finish_reason": "stop"}]})
        if (body.get("stream_options") or {}).get("include_usage"):
            events.append({**identity, "choices": [], "usage": usage})
        return await self._events(request, events, done=True)

    async def _embeddings(self, request: web.Request) -> web.Response:
        body = request[SEEN].json
        texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
        data = [{"object": "embedding", "index": n, "embedding": [0.25, 0.5, float(n)]} for n in range(len(texts))]
        usage = {"prompt_tokens": 4, "total_tokens": 4}
        return json_response({"object": "list", "model": body["model"], "data": data, "usage": usage})

    async def _moderations(self, request: web.Request) -> web.Response:
        body = request[SEEN].json
        result = {
            "flagged": "bomb" in str(body["input"]),
            "categories": {"violence": False},
            "category_scores": {"violence": 0.1},
        }
        return json_response(
            {"id": self._id("modr-"), "model": body.get("model", "omni-moderation-latest"), "results": [result]}
        )

    async def _images(self, request: web.Request) -> web.StreamResponse:
        seen = request[SEEN]
        usage = {
            "input_tokens": 10,
            "output_tokens": 20,
            "total_tokens": 30,
            "input_tokens_details": {"text_tokens": 4, "image_tokens": 6},
        }
        if (seen.json or {}).get("stream"):
            events = [
                {"type": "image_generation.partial_image", "b64_json": "AAAA", "partial_image_index": 0},
                {"type": "image_generation.completed", "b64_json": "BBBB", "usage": usage},
            ]
            return await self._events(request, events, named=True)
        return json_response({"created": 1, "data": [{"b64_json": PNG.hex()}], "usage": usage})

    async def _speech(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "audio/mpeg", **RATE_HEADERS})
        await response.prepare(request)
        for start in range(0, len(AUDIO), 4096):
            await response.write(AUDIO[start : start + 4096])
            await asyncio.sleep(self.pause_s)
        await response.write_eof()
        return response

    async def _transcribe(self, request: web.Request) -> web.StreamResponse:
        form = request[SEEN].form
        usage = {"type": "tokens", "input_tokens": 14, "output_tokens": 3, "total_tokens": 17}
        if form.get("stream") == "true":
            events = [
                {"type": "transcript.text.delta", "delta": "hello "},
                {"type": "transcript.text.delta", "delta": "world"},
                {"type": "transcript.text.done", "text": "hello world", "usage": usage},
            ]
            return await self._events(request, events)
        if form.get("response_format") in ("text", "srt", "vtt"):
            return web.Response(text="hello world\n", content_type="text/plain")
        return json_response({"text": "hello world", "usage": usage})

    async def _events(
        self, request: web.Request, events: list[Any], *, named: bool = False, done: bool = False
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream; charset=utf-8", **RATE_HEADERS})
        await response.prepare(request)
        for event in events:
            line = f"event: {event['type']}\n" if named else ""
            await response.write(f"{line}data: {json.dumps(event)}\n\n".encode())
            await asyncio.sleep(self.pause_s)
        if done:
            await response.write(b"data: [DONE]\n\n")
        await response.write_eof()
        return response


def json_response(document: Any) -> web.Response:
    return web.Response(body=json.dumps(document).encode(), content_type="application/json", headers=RATE_HEADERS)
