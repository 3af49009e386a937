"""Google PaLM (v1beta2 and v1beta3): chat, text and embeddings, in one piece, as its reference documented them.

https://ai.google.dev/api/palm (read 2026-11). The key comes in `x-goog-api-key` or as `?key=`.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.servers.serving import Answer, Request, Server, json_answer

_RATINGS = [{"category": "HARM_CATEGORY_TOXICITY", "probability": "NEGLIGIBLE"}]
_MODELS = ("chat-bison-001", "text-bison-001", "embedding-gecko-001")


class PalmServer(Server):
    """Models are chat-bison-001, text-bison-001 and embedding-gecko-001; a prompt with `filtered` in it is blocked."""

    def __init__(self, *, api_key: str = "AIzaPalmKeyForTests0123456789") -> None:
        super().__init__()
        self._api_key = api_key

    def refused(self, request: Request) -> Answer | None:
        """400 without the key, as Google's APIs do."""
        given = request.headers.get("x-goog-api-key")
        if given is None:
            given = parse_qs(urlsplit(request.path).query).get("key", [""])[0]
        if given == self._api_key:
            return None
        return _error(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.")

    def answered(self, request: Request) -> Answer:
        """By the method behind the model's name."""
        path = unquote(urlsplit(request.path).path)
        if re.fullmatch(r"/v1beta[23]/models", path) and request.method == "GET":
            return json_answer({"models": [{"name": f"models/{name}", "version": "001"} for name in _MODELS]})
        found = re.fullmatch(r"/v1beta[23]/models/([^/:]+):(\w+)", path)
        if found is None or request.method != "POST":
            return _error(404, "NOT_FOUND", "Requested entity was not found.")
        model, method = found.groups()
        answer = _METHODS.get(method)
        if answer is None or model not in _MODELS:
            return _error(404, "NOT_FOUND", f"models/{model} is not found, or is not supported for {method}.")
        return json_answer(answer(request.json))


def _error(code: int, status: str, message: str) -> Answer:
    return json_answer({"error": {"code": code, "message": message, "status": status}}, code)


def _message(document: dict[str, Any]) -> dict[str, Any]:
    messages = document["prompt"]["messages"]
    if "filtered" in messages[-1]["content"]:
        return {"messages": messages, "filters": [{"reason": "SAFETY"}]}
    count = document.get("candidateCount", 1)
    return {
        "candidates": [{"author": "1", "content": "Hello from PaLM."} for _ in range(count)],
        "messages": [{"author": "0", "content": message["content"]} for message in messages],
    }


def _text(document: dict[str, Any]) -> dict[str, Any]:
    if "filtered" in document["prompt"]["text"]:
        return {"filters": [{"reason": "SAFETY"}], "safetyFeedback": [{"rating": _RATINGS[0]}]}
    return {"candidates": [{"output": "Hello from PaLM.", "safetyRatings": _RATINGS}]}


def _embedding(document: dict[str, Any]) -> dict[str, Any]:
    return {"embedding": {"value": [float(len(document["text"])), 0.5]}}


def _embeddings(document: dict[str, Any]) -> dict[str, Any]:
    return {"embeddings": [{"value": [float(len(text)), 0.5]} for text in document["texts"]]}


_METHODS = {
    "generateMessage": _message,
    "generateText": _text,
    "embedText": _embedding,
    "batchEmbedText": _embeddings,
}
