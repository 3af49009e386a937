"""The official openai package against our own servers for Ollama, Hugging Face, Azure, Bedrock and PaLM."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import orjson
import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam
from pydantic import BaseModel

from tests.acceptance.provider_serving import OWN_MODELS, Provided, shown
from tests.acceptance.test_openai_sdk import ASK, TOOLS
from tests.servers import huggingface, ollama
from tests.servers.serving import Server

# What each model says, and the tokens that it says it took: None where the provider tells none.
SAID: dict[str, tuple[str, tuple[int, int] | None]] = {
    "ollama": (ollama.TEXT, (ollama.PROMPT_TOKENS, ollama.COMPLETION_TOKENS)),
    "huggingface": (huggingface.TEXT, (16, 9)),
    "huggingface-tgi": (huggingface.TEXT, (16, 9)),
    "azure": ("Hello from Azure.", (9, 5)),
    "azure-v1": ("Hello from Azure.", (9, 5)),
    "azure-entra": ("Hello from Azure.", (9, 5)),
    "bedrock": ("Hello from Bedrock.", (12, 7)),
    "bedrock-bearer": ("Hello from Bedrock.", (12, 7)),
    "palm": ("Hello from PaLM.", None),
    "palm-text": ("Hello from PaLM.", None),
}
# The provider type that a model's tests speak for.
TYPES = {"azure-v1": "azure_v1"}
WITH_TOOLS = ("ollama", "huggingface", "azure", "azure-v1", "bedrock")
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5E"
    "rkJggg=="
)


class City(BaseModel):
    """What the structured answers are."""

    name: str
    people: int


def by_model(features: str, *models: str) -> list[Any]:
    """Parameters: each of `models`, marked as showing `features` of its provider."""
    made = []
    for model in models:
        (mark,) = shown(features, TYPES.get(model, model.partition("-")[0]))
        made.append(pytest.param(model, marks=mark.marks))
    return made


@pytest.fixture
def client(provided: Provided) -> Iterator[OpenAI]:
    """The SDK, as a user would make it; the servers' requests so far are forgotten."""
    for server in provided.own.all:
        server.requests.clear()
    with provided.openai() as made:
        yield made


def sent(provided: Provided, model: str) -> bytes:
    """The body of the last request that the model's server got."""
    server: Server = getattr(provided.own, model.partition("-")[0])
    return server.requests[-1].body


@pytest.mark.parametrize("model", by_model("chat, usage", *SAID))
def test_a_chat_is_answered_and_metered(client: OpenAI, provided: Provided, model: str) -> None:
    text, counts = SAID[model]
    raw = client.chat.completions.with_raw_response.create(model=model, messages=ASK)
    answer = raw.parse()
    assert (answer.model, answer.choices[0].message.content) == (model, text)
    assert answer.choices[0].finish_reason == "stop"
    provider, target = OWN_MODELS[model]
    assert (raw.headers["x-gateway-provider"], raw.headers["x-gateway-model"]) == (provider, target)
    (row,) = provided.rows(raw.headers["x-request-id"])
    assert row["estimated"] == (counts is None)
    assert row["provider_id"] is not None
    assert row["model_id"] is not None
    assert row["cost_nano_usd"] == row["input_tokens"] * 1000 + row["output_tokens"] * 3000
    assert float(raw.headers["x-gateway-cost-usd"]) == pytest.approx(row["cost_nano_usd"] / 1e9)
    if counts is not None:
        assert answer.usage is not None
        assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == counts
        assert (row["input_tokens"], row["output_tokens"]) == counts


@pytest.mark.parametrize("model", by_model("streaming", *SAID))
def test_a_stream_is_the_same_text(client: OpenAI, provided: Provided, model: str) -> None:
    text, counts = SAID[model]
    with client.chat.completions.with_streaming_response.create(
        model=model, messages=ASK, stream=True, stream_options={"include_usage": True}
    ) as raw:
        chunks = list(raw.parse())
    told = [chunk for chunk in chunks if chunk.choices]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in told) == text
    assert [chunk.choices[0].finish_reason for chunk in told if chunk.choices[0].finish_reason] == ["stop"]
    assert told[0].choices[0].delta.role == "assistant"
    (row,) = provided.rows(raw.headers["x-request-id"])
    assert (row["streamed"], row["outcome"], row["estimated"]) == (True, "ok", counts is None)
    if counts is not None:
        usage = chunks[-1].usage
        assert usage is not None
        assert (usage.prompt_tokens, usage.completion_tokens) == counts
        assert (row["input_tokens"], row["output_tokens"]) == counts


