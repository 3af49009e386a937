"""Those who speak OpenAI's format with small things of their own, behind one address: each has a path in front.

What is their own is documented or was reported with the bytes: errors, ids of calls, lists of models, and what stands
beside OpenAI's fields in answers. A field that none of them knows is refused with 400.

- Fireworks: https://docs.fireworks.ai/api-reference/post-chatcompletions, https://github.com/warpdotdev/warp/issues/15107
- llama.cpp: https://github.com/ggml-org/llama.cpp/tree/master/tools/server and its issue 19774
- LM Studio: https://lmstudio.ai/docs/developer/openai-compat, https://github.com/gitbutlerapp/gitbutler/issues/8706
- NVIDIA NIM: https://docs.nvidia.com/nim/large-language-models/latest/reference/api-reference.html,
  https://github.com/hidenobunagai/nvidia-nim-provider/issues/9
- SambaNova: https://docs.sambanova.ai/docs/en/features/openai-compatibility
- vLLM: https://docs.vllm.ai/en/stable/serving/openai_compatible_server/, its issue 3485
(all read 2026-11)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from tests.servers.chatting import deltas_of, said_to
from tests.servers.serving import Answer, Request, Server, json_answer

KEY = "compatible-key-0123456789"
TEXT = "A node runs the pods that are placed on it."
PROMPT_TOKENS, COMPLETION_TOKENS = 21, 11
# The models that are not there, and whose context is too short.
MISSING, SHORT = "missing", "short"
_MADE_AT = 1769546597
_KNOWN = frozenset(
    {
        *("model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "temperature"),
        *("tools", "tool_choice", "response_format", "n", "stop", "top_p"),
    }
)


@dataclass(frozen=True)
class Kind:
    """One of them. `missing` and `too_long` are status and body of those errors, `unknown_key` of a request without
    the key, None for who asks for none; `listed` is beside each model in the list, `beside` beside the choices of an
    answer, `counted` beside the usual counts of its usage."""

    path: str
    model: str
    call_id: str
    missing: tuple[int, Any]
    too_long: tuple[int, Any]
    unknown_key: tuple[int, Any] | None = None
    listed: Mapping[str, Any] = field(default_factory=dict)
    beside: Mapping[str, Any] = field(default_factory=dict)
    counted: Mapping[str, Any] = field(default_factory=dict)


_VLLM_TOO_LONG = "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens."
KINDS = {
    "fireworks": Kind(
        path="/fireworks/inference/v1",
        model="accounts/fireworks/models/llama-v3p3-70b-instruct",
        call_id="call_Fw8dQ0sXb2LmPz",
        missing=(
            404,
            {
                "error": {
                    "message": "Model not found, inaccessible, and/or not deployed",
                    "param": "model",
                    "code": "NOT_FOUND",
                    "type": "error",
                }
            },
        ),
        too_long=(
            400,
            {
                "error": {
                    "object": "error",
                    "type": "invalid_request_error",
                    "message": "The prompt is too long: 140000, model maximum context length: 131071",
                }
            },
        ),
        unknown_key=(401, {"error": "unauthorized"}),
        listed={"owned_by": "fireworks", "supports_chat": True, "context_length": 131072},
        counted={"prompt_tokens_details": {"cached_tokens": 0}},
    ),
    "llamacpp": Kind(
        path="/llamacpp/v1",
        model="qwen2.5-coder-32b-instruct-q8_0.gguf",
        call_id="5Hb0n3kPqVt7Rz2Lw8Yd4Jc6Xm1Sf9G",
        missing=(404, {"error": {"code": 404, "message": "File Not Found", "type": "not_found_error"}}),
        too_long=(
            400,
            {
                "error": {
                    "code": 400,
                    "message": "request (4390 tokens) exceeds the available context size (4096 tokens), try increasing "
                    "it",
                    "type": "exceed_context_size_error",
                    "n_prompt_tokens": 4390,
                    "n_ctx": 4096,
                }
            },
        ),
        unknown_key=(401, {"error": {"code": 401, "message": "Invalid API Key", "type": "authentication_error"}}),
        listed={"owned_by": "llamacpp", "meta": {"n_vocab": 151_936, "n_ctx_train": 32_768}},
        beside={"timings": {"prompt_n": 21, "prompt_ms": 40.5, "predicted_n": 11, "predicted_ms": 130.25}},
    ),
    "lmstudio": Kind(
        path="/lmstudio/v1",
        model="qwen3-32b",
        call_id="36515208",
        missing=(
            404,
            {
                "error": {
                    "message": 'Model "missing" not found. Please specify a valid model.',
                    "type": "invalid_request_error",
                    "param": "model",
                    "code": "model_not_found",
                }
            },
        ),
        too_long=(400, {"error": "The model is loaded with context length of only 4096 tokens, which is not enough."}),
        listed={"owned_by": "organization_owner"},
        beside={"stats": {}, "system_fingerprint": "qwen3-32b"},
    ),
    "nvidia_nim": Kind(
        path="/nvidia_nim/v1",
        model="meta/llama-3.3-70b-instruct",
        call_id="chatcmpl-tool-9f2b7c61d3e84a05b1c7d2e6f8a0415",
        missing=(404, {"status": 404, "title": "Not Found", "detail": "Function 'missing': Not found for account"}),
        too_long=(400, {"object": "error", "message": _VLLM_TOO_LONG, "type": "BadRequestError", "code": 400}),
        unknown_key=(401, {"status": 401, "title": "Unauthorized", "detail": "Authentication failed"}),
        listed={"owned_by": "meta", "root": "meta/llama-3.3-70b-instruct"},
        beside={"service_tier": None, "prompt_logprobs": None},
    ),
    "sambanova": Kind(
        path="/sambanova/v1",
        model="Meta-Llama-3.3-70B-Instruct",
        call_id="call_0d4f1c2b3a5e6978",
        missing=(
            404,
            {"error": {"code": None, "message": "Model not found", "param": None, "type": "invalid_request_error"}},
        ),
        too_long=(
            400,
            {
                "error": {
                    "code": "context_length_exceeded",
                    "message": "The maximum context length of the model is 16384.",
                    "param": None,
                    "type": "invalid_request_error",
                }
            },
        ),
        unknown_key=(401, {"error": {"code": "invalid_api_key", "message": "Incorrect API key provided."}}),
        listed={"owned_by": "no-reply@sambanova.ai", "context_length": 131_072},
        counted={"time_to_first_token": 0.09, "total_latency": 0.21, "completion_tokens_per_sec": 250.5},
    ),
    "vllm": Kind(
        path="/vllm/v1",
        model="Qwen/Qwen3-8B",
        call_id="chatcmpl-tool-0a1b2c3d4e5f60718293a4b5c6d7e8f",
        missing=(
            404,
            {
                "object": "error",
                "message": "The model `missing` does not exist.",
                "type": "NotFoundError",
                "param": None,
                "code": 404,
            },
        ),
        too_long=(
            400,
            {"error": {"message": _VLLM_TOO_LONG, "type": "BadRequestError", "param": None, "code": 400}},
        ),
        unknown_key=(401, {"error": "Unauthorized"}),
        listed={"owned_by": "vllm", "root": "Qwen/Qwen3-8B", "parent": None, "max_model_len": 40_960},
        beside={"prompt_logprobs": None, "kv_transfer_params": None},
        counted={"prompt_tokens_details": None},
    ),
}


class CompatibleServer(Server):
    """All of KINDS; those who ask for a key want KEY."""

    def refused(self, request: Request) -> Answer | None:
        """Each one's own 401."""
        kind = _kind_of(request)
        if kind.unknown_key is None or request.headers.get("authorization") == f"Bearer {KEY}":
            return None
        status, body = kind.unknown_key
        return json_answer(body, status)

    def answered(self, request: Request) -> Answer:
        """By the path behind the kind's own."""
        kind = _kind_of(request)
        what = request.method, request.path.removeprefix(kind.path)
        if what == ("GET", "/models"):
            model = {"id": kind.model, "object": "model", "created": _MADE_AT, **kind.listed}
            return json_answer({"object": "list", "data": [model]})
        if what == ("POST", "/embeddings"):
            return _embeddings(request.json)
        if what == ("POST", "/chat/completions"):
            return _chat(kind, request.json)
        return json_answer({"detail": "Not Found"}, 404)


