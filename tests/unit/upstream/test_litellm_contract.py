"""The real litellm behind `LiteLLMLine`, in a Python of its own: it cannot live beside the `openai` of the tests.

That Python is GATEWAY_LITELLM_PYTHON, or the one that the benchmarks install; without either there is nothing to test.
What the gateway itself needs comes from here, after its own packages.
"""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
FOUND = [
    *([Path(os.environ["GATEWAY_LITELLM_PYTHON"])] if os.environ.get("GATEWAY_LITELLM_PYTHON") else []),
    *sorted((ROOT / "benchmarks/.cache").glob("litellm-*/bin/python")),
]
pytestmark = pytest.mark.skipif(not FOUND, reason="no Python with litellm: set GATEWAY_LITELLM_PYTHON")
KEY = "sk-contract-0123456789abcdef"
MODEL = "openai/gpt-4o-mini"
ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1_700_000_000,
    "model": "gpt-4o-mini",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
    "usage": {
        "prompt_tokens": 9,
        "completion_tokens": 2,
        "total_tokens": 11,
        "prompt_tokens_details": {"cached_tokens": 4},
    },
}
VECTOR = {
    "object": "list",
    "model": "text-embedding-3-small",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}],
    "usage": {"prompt_tokens": 3, "total_tokens": 3},
}
PROGRAM = """
import asyncio, json, os, sys
sys.path.append(sys.argv[1])
from gateway.tasks import Tasks
from gateway.upstream.connection import Limits
from gateway.upstream.litellm_line import LiteLLMLine
from gateway.wire.openai_error import read_error

class Heard:
    def __init__(self):
        self.head, self.body, self.error, self.over = None, b"", None, asyncio.Event()
    def on_head(self, status, headers):
        self.head = [status, [[n.decode(), v.decode()] for n, v in headers]]
    def on_body(self, data):
        self.body += data
    def on_end(self):
        self.over.set()
    def on_failure(self, error):
        self.error = [error.code, error.message, error.param]
        self.over.set()

async def main():
    job = json.loads(sys.stdin.read())
    tasks, loop, results = Tasks(), asyncio.get_running_loop(), []
    for call in job["calls"]:
        line = LiteLLMLine(tasks, models=[call["body"]["model"]], api_base=call["base"])
        heard, limits = Heard(), Limits(connect_s=5, first_byte_s=call.get("first_byte_s", 60), idle_s=60, total_s=60)
        head = f"POST {call['path']} HTTP/1.1\\r\\nauthorization: Bearer {job['key']}\\r\\n\\r\\n".encode()
        line.take().send(head, json.dumps(call["body"]).encode(), heard, limits, loop.time() + 60)
        await heard.over.wait()
        result = {"head": heard.head, "body": heard.body.decode(), "error": heard.error}
        if heard.head and heard.head[0] != 200:
            result["code"] = read_error("p", heard.head[0], heard.body).code
        results.append(result)
    await tasks.drain(5)
    print("RESULTS" + json.dumps(results))

asyncio.run(main())
"""


class Upstream(BaseHTTPRequestHandler):
    """An OpenAI that answers by what the last message says, and keeps the requests."""

    asked: list[tuple[str, dict[str, Any]]] = []  # noqa: RUF012
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.asked.append((self.headers.get("authorization", ""), request))
        said = request["messages"][-1]["content"] if "messages" in request else ""
        if "input" in request:
            self._answer(200, VECTOR)
        elif said == "limit":
            self._answer(429, {"error": {"message": f"slow down, {KEY}", "code": "rate_limit_exceeded"}}, "3")
        elif said == "long":
            message = "This model's maximum context length is 128000 tokens."
            self._answer(400, {"error": {"message": message, "code": "context_length_exceeded"}})
        elif said == "key":
            self._answer(401, {"error": {"message": f"Incorrect API key provided: {KEY}", "code": "invalid_api_key"}})
        elif said == "hang":
            threading.Event().wait(3)
            self._answer(200, ANSWER)
        elif request.get("stream"):
            self._stream()
        else:
            self._answer(200, ANSWER)

    def _answer(self, status: int, document: dict[str, Any], pause: str = "") -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        if pause:
            self.send_header("retry-after", pause)
        self.end_headers()
        self.wfile.write(body)

    def _stream(self) -> None:
        frame = {key: ANSWER[key] for key in ("id", "created", "model")} | {"object": "chat.completion.chunk"}
        deltas: list[tuple[dict[str, str], str | None]] = [
            ({"role": "assistant", "content": "hel"}, None),
            ({"content": "lo"}, None),
            ({}, "stop"),
        ]
        chunks = [
            {**frame, "choices": [{"index": 0, "delta": delta, "finish_reason": end}]} for delta, end in deltas
        ] + [{**frame, "choices": [], "usage": ANSWER["usage"]}]
        body = b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


