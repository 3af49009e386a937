"""The official openai package against our own server for those who speak OpenAI's format and llmock does not have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam
from pydantic import BaseModel

from tests.acceptance.gateway_process import MASTER_KEY
from tests.acceptance.provider_serving import INPUT_USD_PER_MTOK, OUTPUT_USD_PER_MTOK, Provided, shown
from tests.acceptance.served import call
from tests.acceptance.test_openai_sdk import ASK, TOOLS
from tests.servers.compatible import COMPLETION_TOKENS, KINDS, PROMPT_TOKENS, TEXT
from tests.servers.serving import Request

ALL = tuple(KINDS)
KEYED = tuple(name for name, kind in KINDS.items() if kind.unknown_key)
# Who knows `max_completion_tokens` by that name.
NEW_NAME = ("fireworks", "vllm")
COST_NANO_USD = round(PROMPT_TOKENS * INPUT_USD_PER_MTOK * 1000 + COMPLETION_TOKENS * OUTPUT_USD_PER_MTOK * 1000)


class City(BaseModel):
    """What the structured answers are."""

    name: str
    people: int


@pytest.fixture
def client(provided: Provided) -> Iterator[OpenAI]:
    """The SDK, as a user would make it; the server's requests so far are forgotten."""
    provided.own.compatible.requests.clear()
    with provided.openai() as made:
        yield made


def words_of(error: Any) -> str:
    """The message in an error's body, wherever it stands."""
    inner = error.get("error", error)
    words = inner if isinstance(inner, str) else inner.get("message") or inner["detail"]
    assert isinstance(words, str)
    return words


def last(provided: Provided) -> Request:
    """What the server was asked last."""
    return provided.own.compatible.requests[-1]


@pytest.mark.parametrize("kind", shown("chat, usage", *ALL))
def test_a_chat_is_answered_and_metered(client: OpenAI, provided: Provided, kind: str) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model=kind, messages=ASK, store=False, max_completion_tokens=50
    )
    answer = raw.parse()
    assert (answer.model, answer.choices[0].message.content, answer.choices[0].finish_reason) == (kind, TEXT, "stop")
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (PROMPT_TOKENS, COMPLETION_TOKENS)
    assert (raw.headers["x-gateway-provider"], raw.headers["x-gateway-model"]) == (kind, KINDS[kind].model)
    assert raw.headers["x-gateway-dropped-params"] == "store"
    (row,) = provided.rows(raw.headers["x-request-id"])
    counted = (row["input_tokens"], row["output_tokens"], row["cost_nano_usd"], row["estimated"])
    assert counted == (PROMPT_TOKENS, COMPLETION_TOKENS, COST_NANO_USD, False)
    asked = last(provided)
    assert asked.path == KINDS[kind].path + "/chat/completions"
    limit = "max_completion_tokens" if kind in NEW_NAME else "max_tokens"
    assert asked.json == {"model": KINDS[kind].model, "messages": ASK, limit: 50}


@pytest.mark.parametrize("kind", shown("streaming, usage", *ALL))
def test_a_stream_is_the_same_text_and_is_metered(client: OpenAI, provided: Provided, kind: str) -> None:
    with client.chat.completions.with_streaming_response.create(model=kind, messages=ASK, stream=True) as raw:
        chunks = list(raw.parse())
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == TEXT
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices[0].finish_reason] == ["stop"]
    assert {chunk.model for chunk in chunks} == {kind}
    assert last(provided).json["stream_options"] == {"include_usage": True}
    (row,) = provided.rows(raw.headers["x-request-id"])
    counted = (row["streamed"], row["outcome"], row["input_tokens"], row["output_tokens"], row["estimated"])
    assert counted == (True, "ok", PROMPT_TOKENS, COMPLETION_TOKENS, False)