@pytest.mark.parametrize("model", by_model("n", "ollama", "huggingface", "bedrock"))
def test_several_answers_in_one_stream(client: OpenAI, provided: Provided, model: str) -> None:
    text, counts = SAID[model]
    with client.chat.completions.with_streaming_response.create(
        model=model, messages=ASK, n=2, stream=True, stream_options={"include_usage": True}
    ) as raw:
        chunks = list(raw.parse())
    for index in (0, 1):
        told = [choice for chunk in chunks for choice in chunk.choices if choice.index == index]
        assert "".join(choice.delta.content or "" for choice in told) == text
        assert [choice.finish_reason for choice in told if choice.finish_reason] == ["stop"]
    assert counts is not None
    usage = chunks[-1].usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens) == (2 * counts[0], 2 * counts[1])
    rows = provided.rows(raw.headers["x-request-id"], at_least=2)
    assert [(row["input_tokens"], row["output_tokens"]) for row in rows] == [counts, counts]
    assert all(row["cost_nano_usd"] == counts[0] * 1000 + counts[1] * 3000 for row in rows)


def _streamed_calls(client: OpenAI, model: str) -> list[tuple[str, str]]:
    names: dict[int, str] = {}
    arguments: dict[int, str] = {}
    for chunk in client.chat.completions.create(model=model, messages=ASK, tools=TOOLS, stream=True):
        for part in (chunk.choices[0].delta.tool_calls or []) if chunk.choices else []:
            assert part.function is not None
            names[part.index] = names.get(part.index, "") + (part.function.name or "")
            arguments[part.index] = arguments.get(part.index, "") + (part.function.arguments or "")
    return [(name, arguments[index]) for index, name in names.items()]


@pytest.mark.parametrize("model", by_model("tools", *WITH_TOOLS, "ollama-old", "azure-entra"))
def test_tools_are_called_and_their_results_go_back(client: OpenAI, provided: Provided, model: str) -> None:
    first = client.chat.completions.create(model=model, messages=ASK, tools=TOOLS)
    assert first.choices[0].finish_reason == "tool_calls"
    calls = [made for made in first.choices[0].message.tool_calls or [] if made.type == "function"]
    assert calls[0].function.name == "get_weather"
    assert "city" in orjson.loads(calls[0].function.arguments)
    assert len({made.id for made in calls}) == len(calls)
    assert all(made.id for made in calls)
    assert _streamed_calls(client, model) == [(made.function.name, made.function.arguments) for made in calls]
    said: Any = first.choices[0].message.model_dump(exclude_none=True)
    results: list[ChatCompletionMessageParam] = [
        {"role": "tool", "tool_call_id": made.id, "content": f"the result of {made.function.name}"} for made in calls
    ]
    second = client.chat.completions.create(model=model, messages=[*ASK, said, *results], tools=TOOLS)
    assert second.choices[0].finish_reason == "stop"
    assert second.choices[0].message.content
    body = sent(provided, model)
    for made in calls:
        assert f"the result of {made.function.name}".encode() in body


@pytest.mark.parametrize("model", by_model("parallel tools", "ollama", "huggingface"))
def test_several_tools_are_called_at_once(client: OpenAI, model: str) -> None:
    answer = client.chat.completions.create(model=model, messages=ASK, tools=TOOLS)
    calls = [made for made in answer.choices[0].message.tool_calls or [] if made.type == "function"]
    assert [made.function.name for made in calls] == ["get_weather", "get_time"]


