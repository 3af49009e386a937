"""Ollama: its own API in the form of https://docs.ollama.com/api (read 2026-11) and of the recordings.

A model called `missing` is not there, `breaks` fails within its stream, `cut` ends in the middle of it, `old` gives
its calls no ids. Tools are called where the last word is the user's; `format` is obeyed; `think` is thought.
"""

from __future__ import annotations

from typing import Any

import orjson

from tests.servers.examples import example_of
from tests.servers.serving import Answer, Request, Server, json_answer

MODELS = ("llama3.2:3b", "qwen3:8b", "nomic-embed-text:latest")
TEXT = "A pod is the smallest unit that Kubernetes deploys."
THOUGHT = "They want one sentence."
PROMPT_TOKENS = 26
COMPLETION_TOKENS = 14
_MADE_AT = "2026-03-04T05:06:07.812345Z"
_TIMES = {"total_duration": 4883583458, "load_duration": 1334875, "eval_duration": 4535599000}


class OllamaServer(Server):
    """A server of Ollama; with an `api_key` it asks for it, as Ollama's cloud does."""

    def __init__(self, *, api_key: str = "") -> None:
        super().__init__()
        self._api_key = api_key

    def refused(self, request: Request) -> Answer | None:
        """401 without the key."""
        if not self._api_key or request.headers.get("authorization") == f"Bearer {self._api_key}":
            return None
        return json_answer({"error": "unauthorized"}, 401)

    def answered(self, request: Request) -> Answer:
        """By the path."""
        match request.method, request.path:
            case "GET", "/api/version":
                return json_answer({"version": "0.12.11"})
            case "GET", "/api/tags":
                return json_answer({"models": [{"name": name, "model": name, "size": 1} for name in MODELS]})
            case "POST", "/api/chat" | "/api/embed":
                body = request.json
                if body["model"] == "missing":
                    return json_answer({"error": "model 'missing' not found"}, 404)
                return _chat(body) if request.path == "/api/chat" else _embed(body)
        return Answer(404, [b"404 page not found"], "text/plain")


def _embed(body: dict[str, Any]) -> Answer:
    texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
    vectors = [[len(text) / 64, *[0.25] * (body.get("dimensions", 3) - 1)] for text in texts]
    return json_answer({"model": body["model"], "embeddings": vectors, "prompt_eval_count": len(texts)})


def _chat(body: dict[str, Any]) -> Answer:
    reason = "length" if body.get("options", {}).get("num_predict", 100) < COMPLETION_TOKENS else "stop"
    end = {**_line(body, _piece(""), done=True), "done_reason": reason, **_TIMES}
    end |= {"prompt_eval_count": PROMPT_TOKENS, "eval_count": COMPLETION_TOKENS}
    pieces = _pieces(body)
    if body.get("stream", True):
        return _stream(body, [*[_line(body, piece) for piece in pieces], end])
    whole: dict[str, Any] = _piece("".join(piece["content"] for piece in pieces))
    thought = "".join(piece.get("thinking", "") for piece in pieces)
    calls = [call for piece in pieces for call in piece.get("tool_calls", [])]
    if thought:
        whole["thinking"] = thought
    if calls:
        whole["tool_calls"] = calls
    return json_answer({**end, "message": whole})


def _stream(body: dict[str, Any], lines: list[dict[str, Any]]) -> Answer:
    if body["model"] == "breaks":
        lines = [lines[0], {"error": "an error was encountered while running the model: unexpected EOF"}]
    elif body["model"] == "cut":
        lines = lines[:1]
    return Answer(200, [orjson.dumps(line) + b"\n" for line in lines], "application/x-ndjson")


def _line(body: dict[str, Any], message: dict[str, Any], *, done: bool = False) -> dict[str, Any]:
    return {"model": body["model"], "created_at": _MADE_AT, "message": message, "done": done}


def _pieces(body: dict[str, Any]) -> list[dict[str, Any]]:
    """The messages of the stream; together they are the whole answer."""
    pieces: list[dict[str, Any]] = []
    if body.get("think"):
        middle = len(THOUGHT) // 2
        pieces = [_piece("", thinking=THOUGHT[:middle]), _piece("", thinking=THOUGHT[middle:])]
    last = [message for message in body["messages"] if message["role"] != "system"][-1]
    if body.get("format"):
        made = {"ok": True} if body["format"] == "json" else example_of(body["format"])
        return pieces + _cut_up(orjson.dumps(made).decode())
    if body.get("tools") and last["role"] == "user":
        return pieces + _calls(body)
    if last["role"] == "tool":
        return pieces + _cut_up(f"The tool {last.get('tool_name')} said: {last['content']}")
    if last.get("images"):
        return pieces + _cut_up(f"I see {len(last['images'])} picture(s).")
    return pieces + _cut_up(TEXT)


def _calls(body: dict[str, Any]) -> list[dict[str, Any]]:
    """A call of each of the first two tools."""
    pieces = []
    for index, tool in enumerate(body["tools"][:2]):
        function = tool["function"]
        arguments = example_of(function.get("parameters") or {"type": "object"})
        call: dict[str, Any] = {"function": {"index": index, "name": function["name"], "arguments": arguments}}
        pieces.append(
            _piece("", tool_calls=[call if body["model"] == "old" else {"id": f"call_{index}k7ryu9", **call}])
        )
    return pieces


def _piece(content: str, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **more}


def _cut_up(text: str) -> list[dict[str, Any]]:
    return [_piece(text[at : at + 8]) for at in range(0, len(text), 8)]
