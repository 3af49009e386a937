"""The official anthropic package against an Anthropic upstream, whose bytes pass, and against others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import orjson
import pytest
from anthropic import Anthropic
from anthropic.types import MessageParam, ToolParam

from tests.acceptance.provider_serving import Provided, shown
from tests.acceptance.test_openai_sdk import CALLS
from tests.servers.ollama import TEXT as OLLAMA_TEXT
from tests.servers.ollama import THOUGHT

MOCKED = ("anthropic", "openai", "gemini")
ALL = (*MOCKED, "ollama")
TEXT = "A pod network gives every pod an address of its own."
ASK: list[MessageParam] = [{"role": "user", "content": "Tell me something about container networks."}]
TOOLS: list[ToolParam] = [
    {
        "name": name,
        "description": "What it says.",
        "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    }
    for name in ("get_weather", "get_time")
]
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


@pytest.fixture(params=["", "/anthropic"])
def client(request: pytest.FixtureRequest, provided: Provided) -> Iterator[Anthropic]:
    """The SDK, as a user would make it, at both addresses; llmock does as it likes."""
    provided.script()
    with Anthropic(base_url=provided.gateway.url + request.param, api_key=provided.key, max_retries=0) as made:
        yield made


def said(provider: str) -> str:
    """The text that `provider` is told to answer, or always does."""
    return OLLAMA_TEXT if provider == "ollama" else TEXT


@pytest.mark.parametrize("provider", shown("chat, usage", *ALL))
def test_a_message_is_answered_and_metered(client: Anthropic, provided: Provided, provider: str) -> None:
    provided.script({"type": "reply", "text": TEXT})
    raw = client.messages.with_raw_response.create(
        model=provider, max_tokens=300, system="Be short.", messages=ASK, stop_sequences=["END"]
    )
    message = raw.parse()
    assert (message.type, message.role, message.model) == ("message", "assistant", provider)
    assert message.stop_reason == "end_turn"
    assert [(block.type, getattr(block, "text", None)) for block in message.content] == [("text", said(provider))]
    assert raw.headers["x-gateway-provider"] == provider
    (row,) = provided.rows(raw.headers["x-request-id"])
    assert (row["input_tokens"], row["output_tokens"]) == (message.usage.input_tokens, message.usage.output_tokens)
    assert row["input_tokens"] > 5
    assert row["cost_nano_usd"] == row["input_tokens"] * 1000 + row["output_tokens"] * 3000
    assert float(raw.headers["x-gateway-cost-usd"]) == pytest.approx(row["cost_nano_usd"] / 1e9)


def test_the_bytes_for_an_anthropic_upstream_are_the_clients_own(client: Anthropic, provided: Provided) -> None:
    system: Any = [{"type": "text", "text": "Be short.", "cache_control": {"type": "ephemeral"}}]
    client.messages.create(model="anthropic", max_tokens=300, system=system, messages=ASK, extra_body={"x_new": [1]})
    assert provided.bodies() == [
        {"model": "claude-sonnet-4-6", "max_tokens": 300, "system": system, "messages": ASK, "x_new": [1]}
    ]


@pytest.mark.parametrize("provider", shown("streaming", *ALL))
def test_a_stream_has_anthropics_events_in_order(client: Anthropic, provided: Provided, provider: str) -> None:
    provided.script({"type": "reply", "text": TEXT})
    with client.messages.create(model=provider, max_tokens=300, messages=ASK, stream=True) as stream:
        kinds = [event.type for event in stream]
    assert list(dict.fromkeys(kinds)) == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    provided.script({"type": "reply", "text": TEXT})
    with client.messages.stream(model=provider, max_tokens=300, messages=ASK) as helped:
        assert "".join(helped.text_stream) == said(provider)
        final = helped.get_final_message()
        request_id = helped.response.headers["x-request-id"]
    assert (final.model, final.stop_reason) == (provider, "end_turn")
    (row,) = provided.rows(request_id)
    assert (row["streamed"], row["output_tokens"], row["estimated"]) == (True, final.usage.output_tokens, False)


def _cities(provider: str) -> list[tuple[str, dict[str, str]]]:
    """What the tools are called with."""
    if provider == "ollama":
        return [(tool["name"], {"city": "web"}) for tool in TOOLS]
    return [(str(made["name"]), {"city": made["arguments"]["city"]}) for made in CALLS]  # type: ignore[index]


@pytest.mark.parametrize("provider", shown("tools, parallel tools", *ALL))
@pytest.mark.parametrize("streamed", [False, True])
def test_tools_go_round(client: Anthropic, provided: Provided, provider: str, streamed: bool) -> None:
    provided.script({"type": "reply", "tool_calls": CALLS}, {"type": "reply", "text": TEXT})
    if streamed:
        with client.messages.stream(model=provider, max_tokens=300, messages=ASK, tools=TOOLS) as stream:
            first: Any = stream.get_final_message()
    else:
        first = client.messages.create(model=provider, max_tokens=300, messages=ASK, tools=TOOLS)
    assert first.stop_reason == "tool_use"
    uses = [block for block in first.content if block.type == "tool_use"]
    assert [(use.name, use.input) for use in uses] == _cities(provider)
    assert len({use.id for use in uses}) == 2
    results: list[Any] = [
        {"type": "tool_result", "tool_use_id": use.id, "content": f"the result of {use.name}"} for use in uses
    ]
    conversation: list[MessageParam] = [
        *ASK,
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": results},
    ]
    second = client.messages.create(model=provider, max_tokens=300, messages=conversation, tools=TOOLS)
    assert second.stop_reason == "end_turn"
    sent = provided.own.ollama.requests[-1].body if provider == "ollama" else orjson.dumps(provided.bodies()[-1])
    assert b"the result of get_weather" in sent
    assert b"the result of get_time" in sent


@pytest.mark.parametrize("provider", shown("tool choice", *ALL))
def test_a_named_tool_is_the_one_that_is_called(client: Anthropic, provider: str) -> None:
    message = client.messages.create(
        model=provider,
        max_tokens=300,
        messages=ASK,
        tools=TOOLS,
        tool_choice={"type": "tool", "name": "get_time"},
    )
    assert [block.name for block in message.content if block.type == "tool_use"] == ["get_time"]


@pytest.mark.parametrize("provider", ALL)
def test_thinking_is_accepted_whoever_thought_it(client: Anthropic, provided: Provided, provider: str) -> None:
    thought: Any = {"type": "thinking", "thinking": "It is about overlays.", "signature": "c2lnbmVkIGJ5IGNsYXVkZQ=="}
    conversation: list[MessageParam] = [
        *ASK,
        {"role": "assistant", "content": [thought, {"type": "text", "text": "They are overlays."}]},
        {"role": "user", "content": "Go on."},
    ]
    message = client.messages.create(
        model=provider,
        max_tokens=4000,
        thinking={"type": "enabled", "budget_tokens": 2000},
        messages=conversation,
    )
    assert message.content[-1].type == "text"
    if provider == "anthropic":
        assert provided.bodies()[0]["messages"][1]["content"][0] == thought
    elif provider != "ollama":
        assert "c2lnbmVk" not in orjson.dumps(provided.bodies()).decode()


@pytest.mark.shows("ollama", "reasoning")
def test_what_another_model_thinks_comes_as_thinking_blocks(client: Anthropic) -> None:
    asked: dict[str, Any] = {
        "model": "ollama",
        "max_tokens": 4000,
        "thinking": {"type": "enabled", "budget_tokens": 2000},
        "messages": ASK,
    }
    whole = client.messages.create(**asked)
    with client.messages.stream(**asked) as stream:
        streamed = stream.get_final_message()
    for blocks in (whole.content, streamed.content):
        assert [block.type for block in blocks] == ["thinking", "text"]
        assert getattr(blocks[0], "thinking", None) == THOUGHT
        assert getattr(blocks[1], "text", None) == OLLAMA_TEXT


@pytest.mark.parametrize("provider", shown("images", *ALL))
def test_an_image_reaches_the_provider(client: Anthropic, provided: Provided, provider: str) -> None:
    source: Any = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    content: Any = [{"type": "image", "source": source}, {"type": "text", "text": "What is on it?"}]
    message = client.messages.create(model=provider, max_tokens=300, messages=[{"role": "user", "content": content}])
    assert message.content
    if provider == "ollama":
        assert provided.own.ollama.requests[-1].json["messages"][-1]["images"] == [PIXEL]
    else:
        assert PIXEL in orjson.dumps(provided.bodies()[0]).decode()


def _check(error: anthropic.APIStatusError, kind: str, *words: str) -> None:
    """Has it Anthropic's shape, and these words?"""
    body: Any = error.body
    assert body["type"] == "error"
    assert body["error"]["type"] == kind
    assert body["request_id"]
    for word in words:
        assert word in body["error"]["message"]


