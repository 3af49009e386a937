"""Cohere's and AI21's dialects against llmock, which knows both formats by itself."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from llmock.completion import Completion, ToolCallOut
from llmock.routers import ai21, cohere
from llmock.simulation import _build_error_content
from llmock.streaming import COHERE_FINISH, cohere_events, cohere_usage, openai_chat_chunks

from gateway.wire.dialect import Ask, Document
from gateway.wire.dialects import find_dialect
from gateway.wire.usage import Usage
from tests.wire_data import splits

TEXT = Completion("Pods restart by themselves.", (), "stop", 12, 7)
CALLS = Completion(
    "", (ToolCallOut("a", "list_pods", '{"namespace":"shop"}'), ToolCallOut("b", "now", "{}")), "tool_calls", 20, 9
)
CUT = Completion("Pods", (), "length", 3, 1)
COMPLETIONS = (TEXT, CALLS, CUT)
DOCUMENT: Document = {
    "model": "shown",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Look around."}]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "a", "type": "function", "function": {"name": "list_pods", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "a", "content": "none"},
    ],
    "tools": [{"type": "function", "function": {"name": "list_pods", "parameters": {"type": "object"}}}],
    "max_tokens": 50,
    "temperature": 0.5,
    "stop": ["END"],
}


def make_ask(*, stream: bool = False) -> Ask:
    return Ask("chat", DOCUMENT, "theirs", "shown", "chatcmpl-x", 1, stream=stream)


@pytest.mark.parametrize(
    ("name", "model"), [("cohere", cohere.ChatRequest), ("ai21", ai21.ChatCompletionRequest)], ids=["cohere", "ai21"]
)
def test_requests_fit_llmock_s_models(name: str, model: Any) -> None:
    body = orjson.loads(find_dialect(name).encode(make_ask()).body)
    read = model.model_validate(body)
    assert [message.role for message in read.messages] == ["system", "user", "assistant", "tool"]
    assert read.messages[2].tool_calls[0]["id"] == read.messages[3].tool_call_id == "a"
    assert (read.model, read.max_tokens, read.temperature) == ("theirs", 50, 0.5)


def stream_of(name: str, completion: Completion) -> bytes:
    if name == "cohere":
        return b"".join(cohere_events(completion, message_id="m"))
    return b"".join(openai_chat_chunks(completion, completion_id="m", model="theirs", include_usage=True))


@pytest.mark.parametrize("name", ["cohere", "ai21"])
@pytest.mark.parametrize("completion", COMPLETIONS, ids=["text", "calls", "cut"])
def test_llmock_s_streams_decode(name: str, completion: Completion) -> None:
    for pieces in splits(stream_of(name, completion)):
        decoder = find_dialect(name).decoder(make_ask(stream=True))
        chunks = [chunk for piece in pieces for chunk in decoder.feed(piece)] + decoder.finish()
        choices = [choice for chunk in chunks for choice in chunk["choices"]]
        deltas = [choice["delta"] for choice in choices]
        assert "".join(delta.get("content") or "" for delta in deltas) == completion.text
        arguments: dict[int, str] = {}
        for call in (call for delta in deltas for call in delta.get("tool_calls", ())):
            arguments[call["index"]] = arguments.get(call["index"], "") + call["function"]["arguments"]
        assert list(arguments.values()) == [call.arguments for call in completion.tool_calls]
        assert choices[-1]["finish_reason"] == completion.finish_reason
        assert deltas[0]["role"] == "assistant"
        assert (decoder.done, decoder.error) == (True, None)
        assert decoder.usage == Usage(completion.prompt_tokens, completion.completion_tokens)


def whole_of(name: str, completion: Completion) -> Document:
    calls = [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in completion.tool_calls
    ]
    if name == "cohere":
        said = cohere.AssistantMessage(
            content=[cohere.TextContent(text=completion.text)] if completion.text else None, tool_calls=calls or None
        )
        reason = COHERE_FINISH[completion.finish_reason]
        usage = cohere.Usage(**cohere_usage(completion))
        return dict(cohere.ChatResponse(finish_reason=reason, message=said, usage=usage).model_dump())
    message = ai21.ChatMessage(role="assistant", content=completion.text or None, tool_calls=calls or None)
    choice = ai21.ChatCompletionChoice(index=0, message=message, finish_reason=completion.finish_reason)
    counts = ai21.Usage(
        prompt_tokens=completion.prompt_tokens,
        completion_tokens=completion.completion_tokens,
        total_tokens=completion.total_tokens,
    )
    return dict(ai21.ChatCompletionResponse(model="theirs", choices=[choice], usage=counts).model_dump())


@pytest.mark.parametrize("name", ["cohere", "ai21"])
@pytest.mark.parametrize("completion", COMPLETIONS, ids=["text", "calls", "cut"])
def test_llmock_s_whole_answers_decode(name: str, completion: Completion) -> None:
    answer, usage = find_dialect(name).decode(make_ask(), orjson.dumps(whole_of(name, completion)))
    (choice,) = answer["choices"]
    assert (choice["message"]["content"] or "") == completion.text
    calls = choice["message"].get("tool_calls", [])
    assert [call["function"]["arguments"] for call in calls] == [call.arguments for call in completion.tool_calls]
    assert choice["finish_reason"] == completion.finish_reason
    assert usage == Usage(completion.prompt_tokens, completion.completion_tokens)


@pytest.mark.parametrize("name", ["cohere", "ai21"])
@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "upstream_4xx"),
        (401, "upstream_auth"),
        (403, "upstream_auth"),
        (404, "upstream_4xx"),
        (422, "upstream_4xx"),
        (429, "upstream_429"),
        (500, "upstream_5xx"),
        (503, "upstream_overloaded"),
        (529, "upstream_overloaded"),
    ],
)
def test_llmock_s_errors_are_told_apart(name: str, status: int, code: str) -> None:
    body = orjson.dumps(_build_error_content(provider=name, status_code=status))
    assert find_dialect(name).read_error("p", status, body).code == code
