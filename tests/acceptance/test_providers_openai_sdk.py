"""The official openai package against llmock's ten providers, through the gateway."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import openai
import orjson
import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam
from pydantic import BaseModel

from tests.acceptance.provider_serving import MOCKED, Provided, shown
from tests.acceptance.test_openai_sdk import ASK, CALLS, TOOLS

NATIVE_N = ("openai", "mistral", "together", "xai")
ALL = tuple(MOCKED)
WITH_TOOLS = tuple(name for name in ALL if name != "perplexity")  # its chat API had none
# llmock tells these no usage at the end of a stream unless asked as OpenAI is, which they refuse.
SILENT_STREAMS = ("mistral", "ai21")
# Together's whole answers say `eos`; its bytes pass, so its word does.
ENDED = {"together": "eos"}
TEXT = "A pod network gives every pod an address of its own."
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5E"
    "rkJggg=="
)


class City(BaseModel):
    """What the structured answers are."""

    name: str
    people: int


@pytest.fixture
def client(provided: Provided) -> Iterator[OpenAI]:
    """The SDK, and an llmock that does as it likes."""
    provided.script()
    with provided.openai() as made:
        yield made


def cost_nano_usd(prompt_tokens: int, completion_tokens: int) -> int:
    """By the prices of `provider_serving`."""
    return prompt_tokens * 1000 + completion_tokens * 3000


@pytest.mark.parametrize("provider", shown("chat", *ALL))
def test_a_chat_has_its_text_its_names_and_its_cost(client: OpenAI, provided: Provided, provider: str) -> None:
    provided.script({"type": "reply", "text": TEXT})
    raw = client.chat.completions.with_raw_response.create(model=provider, messages=ASK, max_tokens=500)
    answer = raw.parse()
    assert answer.model == provider
    assert answer.choices[0].message.content == TEXT
    assert answer.choices[0].message.role == "assistant"
    assert not answer.choices[0].message.tool_calls
    assert raw.headers["x-gateway-provider"] == provider
    assert raw.headers["x-gateway-model"] == provided.bodies()[0].get("model", "gemini-2.5-pro")
    assert raw.headers["x-gateway-attempts"] == "1"


@pytest.mark.parametrize("provider", shown("usage", *ALL))
def test_usage_is_metered_as_the_provider_counts_it(client: OpenAI, provided: Provided, provider: str) -> None:
    raw = client.chat.completions.with_raw_response.create(model=provider, messages=ASK)
    usage = raw.parse().usage
    assert usage is not None
    assert usage.prompt_tokens >= 5
    assert usage.completion_tokens >= 5
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    (row,) = provided.rows(raw.headers["x-request-id"])
    assert (row["input_tokens"], row["output_tokens"]) == (usage.prompt_tokens, usage.completion_tokens)
    assert row["cost_nano_usd"] == cost_nano_usd(usage.prompt_tokens, usage.completion_tokens)
    assert Decimal(raw.headers["x-gateway-cost-usd"]) == row["cost_amount"]
    assert (row["provider_name"], row["model_name"], row["estimated"]) == (provider, provider, False)


@pytest.mark.parametrize("provider", shown("streaming", *ALL))
def test_a_stream_is_the_same_text_and_ends_with_its_usage(client: OpenAI, provided: Provided, provider: str) -> None:
    provided.script({"type": "reply", "text": TEXT})
    with client.chat.completions.with_streaming_response.create(
        model=provider, messages=ASK, stream=True, stream_options={"include_usage": True}
    ) as raw:
        chunks = list(raw.parse())
    told = [chunk for chunk in chunks if chunk.choices]
    assert told[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in told) == TEXT
    assert [chunk.choices[0].finish_reason for chunk in told if chunk.choices[0].finish_reason] == ["stop"]
    assert {chunk.model for chunk in chunks} == {provider}
    assert len({chunk.id for chunk in chunks}) == 1
    assert len(told) > 5
    (row,) = provided.rows(raw.headers["x-request-id"])
    assert (row["streamed"], row["outcome"], row["estimated"]) == (True, "ok", provider in SILENT_STREAMS)
    assert row["output_tokens"] > 5
    if provider not in SILENT_STREAMS:
        usage = chunks[-1].usage
        assert usage is not None
        assert chunks[-1].choices == []
        assert (row["input_tokens"], row["output_tokens"]) == (usage.prompt_tokens, usage.completion_tokens)


@pytest.mark.parametrize("provider", shown("tools, parallel tools", *WITH_TOOLS))
def test_tools_are_called_and_their_results_go_back(client: OpenAI, provided: Provided, provider: str) -> None:
    provided.script({"type": "reply", "tool_calls": CALLS}, {"type": "reply", "text": TEXT})
    first = client.chat.completions.create(model=provider, messages=ASK, tools=TOOLS)
    assert first.choices[0].finish_reason == "tool_calls"
    calls = [made for made in first.choices[0].message.tool_calls or [] if made.type == "function"]
    assert [(made.function.name, orjson.loads(made.function.arguments)) for made in calls] == [
        (made["name"], made["arguments"]) for made in CALLS
    ]
    assert len({made.id for made in calls}) == 2
    results: list[ChatCompletionMessageParam] = [
        {"role": "tool", "tool_call_id": made.id, "content": f"the result of {made.function.name}"} for made in calls
    ]
    said: Any = first.choices[0].message.model_dump(exclude_none=True)
    second = client.chat.completions.create(model=provider, messages=[*ASK, said, *results], tools=TOOLS)
    assert second.choices[0].message.content == TEXT
    assert second.choices[0].finish_reason == ENDED.get(provider, "stop")
    sent = orjson.dumps(provided.bodies()[1]).decode()
    assert "the result of get_weather" in sent
    assert "the result of get_time" in sent


@pytest.mark.parametrize("provider", shown("tools", *WITH_TOOLS))
def test_streamed_tool_calls_come_together(client: OpenAI, provided: Provided, provider: str) -> None:
    provided.script({"type": "reply", "tool_calls": CALLS})
    names: dict[int, str] = {}
    arguments: dict[int, str] = {}
    reasons = []
    for chunk in client.chat.completions.create(model=provider, messages=ASK, tools=TOOLS, stream=True):
        reasons.append(chunk.choices[0].finish_reason)
        for part in chunk.choices[0].delta.tool_calls or []:
            assert part.function is not None
            names[part.index] = names.get(part.index, "") + (part.function.name or "")
            arguments[part.index] = arguments.get(part.index, "") + (part.function.arguments or "")
    assert list(names.values()) == [made["name"] for made in CALLS]
    assert [orjson.loads(text) for text in arguments.values()] == [made["arguments"] for made in CALLS]
    assert [reason for reason in reasons if reason] == ["tool_calls"]


NAMING = tuple(name for name in WITH_TOOLS if name != "ai21")  # which has no tool_choice


@pytest.mark.parametrize("provider", shown("tool choice", *NAMING))
def test_a_named_tool_is_the_one_that_is_called(client: OpenAI, provider: str) -> None:
    answer = client.chat.completions.create(
        model=provider,
        messages=ASK,
        tools=TOOLS,
        tool_choice={"type": "function", "function": {"name": "get_time"}},
    )
    assert [made.function.name for made in answer.choices[0].message.tool_calls or [] if made.type == "function"] == [
        "get_time"
    ]


# llmock does not know Cohere's word for it.
@pytest.mark.parametrize("provider", [name for name in NAMING if name != "cohere"])
def test_tools_that_are_not_to_be_called_are_not(client: OpenAI, provider: str) -> None:
    answer = client.chat.completions.create(model=provider, messages=ASK, tools=TOOLS, tool_choice="none")
    assert not answer.choices[0].message.tool_calls
    assert answer.choices[0].message.content


# llmock reads the schema where it knows the field; to these it must be told what to say.
UNAWARE = ("anthropic", "ai21")


@pytest.mark.parametrize("provider", shown("structured output", *ALL))
def test_a_schema_is_answered_and_parsed(client: OpenAI, provided: Provided, provider: str) -> None:
    if provider in UNAWARE:
        provided.script({"type": "reply", "text": '{"name": "Ulm", "people": 128000}', "times": 2})
    answer = client.chat.completions.parse(model=provider, messages=ASK, response_format=City)
    parsed = answer.choices[0].message.parsed
    assert isinstance(parsed, City)
    assert answer.choices[0].finish_reason == ENDED.get(provider, "stop")
    assert "people" in orjson.dumps(provided.bodies()[0]).decode()
    with client.chat.completions.stream(model=provider, messages=ASK, response_format=City) as stream:
        for _ in stream:
            pass
        assert stream.get_final_completion().choices[0].message.parsed == parsed


@pytest.mark.parametrize("provider", shown("images", *(name for name in ALL if name != "ai21")))
def test_an_image_reaches_the_provider(client: OpenAI, provided: Provided, provider: str) -> None:
    look: list[ChatCompletionMessageParam] = [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is on it?"},
                {"type": "image_url", "image_url": {"url": PIXEL}},
            ],
        }
    ]
    assert client.chat.completions.create(model=provider, messages=look).choices[0].message.content
    assert PIXEL.partition(",")[2] in orjson.dumps(provided.bodies()[0]).decode()


@pytest.mark.parametrize("provider", shown("n", *NATIVE_N, "anthropic", "cohere", "ai21", "groq"))
def test_several_answers_from_one_request_or_from_several(client: OpenAI, provided: Provided, provider: str) -> None:
    raw = client.chat.completions.with_raw_response.create(model=provider, messages=ASK, n=2)
    answer = raw.parse()
    assert [choice.index for choice in answer.choices] == [0, 1]
    sent = 1 if provider in NATIVE_N else 2
    assert len(provided.bodies()) == sent
    rows = provided.rows(raw.headers["x-request-id"], at_least=sent)
    assert len(rows) == sent
    assert sum(row["final"] for row in rows) == 1
    assert answer.usage is not None
    assert answer.usage.completion_tokens == sum(row["output_tokens"] for row in rows)


@pytest.mark.parametrize("provider", shown("n", *NATIVE_N, "anthropic", "cohere", "ai21", "groq"))
def test_several_answers_in_one_stream(client: OpenAI, provided: Provided, provider: str) -> None:
    provided.script({"type": "reply", "text": TEXT}, {"type": "reply", "text": TEXT})
    with client.chat.completions.with_streaming_response.create(
        model=provider, messages=ASK, n=2, stream=True, stream_options={"include_usage": True}
    ) as raw:
        chunks = list(raw.parse())
    for index in (0, 1):
        told = [choice for chunk in chunks for choice in chunk.choices if choice.index == index]
        assert told[0].delta.role == "assistant"
        assert "".join(choice.delta.content or "" for choice in told) == TEXT
        assert [choice.finish_reason for choice in told if choice.finish_reason] == ["stop"]
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1
    sent = 1 if provider in NATIVE_N else 2
    rows = provided.rows(raw.headers["x-request-id"], at_least=sent)
    assert len(rows) == len(provided.bodies()) == sent
    assert {(row["streamed"], row["outcome"]) for row in rows} == {(True, "ok")}
    assert [row["final"] for row in rows].count(True) == 1
    told_usage = [chunk.usage for chunk in chunks if chunk.usage]
    if provider not in SILENT_STREAMS:
        (usage,) = told_usage
        assert chunks[-1].choices == []
        assert usage.prompt_tokens == sum(row["input_tokens"] for row in rows)
        assert usage.completion_tokens == sum(row["output_tokens"] for row in rows) > 10


@pytest.mark.shows("openai", "embeddings")
def test_embeddings(client: OpenAI, provided: Provided) -> None:
    raw = client.embeddings.with_raw_response.create(
        model="openai-embed", input=["one two three four five", "six seven eight nine"], encoding_format="float"
    )
    answer = raw.parse()
    assert [item.index for item in answer.data] == [0, 1]
    assert isinstance(answer.data[0].embedding[0], float)
    assert (raw.headers["x-gateway-provider"], raw.headers["x-gateway-model"]) == ("openai", "text-embedding-3-small")
    (row,) = provided.rows(raw.headers["x-request-id"])
    assert row["input_tokens"] == answer.usage.prompt_tokens


@pytest.mark.parametrize(
    ("model", "asked"),
    [
        ("perplexity", {"tools": TOOLS}),
        ("ai21", {"tools": TOOLS, "tool_choice": "required"}),
        ("groq", {"logprobs": True}),
        ("mistral", {"logit_bias": {"1": 1}}),
        ("anthropic", {"presence_penalty": 1}),
        ("lacking", {"n": 2}),
    ],
)
def test_what_a_provider_lacks_and_matters_is_refused_by_name(
    client: OpenAI, provided: Provided, model: str, asked: dict[str, Any]
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=model, messages=ASK, **asked)
    assert (caught.value.code, caught.value.param) == ("unsupported_parameter", list(asked)[-1])
    assert provided.bodies() == []


@pytest.mark.parametrize("provider", ["anthropic", "gemini", "cohere", "ai21", "mistral", "groq", "together"])
def test_what_a_provider_lacks_and_does_not_matter_is_dropped_and_named(
    client: OpenAI, provided: Provided, provider: str
) -> None:
    raw = client.chat.completions.with_raw_response.create(model=provider, messages=ASK, store=False)
    assert raw.headers["x-gateway-dropped-params"] == "store"
    assert "store" not in provided.bodies()[0]


def test_what_the_configuration_says_is_unsupported_is_dropped_and_named(client: OpenAI, provided: Provided) -> None:
    raw = client.chat.completions.with_raw_response.create(model="lacking", messages=ASK, logit_bias={"1": 1}, n=1)
    assert raw.headers["x-gateway-dropped-params"] == "logit_bias"
    assert provided.bodies() == [{"model": "m", "messages": ASK}]


@pytest.mark.parametrize("provider", shown("errors", *ALL))
def test_a_bad_request_is_told_in_the_providers_words(client: OpenAI, provided: Provided, provider: str) -> None:
    provided.script({"type": "fail", "status": 400, "message": "no such thing as that"})
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=provider, messages=ASK)
    assert "no such thing as that" in caught.value.message
    assert len(provided.bodies()) == 1


@pytest.mark.parametrize("provider", shown("errors", *ALL))
def test_a_failure_that_may_pass_is_tried_again_then_told(client: OpenAI, provided: Provided, provider: str) -> None:
    provided.script({"type": "fail", "status": 500})
    raw = client.chat.completions.with_raw_response.create(model=provider, messages=ASK)
    assert raw.headers["x-gateway-attempts"] == "2"
    for status, told, code in ((500, 502, "upstream_5xx"), (503, 503, "upstream_overloaded")):
        provided.script({"type": "fail", "status": status, "times": 2, "message": "not now"})
        with pytest.raises(openai.InternalServerError) as caught:
            client.chat.completions.create(model=provider, messages=ASK)
        assert (caught.value.status_code, caught.value.code) == (told, code)
        assert "not now" in caught.value.message


@pytest.mark.parametrize("provider", shown("errors", *ALL))
def test_limits_and_refused_credentials_are_told_apart(client: OpenAI, provided: Provided, provider: str) -> None:
    provided.script({"type": "fail", "status": 429, "message": "slower, please", "retry_after": 7})
    with pytest.raises(openai.RateLimitError) as limited:
        client.chat.completions.create(model=f"{provider}-slow", messages=ASK)
    assert "slower, please" in limited.value.message
    assert limited.value.response.headers["retry-after"] == "7"
    provided.script({"type": "fail", "status": 401, "message": "Incorrect API key: sk-abc12345678"})
    with pytest.raises(openai.InternalServerError) as refused:
        client.chat.completions.create(model=f"{provider}-refused", messages=ASK)
    assert (refused.value.status_code, refused.value.code) == (502, "upstream_auth")
    assert "abc123" not in str(refused.value.body)


@pytest.mark.parametrize("kind", ["truncate", "disconnect"])
@pytest.mark.parametrize("provider", shown("errors", *ALL))
def test_a_stream_that_is_cut_short_is_an_error(client: OpenAI, provided: Provided, provider: str, kind: str) -> None:
    fault = {"type": "stream_fault", "kind": kind, "after_chunks": 40, "times": 2}
    provided.script(fault, {"type": "reply", "text": TEXT * 6, "times": 2})
    seen: list[object] = []
    with pytest.raises(openai.APIError) as caught:
        seen.extend(client.chat.completions.create(model=provider, messages=ASK, stream=True))
    assert seen
    assert caught.value.code == "upstream_truncated"


def test_a_wrong_key_is_refused_before_any_provider_is_asked(provided: Provided) -> None:
    provided.script()
    with OpenAI(base_url=provided.v1, api_key="sk-kc-wrong", max_retries=0) as stranger:
        for provider in ALL:
            with pytest.raises(openai.AuthenticationError) as caught:
                stranger.chat.completions.create(model=provider, messages=ASK)
            assert caught.value.code == "invalid_api_key"
    assert provided.bodies() == []