@pytest.mark.parametrize("provider", shown("errors", *MOCKED))
def test_a_providers_failures_are_anthropics_exceptions(client: Anthropic, provided: Provided, provider: str) -> None:
    def ask(model: str) -> None:
        client.messages.create(model=model, max_tokens=300, messages=ASK)

    provided.script({"type": "fail", "status": 400, "message": "no such thing"})
    with pytest.raises(anthropic.BadRequestError) as bad:
        ask(provider)
    _check(bad.value, "invalid_request_error", "no such thing")
    provided.script({"type": "fail", "status": 500, "times": 2})
    with pytest.raises(anthropic.InternalServerError) as broken:
        ask(provider)
    _check(broken.value, "api_error")
    provided.script({"type": "fail", "status": 503, "times": 2})
    with pytest.raises(anthropic.APIStatusError) as busy:
        ask(provider)
    assert busy.value.status_code == 503
    _check(busy.value, "overloaded_error")
    provided.script({"type": "fail", "status": 429, "retry_after": 7})
    with pytest.raises(anthropic.RateLimitError) as limited:
        ask(f"{provider}-slow")
    _check(limited.value, "rate_limit_error")
    assert limited.value.response.headers["retry-after"] == "7"
    provided.script({"type": "fail", "status": 401, "message": "wrong key sk-abc12345678"})
    with pytest.raises(anthropic.InternalServerError) as refused:
        ask(f"{provider}-refused")
    _check(refused.value, "api_error", "refused the gateway's credentials")
    assert "abc123" not in str(refused.value.body)


