"""The official openai package, unmodified, through the gateway."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator

import openai
import orjson
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from pydantic import BaseModel

from tests.acceptance.served import Served, call

ASK: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Tell me something about container networks."}]
TOOLS: list[ChatCompletionToolParam] = [
    {
        "type": "function",
        "function": {
            "name": name,
            "parameters": {
                "type": "object",
                "properties": {"model": {"type": "string"}, "city": {"type": "string"}},
                "required": ["city"],
            },
        },
    }
    for name in ("get_weather", "get_time")
]
CALLS = [{"name": "get_weather", "arguments": {"city": "Ulm"}}, {"name": "get_time", "arguments": {"city": "Rom"}}]


@pytest.fixture
def client(served: Served) -> Iterator[OpenAI]:
    """The SDK, as a user would make it."""
    served.script()
    with OpenAI(base_url=served.v1, api_key=served.key, max_retries=0) as made:
        yield made


def test_chat(client: OpenAI) -> None:
    answer = client.chat.completions.create(model="gpt-4o-mini", messages=ASK)
    assert answer.choices[0].message.content
    assert answer.usage is not None
    assert answer.usage.completion_tokens > 0
    assert answer.model == "gpt-4o-mini"


def test_an_alias_is_what_the_client_reads(client: OpenAI) -> None:
    assert client.chat.completions.create(model="small", messages=ASK).model == "small"
    chunks = list(client.chat.completions.create(model="small", messages=ASK, stream=True))
    assert {chunk.model for chunk in chunks} == {"small"}


def test_a_stream_gives_what_the_whole_answer_gives(client: OpenAI) -> None:
    whole = client.chat.completions.create(model="gpt-4o-mini", messages=ASK)
    chunks = list(client.chat.completions.create(model="gpt-4o-mini", messages=ASK, stream=True))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == whole.choices[0].message.content
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert all(chunk.usage is None for chunk in chunks)


def test_a_stream_has_usage_for_who_asks_for_it(client: OpenAI) -> None:
    stream = client.chat.completions.create(
        model="gpt-4o-mini", messages=ASK, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens > 0


def test_a_stream_may_be_left_early_and_the_client_used_again(client: OpenAI) -> None:
    for _ in range(3):
        with client.chat.completions.create(model="gpt-4o-mini", messages=ASK, stream=True) as stream:
            next(iter(stream))
    assert client.chat.completions.create(model="gpt-4o-mini", messages=ASK).choices


def test_async_chat_and_streams_at_once(served: Served) -> None:
    served.script()

    async def run() -> None:
        async with AsyncOpenAI(base_url=served.v1, api_key=served.key, max_retries=0) as client:

            async def whole() -> str:
                answer = await client.chat.completions.create(model="gpt-4o-mini", messages=ASK)
                return answer.choices[0].message.content or ""

            async def streamed() -> str:
                text = ""
                async for chunk in await client.chat.completions.create(model="small", messages=ASK, stream=True):
                    text += chunk.choices[0].delta.content or ""
                return text

            async def left() -> str:
                stream = await client.chat.completions.create(model="small", messages=ASK, stream=True)
                async for _ in stream:
                    break
                await stream.close()
                return ""

            texts = await asyncio.gather(*[make() for make in (whole, streamed, left) for _ in range(10)])
            assert len(set(texts) - {""}) == 1
            assert texts.count("") == 10

    asyncio.run(run())


def test_parallel_tools(client: OpenAI, served: Served) -> None:
    served.script({"type": "reply", "tool_calls": CALLS})
    answer = client.chat.completions.create(model="small", messages=ASK, tools=TOOLS)
    assert answer.choices[0].finish_reason == "tool_calls"
    calls = answer.choices[0].message.tool_calls or []
    assert [
        (made.function.name, orjson.loads(made.function.arguments)) for made in calls if made.type == "function"
    ] == [(made["name"], made["arguments"]) for made in CALLS]


def test_streamed_tool_arguments_come_together(client: OpenAI, served: Served) -> None:
    served.script({"type": "reply", "tool_calls": CALLS})
    arguments: dict[int, str] = {}
    pieces = 0
    for chunk in client.chat.completions.create(model="small", messages=ASK, tools=TOOLS, stream=True):
        for part in chunk.choices[0].delta.tool_calls or []:
            pieces += 1
            if part.function is not None:
                arguments[part.index] = arguments.get(part.index, "") + (part.function.arguments or "")
    assert [orjson.loads(text) for text in arguments.values()] == [made["arguments"] for made in CALLS]
    assert pieces > 4


def test_the_stream_helper_assembles_the_answer(client: OpenAI) -> None:
    with client.chat.completions.stream(model="small", messages=ASK) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert "content.delta" in kinds
    assert final.choices[0].message.content


def test_parse_with_a_schema(client: OpenAI, served: Served) -> None:
    class City(BaseModel):
        name: str
        people: int

    served.script({"type": "reply", "text": '{"name": "Ulm", "people": 128000}'})
    answer = client.chat.completions.parse(model="small", messages=ASK, response_format=City)
    assert answer.choices[0].message.parsed == City(name="Ulm", people=128000)


def test_raw_responses_have_the_gateways_headers(client: OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="small", messages=ASK, extra_headers={"x-request-id": "mine-1"}
    )
    assert raw.headers["x-request-id"] == "mine-1"
    assert raw.headers["x-gateway-model"] == "gpt-4o-mini"
    assert raw.headers["x-gateway-provider"] == "mock"
    assert raw.headers["x-gateway-attempts"] == "1"
    assert float(raw.headers["x-gateway-cost-usd"]) > 0
    assert raw.parse().choices
    with client.chat.completions.with_streaming_response.create(model="small", messages=ASK) as streamed:
        assert orjson.loads(streamed.read())["model"] == "small"


def test_with_options_and_unknown_fields_pass(client: OpenAI) -> None:
    other = client.with_options(timeout=30.0, max_retries=1)
    answer = other.chat.completions.create(model="small", messages=ASK, extra_body={"x_unknown": {"a": 1}}, seed=7)
    assert answer.choices


def test_embeddings_as_floats_and_as_base64(client: OpenAI) -> None:
    floats = client.embeddings.create(model="text-embedding-3-small", input=["one", "two"], encoding_format="float")
    assert len(floats.data) == 2
    assert isinstance(floats.data[0].embedding[0], float)
    assert floats.usage.total_tokens >= 0
    for model in ("text-embedding-3-small", "demo"):
        packed = client.embeddings.create(model=model, input="one two three")  # the SDK asks for base64 by itself
        assert isinstance(packed.data[0].embedding[0], float)


def test_models_are_listed_and_found(client: OpenAI) -> None:
    names = {model.id for model in client.models.list()}
    assert {"gpt-4o-mini", "small", "demo"} <= names
    assert client.models.retrieve("small").id == "small"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nobody")


def test_completions_whole_and_streamed(client: OpenAI) -> None:
    for model in ("gpt-3.5-turbo-instruct", "demo"):
        answer = client.completions.create(model=model, prompt="Once upon a time")
        assert answer.choices[0].text
        chunks = list(client.completions.create(model=model, prompt="Once upon a time", stream=True))
        assert "".join(chunk.choices[0].text for chunk in chunks)


def test_the_demo_model_answers_without_any_provider(client: OpenAI) -> None:
    answer = client.chat.completions.create(model="demo", messages=[{"role": "user", "content": "Hello there"}])
    assert "Hello there" in (answer.choices[0].message.content or "")


def test_a_wrong_key_is_an_authentication_error(served: Served) -> None:
    with (
        OpenAI(base_url=served.v1, api_key="sk-kc-wrong", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError) as caught,
    ):
        stranger.chat.completions.create(model="small", messages=ASK)
    assert caught.value.code == "invalid_api_key"
    assert caught.value.request_id


def test_an_unknown_model_is_a_not_found_error_that_names_the_nearest(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="gpt-4o-mimi", messages=ASK)
    assert caught.value.code == "model_not_found"
    assert "gpt-4o-mini" in caught.value.message


def test_a_model_that_is_not_allowed_is_a_permission_error(served: Served) -> None:
    key = served.make_key(models=["demo"])["key"]
    with OpenAI(base_url=served.v1, api_key=key, max_retries=0) as bound:
        assert bound.chat.completions.create(model="demo", messages=ASK).choices
        with pytest.raises(openai.PermissionDeniedError):
            bound.chat.completions.create(model="small", messages=ASK)


def test_a_bad_request_of_ours_and_of_the_providers_are_bad_request_errors(client: OpenAI, served: Served) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="small", messages=[])
    assert caught.value.param == "messages"
    served.script({"type": "fail", "status": 400, "message": "no such thing", "code": "odd_thing"})
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="small", messages=ASK)
    assert caught.value.code == "odd_thing"
    assert "no such thing" in caught.value.message


def test_a_providers_refusal_of_our_credentials_is_not_the_clients_fault(client: OpenAI, served: Served) -> None:
    served.script({"type": "fail", "status": 401, "message": "Incorrect API key provided: sk-abc123"})
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model="small", messages=ASK)
    assert caught.value.status_code == 502
    assert "abc123" not in str(caught.value.body)


def test_a_limit_that_lasts_is_a_rate_limit_error(client: OpenAI, served: Served) -> None:
    served.script({"type": "fail", "status": 429, "times": 3})
    with pytest.raises(openai.RateLimitError):
        client.chat.completions.create(model="small", messages=ASK)


def test_the_sdk_does_not_repeat_what_the_gateway_has_repeated(served: Served) -> None:
    served.script({"type": "fail", "status": 500, "times": None})
    eager = OpenAI(base_url=served.v1, api_key=served.key, max_retries=2)
    with eager, pytest.raises(openai.InternalServerError) as caught:
        eager.chat.completions.create(model="small", messages=ASK)
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert caught.value.response.headers["x-gateway-attempts"] == "3"
    _, _, seen = call("GET", served.mock.url + "/_llmock/requests")
    assert seen["count"] == 3


def test_an_error_in_a_stream_reaches_the_sdk_as_an_error(client: OpenAI, served: Served) -> None:
    served.script({"type": "stream_fault", "kind": "disconnect", "after_chunks": 3})
    chunks = iter(client.chat.completions.create(model="small", messages=ASK, stream=True))
    for _ in range(3):
        next(chunks)
    with pytest.raises(openai.APIError) as caught:
        next(chunks)
    assert caught.value.code == "upstream_truncated"


def test_moderations_and_audio(client: OpenAI) -> None:
    assert client.moderations.create(model="omni-moderation-latest", input="hello").results
    assert client.audio.speech.create(model="tts-1", voice="alloy", input="hello").read()
    sound = io.BytesIO(b"RIFF" + b"\0" * 1000)
    sound.name = "a.wav"
    assert client.audio.transcriptions.create(model="whisper-1", file=sound).text


def test_files_need_a_key_that_names_them(client: OpenAI, served: Served) -> None:
    with pytest.raises(openai.PermissionDeniedError):
        client.files.list()
    key = served.make_key(endpoints=["files"], team="files-team")["key"]
    with OpenAI(base_url=served.v1, api_key=key, max_retries=0) as owner:
        made = owner.files.create(file=("a.jsonl", b"{}\n"), purpose="batch", extra_query={"provider": "fake"})
        assert owner.files.retrieve(made.id).id == made.id
