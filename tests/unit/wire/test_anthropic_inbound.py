"""Requests of clients that speak Anthropic's format: what is checked, and what becomes of each part of them."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import orjson
import pytest

from gateway.errors import GatewayError
from gateway.wire.anthropic_inbound import INBOUND
from gateway.wire.inbound import Inbound

HELLO = [{"role": "user", "content": "Hello"}]


def request(messages: Any = HELLO, **more: Any) -> dict[str, Any]:
    return {"model": "m", "max_tokens": 100, "messages": messages, **more}


def canonical(document: dict[str, Any]) -> dict[str, Any]:
    body = orjson.dumps(document)
    read = INBOUND.read_request(body)
    made = INBOUND.canonical(read)
    assert read == orjson.loads(body), "the request was changed"
    return made


def refused(document: Any) -> tuple[str, str | None]:
    with pytest.raises(GatewayError) as caught:
        canonical(document)
    return caught.value.code, caught.value.param


def test_the_inbound_is_one() -> None:
    inbound: Inbound = INBOUND
    assert inbound.name == "anthropic"


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        (b"", "invalid_json", None),
        (b"[]", "invalid_json", None),
        (b'{"model": 1}', "invalid_field", "model"),
        (orjson.dumps({"messages": HELLO, "max_tokens": 1}), "missing_field", "model"),
        (orjson.dumps(request() | {"model": ""}), "invalid_field", "model"),
        (orjson.dumps(request() | {"model": "m" * 257}), "invalid_field", "model"),
        (orjson.dumps({"model": "m", "max_tokens": 1}), "missing_field", "messages"),
        (orjson.dumps(request([])), "invalid_field", "messages"),
        (orjson.dumps(request("Hello")), "invalid_field", "messages"),
        (orjson.dumps(request(["Hello"])), "invalid_field", "messages[0]"),
        (orjson.dumps(request([{"content": "Hello"}])), "invalid_field", "messages[0].role"),
        (orjson.dumps({"model": "m", "messages": HELLO}), "missing_field", "max_tokens"),
        (orjson.dumps(request(max_tokens=0)), "invalid_field", "max_tokens"),
        (orjson.dumps(request(max_tokens=True)), "invalid_field", "max_tokens"),
        (orjson.dumps(request(max_tokens=1.5)), "invalid_field", "max_tokens"),
        (orjson.dumps(request(stream="yes")), "invalid_field", "stream"),
        (b'{"model": "\\ud800"}', "invalid_json", None),
        (b'{"a":' * 300 + b"1" + b"}" * 300, "invalid_json", None),
    ],
)
def test_what_the_gateway_relies_on_is_checked_and_named(body: bytes, code: str, param: str | None) -> None:
    with pytest.raises(GatewayError) as caught:
        INBOUND.read_request(body)
    assert (caught.value.code, caught.value.param) == (code, param)


def test_counting_needs_no_limit_and_still_checks_the_rest() -> None:
    document = INBOUND.read_count_request(orjson.dumps({"model": "m", "messages": HELLO}))
    assert INBOUND.canonical(document) == {"model": "m", "messages": HELLO}
    with pytest.raises(GatewayError):
        INBOUND.read_count_request(b'{"model": "m"}')
    assert orjson.loads(INBOUND.render_count(12)) == {"input_tokens": 12}


def test_the_plain_parameters_keep_their_meaning() -> None:
    made = canonical(
        request(stream=True, temperature=0.5, top_p=0.9, top_k=40, stop_sequences=["END"], metadata={"user_id": "u1"})
    )
    assert made == {
        "model": "m",
        "messages": HELLO,
        "max_tokens": 100,
        "stream": True,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 40,
        "stop": ["END"],
        "user": "u1",
    }


def test_nulls_and_empty_lists_ask_for_nothing() -> None:
    nothing = dict.fromkeys(
        ("system", "tools", "tool_choice", "thinking", "output_config", "output_format", "metadata", "service_tier")
    )
    made = canonical(request(**nothing, stop_sequences=[], stream=False, container=None, mcp_servers=[]))
    assert made == {"model": "m", "messages": HELLO, "max_tokens": 100}


def test_a_user_id_longer_than_openai_takes_becomes_its_hash() -> None:
    long = "user_" + "a" * 100
    assert canonical(request(metadata={"user_id": long}))["user"] == sha256(long.encode()).hexdigest()
    assert canonical(request(metadata={"user_id": "a" * 64}))["user"] == "a" * 64


def test_what_only_concerns_anthropics_servers_is_left_out_and_what_matters_is_refused() -> None:
    made = canonical(request(context_management={"edits": []}, speed="fast", inference_geo="global"))
    assert set(made) == {"model", "messages", "max_tokens"}
    assert refused(request(mcp_servers=[{"url": "u"}])) == ("unsupported_parameter", "mcp_servers")
    assert refused(request(container={"id": "c"})) == ("unsupported_parameter", "container")
    assert refused(request(inference_geo="us")) == ("unsupported_parameter", "inference_geo")
    assert refused(request(n=2)) == ("unsupported_parameter", "n")


@pytest.mark.parametrize(("given_tier", "ours"), [("auto", "auto"), ("standard_only", "default"), ("flex", None)])
def test_service_tiers_go_by_openais_names(given_tier: str, ours: str | None) -> None:
    if ours is None:
        assert refused(request(service_tier=given_tier)) == ("invalid_field", "service_tier")
    else:
        assert canonical(request(service_tier=given_tier))["service_tier"] == ours


def test_tools_become_functions() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    made = canonical(
        request(
            tools=[
                {"name": "weather", "description": "Tells it.", "input_schema": schema, "strict": True},
                {
                    "type": "custom",
                    "name": "time",
                    "input_schema": {"type": "object"},
                    "cache_control": {"type": "ephemeral"},
                    "defer_loading": True,
                },
            ]
        )
    )
    assert made["tools"] == [
        {
            "type": "function",
            "function": {"name": "weather", "description": "Tells it.", "parameters": schema, "strict": True},
        },
        {
            "type": "function",
            "function": {"name": "time", "parameters": {"type": "object"}},
            "cache_control": {"type": "ephemeral"},
        },
    ]


def test_web_search_becomes_openais() -> None:
    place = {"type": "approximate", "city": "Bern", "country": "CH", "region": None}
    tool = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3, "user_location": place}
    made = canonical(request(tools=[tool], tool_choice={"type": "auto"}))
    approximate = {"city": "Bern", "country": "CH"}
    assert made["web_search_options"] == {"user_location": {"type": "approximate", "approximate": approximate}}
    assert "tools" not in made
    assert "tool_choice" not in made
    assert canonical(request(tools=[tool | {"user_location": None}]))["web_search_options"] == {}
    narrowed = tool | {"allowed_domains": ["x.org"]}
    assert refused(request(tools=[narrowed])) == ("unsupported_parameter", "tools[0].allowed_domains")


@pytest.mark.parametrize(
    ("tool", "code", "param"),
    [
        ({"type": "code_execution_20260120", "name": "code_execution"}, "unsupported_parameter", "tools[0].type"),
        ({"type": "bash_20250124", "name": "bash"}, "unsupported_parameter", "tools[0].type"),
        ({"name": "f"}, "missing_field", "tools[0].input_schema"),
        ({"input_schema": {}}, "missing_field", "tools[0].name"),
        ({"name": "f", "input_schema": []}, "invalid_field", "tools[0].input_schema"),
        ({"name": "f", "input_schema": {}, "strict": "yes"}, "invalid_field", "tools[0].strict"),
        (7, "invalid_field", "tools[0]"),
    ],
)
def test_tools_that_cannot_be_had_are_named(tool: Any, code: str, param: str) -> None:
    assert refused(request(tools=[tool])) == (code, param)


@pytest.mark.parametrize(
    ("choice", "ours"),
    [
        ({"type": "auto"}, "auto"),
        ({"type": "any"}, "required"),
        ({"type": "none"}, "none"),
        ({"type": "tool", "name": "f"}, {"type": "function", "function": {"name": "f"}}),
    ],
)
def test_every_tool_choice_has_its_counterpart(choice: Any, ours: Any) -> None:
    tools = [{"name": "f", "input_schema": {"type": "object"}}]
    made = canonical(request(tools=tools, tool_choice=choice))
    assert made["tool_choice"] == ours
    assert "parallel_tool_calls" not in made
    alone = canonical(request(tools=tools, tool_choice=choice | {"disable_parallel_tool_use": True}))
    assert alone["parallel_tool_calls"] is False


def test_a_tool_choice_that_cannot_be_met_is_named() -> None:
    assert refused(request(tool_choice={"type": "any"})) == ("unsupported_parameter", "tool_choice")
    assert refused(request(tool_choice={"type": "tool", "name": "f"})) == ("invalid_field", "tool_choice.name")
    assert refused(request(tool_choice={"type": "never"})) == ("invalid_field", "tool_choice.type")


def test_thinking_and_effort_go_on() -> None:
    enabled = {"type": "enabled", "budget_tokens": 2048}
    assert canonical(request(thinking=enabled))["thinking"] == enabled
    made = canonical(request(thinking={"type": "adaptive"}, output_config={"effort": "max"}))
    assert made["thinking"] == {"type": "adaptive"}
    assert made["reasoning_effort"] == "xhigh"
    assert refused(request(thinking={"type": "enabled"})) == ("missing_field", "thinking.budget_tokens")
    wrong = {"type": "enabled", "budget_tokens": True}
    assert refused(request(thinking=wrong)) == ("invalid_field", "thinking.budget_tokens")
    assert refused(request(thinking={"type": "deep"})) == ("invalid_field", "thinking.type")
    assert refused(request(output_config={"effort": "huge"})) == ("invalid_field", "output_config.effort")


@pytest.mark.parametrize("older", [False, True])
def test_a_schema_becomes_a_strict_response_format(older: bool) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    wanted = {"type": "json_schema", "schema": schema}
    made = canonical(request(**({"output_format": wanted} if older else {"output_config": {"format": wanted}})))
    assert made["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": schema, "strict": True},
    }
    where = "output_format" if older else "output_config.format"
    bad = {"type": "grammar"}
    sent = request(**({"output_format": bad} if older else {"output_config": {"format": bad}}))
    assert refused(sent) == ("unsupported_parameter", f"{where}.type")
