"""Ollama's dialect against a server of Ollama's, over real HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import orjson
import pytest

from gateway.providers.ollama import PROVIDER
from gateway.wire.dialect import Ask, Document
from gateway.wire.ollama import DIALECT
from tests.servers.ollama import COMPLETION_TOKENS, MODELS, PROMPT_TOKENS, TEXT, THOUGHT, OllamaServer

CITY = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": CITY}}
CLOCK = {"type": "function", "function": {"name": "clock", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture
async def server() -> AsyncIterator[OllamaServer]:
    served = OllamaServer()
    await served.start()
    yield served
    await served.stop()


def ask(model: str = "qwen3:8b", operation: str = "chat", *, stream: bool = False, **fields: Any) -> Ask:
    document = {"model": "shown", "messages": [{"role": "user", "content": "What is a pod?"}], **fields}
    return Ask(operation, document, model, "shown", "chatcmpl-abc", 7, stream=stream)


async def post(server: OllamaServer, asked: Ask) -> tuple[int, bytes]:
    encoded = DIALECT.encode(asked)
    async with (
        aiohttp.ClientSession() as session,
        session.post(server.base_url + encoded.path, data=encoded.body) as response,
    ):
        return response.status, await response.read()


async def answer(server: OllamaServer, asked: Ask) -> Document:
    status, body = await post(server, asked)
    assert status == 200
    return DIALECT.decode(asked, body)[0]


async def decoded(server: OllamaServer, asked: Ask) -> Any:
    _, body = await post(server, asked)
    decoder = DIALECT.decoder(asked)
    return decoder, [chunk["choices"][0] for chunk in decoder.feed(body) + decoder.finish()]


@pytest.mark.shows("ollama", "chat")
@pytest.mark.shows("ollama", "reasoning")
async def test_a_whole_answer_and_a_stream_say_the_same(server: OllamaServer) -> None:
    whole = await answer(server, ask(reasoning_effort="high"))
    message = whole["choices"][0]["message"]
    assert (message["content"], message["reasoning_content"]) == (TEXT, THOUGHT)
    assert whole["usage"]["prompt_tokens"] == PROMPT_TOKENS
    decoder, choices = await decoded(server, ask(reasoning_effort="high", stream=True))
    assert "".join(choice["delta"].get("content", "") for choice in choices) == TEXT
    assert "".join(choice["delta"].get("reasoning_content", "") for choice in choices) == THOUGHT
    assert decoder.done
    assert decoder.usage.completion == COMPLETION_TOKENS


@pytest.mark.shows("ollama", "tools")
@pytest.mark.shows("ollama", "parallel tools")
@pytest.mark.parametrize("model", ["qwen3:8b", "old"])
async def test_calls_are_made_and_their_results_told_by_tool(server: OllamaServer, model: str) -> None:
    asked = ask(model, tools=[WEATHER, CLOCK])
    made = (await answer(server, asked))["choices"][0]
    assert made["finish_reason"] == "tool_calls"
    calls = made["message"]["tool_calls"]
    assert [call["function"]["name"] for call in calls] == ["weather", "clock"]
    _, choices = await decoded(server, ask(model, tools=[WEATHER, CLOCK], stream=True))
    pieces = [call for choice in choices for call in choice["delta"].get("tool_calls", [])]
    assert [{name: call[name] for name in ("id", "type", "function")} for call in pieces] == calls
    results = [{"role": "tool", "tool_call_id": call["id"], "content": "mild"} for call in calls[:1]]
    asked.document["messages"] += [made["message"], *results]
    told = await answer(server, asked)
    assert told["choices"][0]["message"]["content"] == "The tool weather said: mild"


@pytest.mark.shows("ollama", "tool choice")
@pytest.mark.shows("ollama", "structured output")
async def test_a_demanded_call_comes_back_as_a_call(server: OllamaServer) -> None:
    for choice in ("required", {"type": "function", "function": {"name": "weather"}}):
        made = (await answer(server, ask(tools=[WEATHER, CLOCK], tool_choice=choice)))["choices"][0]
        assert made["finish_reason"] == "tool_calls"
        (call,) = made["message"]["tool_calls"]
        assert call["function"]["name"] == "weather"
        assert orjson.loads(call["function"]["arguments"]) == {"city": "web", "days": 3}
    wanted = {"type": "json_schema", "json_schema": {"name": "city", "schema": CITY}}
    made = (await answer(server, ask(response_format=wanted)))["choices"][0]
    assert orjson.loads(made["message"]["content"]) == {"city": "web", "days": 3}


@pytest.mark.shows("ollama", "images")
async def test_images_arrive(server: OllamaServer) -> None:
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    told = await answer(server, ask(messages=[{"role": "user", "content": [part, part]}]))
    assert told["choices"][0]["message"]["content"] == "I see 2 picture(s)."


@pytest.mark.shows("ollama", "embeddings")
async def test_embeddings_arrive(server: OllamaServer) -> None:
    told = await answer(server, ask(operation="embeddings", input=["a", "bb"], dimensions=2))
    assert [item["embedding"] for item in told["data"]] == [[1 / 64, 0.25], [2 / 64, 0.25]]


@pytest.mark.shows("ollama", "errors")
async def test_failures_are_told_in_answers_and_in_streams(server: OllamaServer) -> None:
    status, body = await post(server, ask("missing"))
    assert DIALECT.read_error("ollama", status, body).status == 404
    decoder, choices = await decoded(server, ask("breaks", stream=True))
    assert len(choices) == 1
    assert decoder.error is not None
    decoder, _ = await decoded(server, ask("cut", stream=True))
    assert (decoder.done, decoder.error) == (False, None)


@pytest.mark.shows("ollama", "models")
async def test_the_provider_lists_its_models_where_it_says_and_asks_for_a_key_only_where_there_is_one() -> None:
    locked = OllamaServer(api_key="secret")
    await locked.start()
    try:
        async with aiohttp.ClientSession() as session:
            for secret, status in (("secret", 200), ("", 401)):
                headers = PROVIDER.auth.headers(secret)
                async with session.get(locked.base_url + PROVIDER.models_path, headers=headers) as response:
                    assert response.status == status
                    body = await response.read()
                if status == 200:
                    assert DIALECT.read_models(body) == list(MODELS)
                else:
                    assert DIALECT.read_error("ollama", status, body).code == "upstream_auth"
    finally:
        await locked.stop()
