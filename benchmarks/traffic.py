"""The one request and the one answer that every contestant carries, and a check that it carries them right."""

from __future__ import annotations

import http.client

import orjson

from benchmarks.processes import Failed

PATH = "/v1/chat/completions"
MODEL = "gpt-4o-mini"
# The same chat, answered by an upstream that speaks Anthropic's dialect: the gateway translates both ways.
TRANSLATED_MODEL = "claude-haiku-4-5"
TRANSLATED_PATH = "/v1/messages"

_QUESTION = (
    "One of the pods of deployment checkout restarts every few minutes with exit code 137 and the events show "
    "OOMKilled. Its memory limit is 512Mi. Which commands tell me what it used before it was killed?"
)
REQUEST = orjson.dumps(
    {
        "model": MODEL,
        "messages": [
            {
                "role": "system",
                "content": "You are an assistant for people who run Kubernetes clusters. Be brief and exact.",
            },
            {"role": "user", "content": _QUESTION},
        ],
        "temperature": 0.2,
        "max_tokens": 256,
        "user": "bench-user-0001",
    }
)

ANSWER = orjson.dumps(
    {
        "id": "chatcmpl-BxQ2v0Yk7Zt1LrWmN4uHs8PdEaGfC",
        "object": "chat.completion",
        "created": 1760000000,
        "model": MODEL,
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "Run kubectl describe pod to see the last state, then kubectl top pod --containers; "
                    "the working set before the kill is in container_memory_working_set_bytes.",
                    "refusal": None,
                },
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 78,
            "completion_tokens": 46,
            "total_tokens": 124,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
        "system_fingerprint": "fp_0123456789",
    }
)

TRANSLATED_REQUEST = orjson.dumps({**orjson.loads(REQUEST), "model": TRANSLATED_MODEL})
TRANSLATED_ANSWER = orjson.dumps(
    {
        "id": "msg_01Aq9w938a90dw8qLs2Vx7Yz",
        "type": "message",
        "role": "assistant",
        "model": TRANSLATED_MODEL,
        "content": [{"type": "text", "text": orjson.loads(ANSWER)["choices"][0]["message"]["content"]}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 78,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": 46,
            "service_tier": "standard",
        },
    }
)


def request_bytes(port: int, headers: dict[str, str], body: bytes = REQUEST) -> bytes:
    """The chat request as it goes over the wire."""
    lines = [f"POST {PATH} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Content-Type: application/json"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def verify(name: str, port: int, headers: dict[str, str], body: bytes = REQUEST) -> None:
    """Send one chat through a contestant and compare what counts of the answer; raise `Failed` if it differs."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", PATH, body, {"Content-Type": "application/json", **headers})
        reply = connection.getresponse()
        answer = reply.read()
    finally:
        connection.close()
    if reply.status != 200:
        raise Failed(f"{name} answered {reply.status}: {answer[:600].decode(errors='replace')}")
    got, sent = orjson.loads(answer), orjson.loads(ANSWER)
    same_text = got["choices"][0]["message"]["content"] == sent["choices"][0]["message"]["content"]
    if not same_text or got["usage"]["total_tokens"] != sent["usage"]["total_tokens"]:
        raise Failed(
            f"{name} answered 200, but not with the upstream's answer: {answer[:600].decode(errors='replace')}"
        )