@pytest.mark.parametrize("kind", shown("tools, parallel tools", *ALL))
def test_tools_are_called_whole_and_streamed_and_their_results_go_back(
    client: OpenAI, provided: Provided, kind: str
) -> None:
    first = client.chat.completions.create(model=kind, messages=ASK, tools=TOOLS)
    assert first.choices[0].finish_reason == "tool_calls"
    calls = [made for made in first.choices[0].message.tool_calls or [] if made.type == "function"]
    assert [made.function.name for made in calls] == ["get_weather", "get_time"]
    assert [made.id for made in calls] == [f"{KINDS[kind].call_id}{place}" for place in (0, 1)]
    with client.chat.completions.stream(model=kind, messages=ASK, tools=TOOLS) as stream:
        for _ in stream:
            pass
        streamed = stream.get_final_completion().choices[0].message.tool_calls or []
    assert [(made.id, made.function.arguments) for made in streamed] == [
        (made.id, made.function.arguments) for made in calls
    ]
    said: Any = first.choices[0].message.model_dump(exclude_none=True)
    results: list[ChatCompletionMessageParam] = [
        {"role": "tool", "tool_call_id": made.id, "content": f"the result of {made.function.name}"} for made in calls
    ]
    second = client.chat.completions.create(model=kind, messages=[*ASK, said, *results], tools=TOOLS)
    assert second.choices[0].message.content == "The tool said: the result of get_time"
    assert [message["tool_call_id"] for message in last(provided).json["messages"][-2:]] == [made.id for made in calls]


@pytest.mark.parametrize("kind", shown("structured output", *ALL))
def test_a_schema_is_answered_and_parsed(client: OpenAI, kind: str) -> None:
    answer = client.chat.completions.parse(model=kind, messages=ASK, response_format=City)
    assert answer.choices[0].message.parsed == City(name="web", people=3)


@pytest.mark.parametrize("kind", shown("embeddings", *ALL))
def test_embeddings(client: OpenAI, provided: Provided, kind: str) -> None:
    raw = client.embeddings.with_raw_response.create(
        model=f"{kind}-embed", input=["one", "two two"], encoding_format="float"
    )
    answer = raw.parse()
    assert [item.embedding for item in answer.data] == [[3 / 64, -0.5], [7 / 64, -0.5]]
    (row,) = provided.rows(raw.headers["x-request-id"])
    assert (row["input_tokens"], row["estimated"]) == (answer.usage.prompt_tokens, False) == (6, False)


@pytest.mark.parametrize("kind", shown("models", *ALL))
def test_the_providers_models_are_listed(provided: Provided, kind: str) -> None:
    url = provided.gateway.url + "/admin/providers"
    _, _, providers = call("GET", url, key=MASTER_KEY)
    (found,) = [made["id"] for made in providers["data"] if made["name"] == kind]
    status, _, listed = call("GET", f"{url}/{found}/models", key=MASTER_KEY)
    assert (status, [model["id"] for model in listed["data"]]) == (200, [KINDS[kind].model])


@pytest.mark.parametrize("kind", shown("errors", *ALL))
@pytest.mark.parametrize("stream", [False, True])
def test_a_model_that_is_not_there_is_told_in_the_providers_words(client: OpenAI, kind: str, stream: bool) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model=f"{kind}-missing", messages=ASK, stream=stream)
    assert words_of(KINDS[kind].missing[1]) in caught.value.message


@pytest.mark.parametrize("kind", shown("errors", *ALL))
def test_a_prompt_that_is_too_long_is_known_as_one_and_goes_to_the_larger_model(client: OpenAI, kind: str) -> None:
    raw = client.chat.completions.with_raw_response.create(model=f"{kind}-short", messages=ASK)
    assert raw.parse().choices[0].message.content == TEXT
    assert (raw.headers["x-gateway-model"], raw.headers["x-gateway-attempts"]) == (KINDS[kind].model, "2")


@pytest.mark.parametrize("kind", shown("errors", *KEYED))
def test_a_key_that_the_provider_refuses_is_not_the_clients_fault(
    client: OpenAI, provided: Provided, kind: str
) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model=f"{kind}-wrong-key", messages=ASK)
    assert (caught.value.status_code, caught.value.code) == (502, "upstream_auth")
    assert "wrong-key" not in str(caught.value.body)
    _, _, text = call("GET", provided.gateway.url + "/metrics", key=MASTER_KEY)
    assert f'gateway_provider_keys_benched{{provider="{kind}_stranger"}}' in text.decode()