@pytest.mark.parametrize("model", MOCKED)
def test_a_stream_that_cannot_go_on_ends_with_an_error(client: Anthropic, provided: Provided, model: str) -> None:
    fault = {"type": "stream_fault", "kind": "truncate", "after_chunks": 40, "times": 2}
    provided.script(fault, {"type": "reply", "text": TEXT * 6, "times": 2})
    texts: list[str] = []
    with (
        client.messages.create(model=model, max_tokens=300, messages=ASK, stream=True) as stream,
        pytest.raises(anthropic.APIStatusError) as caught,
    ):
        texts.extend(event.type for event in stream)
    assert "content_block_delta" in texts
    assert "message_stop" not in texts
    _check(caught.value, "api_error")


def test_our_own_refusals_are_anthropics_exceptions(client: Anthropic, provided: Provided) -> None:
    with pytest.raises(anthropic.NotFoundError) as unknown:
        client.messages.create(model="nobody", max_tokens=300, messages=ASK)
    _check(unknown.value, "not_found_error", "nobody")
    with pytest.raises(anthropic.BadRequestError) as empty:
        client.messages.create(model="gemini", max_tokens=300, messages=[])
    _check(empty.value, "invalid_request_error", "messages")
    bound = provided.make_key(models=["openai"])["key"]
    with pytest.raises(anthropic.PermissionDeniedError) as denied:
        client.with_options(api_key=bound).messages.create(model="anthropic", max_tokens=300, messages=ASK)
    _check(denied.value, "permission_error")
    with pytest.raises(anthropic.AuthenticationError) as wrong:
        client.with_options(api_key="sk-kc-wrong").messages.create(model="anthropic", max_tokens=300, messages=ASK)
    _check(wrong.value, "authentication_error")
    assert provided.bodies() == []


def test_a_gateway_key_as_a_bearer_token_will_do_too(client: Anthropic, provided: Provided) -> None:
    with Anthropic(base_url=client.base_url, api_key=None, auth_token=provided.key, max_retries=0) as bearer:
        assert bearer.messages.create(model="openai", max_tokens=300, messages=ASK).content


@pytest.mark.parametrize("provider", ["openai", "gemini", "ollama"])
def test_tokens_are_counted_for_models_of_others(client: Anthropic, provider: str) -> None:
    assert client.messages.count_tokens(model=provider, messages=ASK).input_tokens > 5


def test_models_are_listed_as_anthropic_lists_them(client: Anthropic) -> None:
    models = {model.id: model for model in client.models.list()}
    assert set(ALL) <= set(models)
    assert models["gemini"].type == "model"
