"""Hugging Face's dialect against a server of the router's and of its users' own kinds, over real HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import orjson
import pytest

from gateway.providers.huggingface import PROVIDER
from gateway.wire.dialect import Ask, Document
from gateway.wire.huggingface import DIALECT
from tests.servers.huggingface import ANSWER_ID, MODELS, TEXT, USAGE, HuggingFaceServer

CITY = {"type": "object", "properties": {"city": {"type": "string"}}}
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": CITY}}
CLOCK = {"type": "function", "function": {"name": "clock"}}


@pytest.fixture
async def server() -> AsyncIterator[HuggingFaceServer]:
    served = HuggingFaceServer()
    await served.start()
    yield served
    await served.stop()


def ask(model: str = MODELS[0], operation: str = "chat", *, stream: bool = False, way: str = "", **fields: Any) -> Ask:
    document = {"model": "shown", "messages": [{"role": "user", "content": "What is a service?"}], **fields}
    options = {**PROVIDER.options, **({"embeddings": way} if way else {})}
    return Ask(operation, document, model, "shown", "chatcmpl-abc", 7, stream=stream, options=options)


async def post(server: HuggingFaceServer, asked: Ask, secret: str = "hf_tests") -> tuple[int, bytes]:
    encoded = DIALECT.encode(asked)
    headers = PROVIDER.auth.headers(secret)
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(server.base_url + encoded.path, data=encoded.body) as response,
    ):
        return response.status, await response.read()


async def answer(server: HuggingFaceServer, asked: Ask) -> Document:
    status, body = await post(server, asked)
    assert status == 200
    return DIALECT.decode(asked, body)[0]


async def decoded(server: HuggingFaceServer, asked: Ask) -> Any:
    _, body = await post(server, asked)
    decoder = DIALECT.decoder(asked)
    return decoder, [chunk["choices"][0] for chunk in decoder.feed(body) + decoder.finish()]


@pytest.mark.shows("huggingface", "chat")
@pytest.mark.shows("huggingface", "streaming")
@pytest.mark.parametrize("model", [f"{MODELS[0]}:together", "tgi"])
async def test_a_whole_answer_and_a_stream_say_the_same(server: HuggingFaceServer, model: str) -> None:
    whole = await answer(server, ask(model))
    assert whole["id"] == ANSWER_ID
    assert whole["choices"][0]["message"]["content"] == TEXT
    assert whole["usage"]["prompt_tokens"] == USAGE["prompt_tokens"]
    decoder, choices = await decoded(server, ask(model, stream=True))
    assert "".join(choice["delta"].get("content", "") for choice in choices) == TEXT
    assert decoder.done
    assert decoder.usage.completion == USAGE["completion_tokens"]
    assert {request.json["model"] for request in server.requests} == {model}


@pytest.mark.shows("huggingface", "tools")
@pytest.mark.shows("huggingface", "parallel tools")
async def test_calls_are_made_and_their_results_told(server: HuggingFaceServer) -> None:
    asked = ask(tools=[WEATHER, CLOCK])
    made = (await answer(server, asked))["choices"][0]
    assert made["finish_reason"] == "tool_calls"
    _, choices = await decoded(server, ask(tools=[WEATHER, CLOCK], stream=True))
    calls: dict[int, dict[str, Any]] = {}
    for piece in [call for choice in choices for call in choice["delta"].get("tool_calls", [])]:
        call = calls.setdefault(piece["index"], {**piece, "function": {**piece["function"], "arguments": ""}})
        call["function"]["arguments"] += piece["function"]["arguments"]
        call.pop("index", None)
    assert list(calls.values()) == made["message"]["tool_calls"]
    call_id = made["message"]["tool_calls"][0]["id"]
    asked.document["messages"] += [made["message"], {"role": "tool", "tool_call_id": call_id, "content": "mild"}]
    assert (await answer(server, asked))["choices"][0]["message"]["content"] == "The tool said: mild"


@pytest.mark.shows("huggingface", "structured output")
@pytest.mark.shows("huggingface", "images")
async def test_schemas_and_images_arrive(server: HuggingFaceServer) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "city", "schema": CITY}}
    made = (await answer(server, ask(response_format=wanted)))["choices"][0]
    assert orjson.loads(made["message"]["content"]) == {"city": "web"}
    part = {"type": "image_url", "image_url": {"url": "https://a.test/b.png"}}
    made = (await answer(server, ask(messages=[{"role": "user", "content": [part]}])))["choices"][0]
    assert made["message"]["content"] == "I see 1 picture(s)."


@pytest.mark.shows("huggingface", "embeddings")
@pytest.mark.parametrize("way", ["feature-extraction", "openai", "embed"])
async def test_embeddings_arrive_from_every_kind_of_server(server: HuggingFaceServer, way: str) -> None:
    told = await answer(server, ask("org/minilm", "embeddings", way=way, input=["a", "bb"]))
    assert [item["embedding"] for item in told["data"]] == [[1 / 64, 0.25, -0.5], [2 / 64, 0.25, -0.5]]


@pytest.mark.shows("huggingface", "errors")
async def test_failures_are_told_in_answers_and_in_streams(server: HuggingFaceServer) -> None:
    for model, code in (("missing", "upstream_4xx"), ("busy", "upstream_overloaded")):
        status, body = await post(server, ask(model))
        assert DIALECT.read_error("huggingface", status, body).code == code
    status, body = await post(server, ask(), secret="hf_wrong")
    assert DIALECT.read_error("huggingface", status, body).code == "upstream_auth"
    decoder, _ = await decoded(server, ask("breaks", stream=True))
    assert decoder.error.code == "upstream_5xx"
    decoder, _ = await decoded(server, ask("cut", stream=True))
    assert (decoder.done, decoder.error) == (False, None)


@pytest.mark.shows("huggingface", "models")
async def test_the_provider_lists_its_models_where_it_says(server: HuggingFaceServer) -> None:
    async with (
        aiohttp.ClientSession(headers=PROVIDER.auth.headers("hf_tests")) as session,
        session.get(server.base_url + PROVIDER.models_path) as response,
    ):
        assert DIALECT.read_models(await response.read()) == list(MODELS)