@pytest.mark.parametrize("model", by_model("tool choice", "ollama", "bedrock"))
def test_a_named_tool_is_the_one_that_is_called(client: OpenAI, model: str) -> None:
    answer = client.chat.completions.create(
        model=model,
        messages=ASK,
        tools=TOOLS,
        tool_choice={"type": "function", "function": {"name": "get_time"}},
    )
    calls = [made for made in answer.choices[0].message.tool_calls or [] if made.type == "function"]
    assert [made.function.name for made in calls] == ["get_time"]


@pytest.mark.parametrize("model", by_model("structured output", "ollama", "huggingface"))
def test_a_schema_is_answered_and_parsed(client: OpenAI, model: str) -> None:
    answer = client.chat.completions.parse(model=model, messages=ASK, response_format=City)
    assert answer.choices[0].message.parsed == City(name="web", people=3)
    assert answer.choices[0].finish_reason == "stop"
    with client.chat.completions.stream(model=model, messages=ASK, response_format=City) as stream:
        for _ in stream:
            pass
        assert stream.get_final_completion().choices[0].message.parsed == City(name="web", people=3)


@pytest.mark.shows("bedrock", "structured output")
def test_bedrock_answers_a_schema_by_way_of_a_tool(client: OpenAI) -> None:
    class Place(BaseModel):
        city: str

    answer = client.chat.completions.parse(model="bedrock", messages=ASK, response_format=Place)
    assert answer.choices[0].message.parsed == Place(city="Paris")
    assert not answer.choices[0].message.tool_calls
    assert answer.choices[0].finish_reason == "stop"
    with client.chat.completions.stream(model="bedrock", messages=ASK, response_format=Place) as stream:
        for _ in stream:
            pass
        assert stream.get_final_completion().choices[0].message.parsed == Place(city="Paris")


@pytest.mark.parametrize("model", by_model("images", *WITH_TOOLS))
def test_an_image_reaches_the_provider(client: OpenAI, provided: Provided, model: str) -> None:
    content: Any = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": PIXEL}}]
    answer = client.chat.completions.create(model=model, messages=[{"role": "user", "content": content}])
    assert answer.choices[0].message.content
    assert PIXEL.partition(",")[2].encode() in sent(provided, model)


@pytest.mark.shows("ollama", "reasoning")
def test_ollamas_thoughts_are_told_apart(client: OpenAI) -> None:
    message: Any = (
        client.chat.completions.create(model="ollama", messages=ASK, reasoning_effort="low").choices[0].message
    )
    assert (message.reasoning_content, message.content) == (ollama.THOUGHT, ollama.TEXT)


# Model and input, and what the provider says that it took: None where it does not say.
EMBEDDINGS = [
    pytest.param("ollama-embed", ["one", "two two"], 2, marks=pytest.mark.shows("ollama", "embeddings")),
    pytest.param("huggingface-embed", ["one", "two two"], None, marks=pytest.mark.shows("huggingface", "embeddings")),
    pytest.param("azure-embed", ["one"], 4, marks=pytest.mark.shows("azure", "embeddings")),
    pytest.param("bedrock-titan", ["one"], 4, marks=pytest.mark.shows("bedrock", "embeddings")),
    pytest.param("bedrock-cohere", ["one", "two two"], 8, marks=pytest.mark.shows("bedrock", "embeddings")),
    pytest.param("palm-embed", ["one", "two two"], None, marks=pytest.mark.shows("palm", "embeddings")),
]


@pytest.mark.parametrize(("model", "texts", "tokens"), EMBEDDINGS)
def test_embeddings(client: OpenAI, provided: Provided, model: str, texts: list[str], tokens: int | None) -> None:
    raw = client.embeddings.with_raw_response.create(model=model, input=texts)
    answer = raw.parse()
    assert [item.index for item in answer.data] == list(range(len(texts)))
    assert all(isinstance(number, float) for item in answer.data for number in item.embedding)
    (row,) = provided.rows(raw.headers["x-request-id"])
    assert row["estimated"] == (tokens is None)
    assert row["input_tokens"] > 0
    if tokens is not None:
        assert (answer.usage.prompt_tokens, row["input_tokens"]) == (tokens, tokens)