def _chat(said: str, **more: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": said}], **more}


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    """What came of each call, by name: one process makes them all, since litellm takes seconds to load."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    base = f"http://127.0.0.1:{server.server_address[1]}/v1"
    chat = {"path": "/chat/completions", "base": base}
    calls: dict[str, dict[str, Any]] = {
        "whole": {**chat, "body": _chat("hi", temperature=0.5)},
        "stream": {**chat, "body": _chat("hi", stream=True, stream_options={"include_usage": True})},
        "limit": {**chat, "body": _chat("limit")},
        "streamed limit": {**chat, "body": _chat("limit", stream=True)},
        "long": {**chat, "body": _chat("long")},
        "key": {**chat, "body": _chat("key")},
        "nowhere": {**chat, "base": "http://127.0.0.1:9/v1", "body": _chat("hi")},
        "hang": {**chat, "body": _chat("hang"), "first_byte_s": 0.5},
        "lacking": {**chat, "body": {**_chat("hi", seed=1), "model": "sagemaker/some"}},
        "unknown": {**chat, "body": {**_chat("hi"), "model": "nobody-knows/some"}},
        "embeddings": {
            "path": "/embeddings",
            "base": base,
            "body": {"model": "openai/text-embedding-3-small", "input": "x", "encoding_format": "base64"},
        },
    }
    environ = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(ROOT), "HOME": "/nonexistent"}
    try:
        done = subprocess.run(
            [str(FOUND[0]), "-c", PROGRAM, sysconfig.get_paths()["purelib"]],
            input=json.dumps({"calls": list(calls.values()), "key": KEY}),
            capture_output=True,
            text=True,
            timeout=100,
            env=environ,
            check=False,
        )
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    output, _, found = done.stdout.partition("RESULTS")
    assert found, done.stderr[-4000:]
    return {**dict(zip(calls, json.loads(found), strict=True)), "output": output + done.stderr}


def test_a_whole_answer_is_openai_s(results: dict[str, Any]) -> None:
    assert results["whole"]["head"] == [200, [["content-type", "application/json"]]]
    answer = json.loads(results["whole"]["body"])
    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["message"]["content"] == "hello"
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["prompt_tokens_details"]["cached_tokens"] == 4
    authorization, request = Upstream.asked[0]
    assert authorization == f"Bearer {KEY}"
    assert request == {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}], "temperature": 0.5}


def test_a_stream_is_openai_s(results: dict[str, Any]) -> None:
    assert results["stream"]["head"] == [200, [["content-type", "text/event-stream"]]]
    payloads = [line.removeprefix("data: ") for line in results["stream"]["body"].split("\n\n") if line]
    assert payloads.pop() == "[DONE]"
    chunks = [json.loads(payload) for payload in payloads]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    assert "".join(choice["delta"].get("content") or "" for choice in choices) == "hello"
    assert [choice["finish_reason"] for choice in choices if choice["finish_reason"]] == ["stop"]
    assert chunks[-1]["choices"] == []
    assert (chunks[-1]["usage"]["prompt_tokens"], chunks[-1]["usage"]["completion_tokens"]) == (9, 2)


@pytest.mark.parametrize(
    ("call", "status", "code"),
    [
        ("limit", 429, "upstream_429"),
        ("streamed limit", 429, "upstream_429"),
        ("long", 400, "context_length_exceeded"),
        ("key", 401, "upstream_auth"),
        ("unknown", 400, "upstream_4xx"),
    ],
)
def test_a_refusal_is_the_provider_s(results: dict[str, Any], call: str, status: int, code: str) -> None:
    result = results[call]
    assert (result["error"], result["head"][0], result["code"]) == (None, status, code)
    if status == 429:
        assert ["retry-after", "3"] in result["head"][1]


@pytest.mark.parametrize(
    ("call", "code"),
    [
        ("nowhere", "upstream_connect_failed"),
        ("hang", "upstream_first_byte_timeout"),
        ("lacking", "unsupported_parameter"),
    ],
)
def test_what_no_provider_answered_is_ours(results: dict[str, Any], call: str, code: str) -> None:
    assert results[call]["error"][0] == code


def test_a_field_that_the_provider_lacks_is_named(results: dict[str, Any]) -> None:
    assert results["lacking"]["error"][2] == "seed"


def test_embeddings_are_packed_as_asked_for(results: dict[str, Any]) -> None:
    answer = json.loads(results["embeddings"]["body"])
    assert answer["data"][0]["embedding"] == "AAAAPwAAgD4="
    assert answer["usage"]["prompt_tokens"] == 3


def test_nothing_is_tried_twice(results: dict[str, Any]) -> None:
    said = [request["messages"][-1]["content"] for _, request in Upstream.asked if "messages" in request]
    assert (said.count("limit"), said.count("hang")) == (2, 1)


def test_neither_the_key_nor_any_prompt_is_written_or_answered(results: dict[str, Any]) -> None:
    assert KEY not in json.dumps(results)
    assert "LiteLLM" not in results["output"]
    assert "Traceback" not in results["output"]
