"""Hugging Face: the router in the form of its recordings, and the servers that its users run themselves.

A model called `tgi` answers as text-generation-inference does (no space behind `data:`, no `[DONE]`), `missing` is
not there, `busy` has too much to do, `breaks` fails within its stream and `cut` ends in the middle of it.
https://huggingface.co/docs/inference-providers, …/docs/text-generation-inference and
…/docs/text-embeddings-inference (read 2026-11)
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from tests.servers.chatting import deltas_of, said_to
from tests.servers.serving import Answer, Request, Server, json_answer

MODELS = ("meta-llama/Llama-3.3-70B-Instruct", "openai/gpt-oss-120b")
TEXT = "A service gives pods one address."
ANSWER_ID = "oV1mrRW-28Eivz-9c4b14db295620a5"
USAGE = {"prompt_tokens": 16, "completion_tokens": 9, "total_tokens": 25}
_MADE_AT = 1769546597
_EXTRACTION = re.compile(r"/hf-inference/models/(.+)/pipeline/feature-extraction")


class HuggingFaceServer(Server):
    """The router and the servers behind one address; it asks for the key, unless that is empty."""

    def __init__(self, *, api_key: str = "hf_tests") -> None:
        super().__init__()
        self._api_key = api_key

    def refused(self, request: Request) -> Answer | None:
        """401 without the key, as the router says it."""
        if not self._api_key or request.headers.get("authorization") == f"Bearer {self._api_key}":
            return None
        return json_answer({"error": "Invalid username or password."}, 401)

    def answered(self, request: Request) -> Answer:
        """By the path."""
        extraction = _EXTRACTION.fullmatch(request.path)
        if request.path == "/v1/models":
            return json_answer({"object": "list", "data": [{"id": name, "object": "model"} for name in MODELS]})
        if request.method == "POST" and request.path == "/v1/chat/completions":
            return _chat(request.json)
        if request.method == "POST" and request.path == "/v1/embeddings":
            return _openai_embeddings(request.json)
        if extraction is not None and extraction[1] == "missing":
            return json_answer({"error": "Model not found"}, 404)
        if request.method == "POST" and (extraction is not None or request.path == "/embed"):
            inputs = request.json["inputs"]
            return json_answer([_vector(text) for text in ([inputs] if isinstance(inputs, str) else inputs)])
        return json_answer({"error": "Not Found"}, 404)


def _openai_embeddings(body: dict[str, Any]) -> Answer:
    texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
    data = [{"object": "embedding", "index": index, "embedding": _vector(text)} for index, text in enumerate(texts)]
    usage = {"prompt_tokens": len(texts), "total_tokens": len(texts)}
    return json_answer({"object": "list", "data": data, "model": body["model"], "usage": usage})


def _vector(text: str) -> list[float]:
    return [len(text) / 64, 0.25, -0.5]


def _chat(body: dict[str, Any]) -> Answer:
    model = body["model"]
    if model == "missing":
        message = f"The requested model '{model}' does not exist"
        error = {"message": message, "type": "invalid_request_error", "param": "model", "code": "model_not_found"}
        return json_answer({"error": error}, 400)
    if model == "busy":
        return json_answer({"error": "Model is overloaded", "error_type": "overloaded"}, 429)
    said = said_to(body, TEXT, "call_fd883226aed0")
    finish = "tool_calls" if "tool_calls" in said else "length" if body.get("max_tokens", 99) < 9 else "stop"
    if body.get("stream"):
        return _stream(body, said, finish)
    choice = {"index": 0, "message": said, "logprobs": None, "finish_reason": finish, "seed": 5844196810245229000}
    head = {"id": ANSWER_ID, "object": "chat.completion", "created": _MADE_AT, "model": model, "prompt": []}
    return json_answer({**head, "choices": [choice], "usage": USAGE})


def _stream(body: dict[str, Any], said: dict[str, Any], finish: str) -> Answer:
    model = body["model"]
    own = model == "tgi"
    head = {"id": "" if own else ANSWER_ID, "object": "chat.completion.chunk", "created": _MADE_AT, "model": model}
    chunks: list[dict[str, Any]] = [
        {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas_of(said)
    ]
    chunks.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    if (body.get("stream_options") or {}).get("include_usage"):
        chunks.append({**head, "choices": [], "usage": USAGE})
    mark = b"data:" if own else b"data: "
    pieces = [mark + orjson.dumps(chunk) + b"\n\n" for chunk in chunks] + ([] if own else [b"data: [DONE]\n\n"])
    if model == "breaks":
        error = {"error": "Request failed during generation: CUDA out of memory", "error_type": "generation"}
        pieces = [*pieces[:2], mark + orjson.dumps(error) + b"\n\n"]
    elif model == "cut":
        pieces = pieces[:2]
    return Answer(200, pieces, "text/event-stream")