WRONG_KEYS = ("ollama-wrong-key", "huggingface-wrong-key", "azure-wrong-key", "bedrock-wrong-key", "palm-wrong-key")


@pytest.mark.parametrize("model", by_model("errors", *WRONG_KEYS, "azure-entra-refused", "bedrock-denied"))
@pytest.mark.parametrize("stream", [False, True])
def test_credentials_that_the_provider_refuses_are_not_the_clients_fault(
    client: OpenAI, model: str, stream: bool
) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model=model, messages=ASK, stream=stream)
    assert (caught.value.status_code, caught.value.code) == (502, "upstream_auth")
    assert "wrong-key" not in str(caught.value.body)


FAILURES = [
    ("ollama-missing", 404, "upstream_4xx"),
    ("huggingface-missing", 400, "model_not_found"),
    ("huggingface-busy", 503, "upstream_overloaded"),
    ("azure-missing", 404, "DeploymentNotFound"),
    ("azure-throttled", 429, "upstream_429"),
    ("bedrock-throttled", 429, "upstream_429"),
    ("bedrock-too-long", 400, "context_length_exceeded"),
]


@pytest.mark.parametrize(
    ("model", "status", "code"),
    [pytest.param(*row, marks=pytest.mark.shows(row[0].partition("-")[0], "errors")) for row in FAILURES],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_providers_refusal_has_its_status_and_code(
    client: OpenAI, model: str, status: int, code: str, stream: bool
) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(model=model, messages=ASK, stream=stream)
    assert (caught.value.status_code, caught.value.code) == (status, code)
    if model == "azure-throttled":
        assert caught.value.response.headers["retry-after"] == "7"


@pytest.mark.parametrize(("model", "code"), [("azure", "content_filter"), ("palm", "content_policy_violation")])
def test_a_filtered_prompt_is_told_as_one(client: OpenAI, model: str, code: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=model, messages=[{"role": "user", "content": "filtered, please"}])
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("model", "code"),
    [
        ("ollama-breaks", "upstream_bad_answer"),
        ("ollama-cut", "upstream_truncated"),
        ("huggingface-breaks", "upstream_5xx"),
        ("huggingface-cut", "upstream_truncated"),
    ],
)
def test_a_stream_that_fails_midway_ends_with_an_error(client: OpenAI, model: str, code: str) -> None:
    with pytest.raises(openai.APIError) as caught:
        list(client.chat.completions.create(model=model, messages=ASK, stream=True))
    assert caught.value.code == code


def test_an_exception_in_bedrocks_event_stream_is_an_error(client: OpenAI) -> None:
    with pytest.raises(openai.APIError) as caught:
        list(client.chat.completions.create(model="bedrock-broken-off", messages=ASK, stream=True))
    assert "The model stopped." in caught.value.message


def test_every_bedrock_request_is_signed_for_itself(client: OpenAI, provided: Provided) -> None:
    for words in ("one", "two"):
        client.chat.completions.create(model="bedrock", messages=[{"role": "user", "content": words}])
    signatures = [request.headers["authorization"] for request in provided.own.bedrock.requests]
    assert len(set(signatures)) == 2
    assert all(signature.startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/") for signature in signatures)
    assert "%3A0/converse" in provided.own.bedrock.requests[0].path
    client.chat.completions.create(model="bedrock-bearer", messages=ASK)
    assert provided.own.bedrock.requests[-1].headers["authorization"].startswith("Bearer ")


def test_one_entra_token_serves_many_requests(client: OpenAI, provided: Provided) -> None:
    for _ in range(3):
        client.chat.completions.create(model="azure-entra", messages=ASK)
    asked = [request for request in provided.own.azure.requests if "/chat/completions" in request.path]
    assert {request.headers["authorization"] for request in asked} == {f"Bearer {provided.own.azure.tokens[0]}"}
    assert all("api-key" not in request.headers for request in asked)
    assert len(provided.own.azure.tokens) == 1


def test_palm_refuses_what_it_never_had(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="palm", messages=ASK, tools=TOOLS)
    assert (caught.value.code, caught.value.param) == ("unsupported_parameter", "tools")