def _kind_of(request: Request) -> Kind:
    return KINDS[request.path.split("/")[1]]


def _embeddings(body: dict[str, Any]) -> Answer:
    texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
    data = [
        {"object": "embedding", "index": index, "embedding": [len(text) / 64, -0.5]} for index, text in enumerate(texts)
    ]
    usage = {"prompt_tokens": 3 * len(texts), "total_tokens": 3 * len(texts)}
    return json_answer({"object": "list", "data": data, "model": body["model"], "usage": usage})


def _chat(kind: Kind, body: dict[str, Any]) -> Answer:
    if unknown := sorted(body.keys() - _KNOWN):
        return json_answer({"error": {"message": f"Extra inputs are not permitted: {unknown}", "code": 400}}, 400)
    model = body["model"]
    if model in (MISSING, SHORT):
        status, error = kind.missing if model == MISSING else kind.too_long
        return json_answer(error, status)
    said = said_to(body, TEXT, kind.call_id)
    finish = "tool_calls" if "tool_calls" in said else "stop"
    counts = {
        "prompt_tokens": PROMPT_TOKENS,
        "completion_tokens": COMPLETION_TOKENS,
        "total_tokens": PROMPT_TOKENS + COMPLETION_TOKENS,
    }
    usage = {**counts, **kind.counted}
    head = {"id": "chatcmpl-b213157641", "created": _MADE_AT, "model": model}
    if not body.get("stream"):
        choice = {"index": 0, "message": said, "logprobs": None, "finish_reason": finish}
        return json_answer(
            {**head, "object": "chat.completion", "choices": [choice], "usage": usage, **kind.beside},
        )
    head["object"] = "chat.completion.chunk"
    steps = [*((delta, None) for delta in deltas_of(said)), ({}, finish)]
    chunks: list[dict[str, Any]] = [
        {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]} for delta, reason in steps
    ]
    if (body.get("stream_options") or {}).get("include_usage"):
        chunks.append({**head, "choices": [], "usage": usage, **kind.beside})
    pieces = [b"data: " + orjson.dumps(chunk) + b"\n\n" for chunk in chunks] + [b"data: [DONE]\n\n"]
    return Answer(200, pieces, "text/event-stream")
