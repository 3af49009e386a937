"""Tools and the form of the answer, as Bedrock's families of models take them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.errors import GatewayError
from gateway.wire.bedrock import DIALECT
from tests.unit.wire.bedrock_asking import CLAUDE, LLAMA, NOVA, OLD_CLAUDE, PROFILE, QWEN, WEATHER, ask, encoded, sent

OTHER = {"type": "function", "function": {"name": "get_time"}}
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
TOLD: list[dict[str, Any]] = [
    {"role": "user", "content": "Weather?"},
    {
        "role": "assistant",
        "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}],
    },
    {"role": "tool", "tool_call_id": "c1", "content": "Sunny"},
]


def json_schema(*, strict: bool) -> dict[str, Any]:
    definition = {"name": "City", "description": "A city", "schema": SCHEMA, "strict": strict}
    return {"type": "json_schema", "json_schema": definition}


def names(config: dict[str, Any]) -> list[str]:
    return [tool["toolSpec"]["name"] for tool in config["tools"]]


@pytest.mark.shows("bedrock", "tool choice")
@pytest.mark.parametrize(
    ("choice", "sent_choice", "tools"),
    [
        (None, None, ["get_weather", "get_time"]),
        ("auto", None, ["get_weather", "get_time"]),
        ("required", {"any": {}}, ["get_weather", "get_time"]),
        (
            {"type": "function", "function": {"name": "get_time"}},
            {"tool": {"name": "get_time"}},
            ["get_weather", "get_time"],
        ),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [OTHER]}},
            None,
            ["get_time"],
        ),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [OTHER]}},
            {"any": {}},
            ["get_time"],
        ),
    ],
)
def test_every_form_of_tool_choice(choice: object, sent_choice: object, tools: list[str]) -> None:
    config = sent(tools=[WEATHER, OTHER], tool_choice=choice)["toolConfig"]
    assert (config.get("toolChoice"), names(config)) == (sent_choice, tools)


def test_no_tools_are_sent_where_none_may_be_called_unless_the_conversation_tells_of_calls() -> None:
    assert "toolConfig" not in sent(tools=[WEATHER], tool_choice="none")
    assert "toolConfig" not in sent()
    for fields in ({"tools": [WEATHER], "tool_choice": "none"}, {}):
        assert names(sent(messages=TOLD, **fields)["toolConfig"]) == ["no_tool_available"]


@pytest.mark.shows("bedrock", "tools")
def test_strict_is_passed_on_to_models_that_know_it_and_a_tool_without_parameters_has_an_empty_schema() -> None:
    strict = {"type": "function", "function": {**WEATHER["function"], "strict": True}}
    spec = {"name": "get_weather", "description": "The weather of a city"}
    schema = {"json": WEATHER["function"]["parameters"]}
    tools = sent(tools=[strict, OTHER])["toolConfig"]["tools"]
    assert tools[0] == {"toolSpec": {**spec, "inputSchema": schema, "strict": True}}
    assert tools[1]["toolSpec"]["inputSchema"] == {"json": {"type": "object", "properties": {}}}
    assert sent(NOVA, tools=[strict])["toolConfig"]["tools"][0] == {"toolSpec": {**spec, "inputSchema": schema}}


@pytest.mark.shows("bedrock", "parallel tools")
def test_one_call_at_a_time_is_asked_of_models_that_know_it_and_is_else_named_as_dropped() -> None:
    found = encoded(ask(tools=[WEATHER], parallel_tool_calls=False))
    choice = {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}
    assert (orjson.loads(found.body)["additionalModelRequestFields"], found.dropped) == (choice, [])
    for model, fields in ((CLAUDE, {"tool_choice": "required"}), (NOVA, {}), (OLD_CLAUDE, {})):
        found = encoded(ask(model, tools=[WEATHER], parallel_tool_calls=False, **fields))
        assert found.dropped == ["parallel_tool_calls"]
        assert "additionalModelRequestFields" not in orjson.loads(found.body)
    assert encoded(ask(NOVA, tools=[WEATHER], parallel_tool_calls=True)).dropped == []


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [{"type": "web_search"}]}, "tools[0]"),
        ({"tools": "x"}, "tools"),
        ({"tools": [1]}, "tools[0]"),
        ({"tools": [{"type": "function"}]}, "tools[0].function.name"),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]},
            "tools[0].function.parameters",
        ),
        ({"tool_choice": "sometimes"}, "tool_choice"),
        ({"tool_choice": {"type": "function"}}, "tool_choice"),
        ({"tool_choice": {"type": "allowed_tools", "allowed_tools": {"tools": []}}}, "tool_choice"),
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, "response_format"),
        ({"reasoning_effort": "extreme"}, "reasoning_effort"),
        ({"thinking": {"type": "deep"}}, "thinking.type"),
        ({"thinking": {"type": "enabled", "budget_tokens": -1}}, "thinking.budget_tokens"),
        ({"max_tokens": "9"}, "max_tokens"),
        ({"temperature": True}, "temperature"),
        ({"stop": [1]}, "stop"),
        ({"top_k": 1.5}, "top_k"),
        ({"guardrailConfig": "g"}, "guardrailConfig"),
    ],
)
def test_what_cannot_be_read_is_named(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(GatewayError) as raised:
        DIALECT.encode(ask(**fields))
    assert raised.value.param == param


# --- the form of the answer -----------------------------------------------------------------------


@pytest.mark.shows("bedrock", "structured output")
@pytest.mark.parametrize(("model", "strict"), [(CLAUDE, True), (QWEN, True), (QWEN, False)])
def test_a_schema_is_the_models_own_text_format_where_it_has_one(model: str, strict: bool) -> None:
    body = sent(model, response_format=json_schema(strict=strict))
    definition = {"name": "City", "description": "A city", "schema": orjson.dumps(SCHEMA).decode()}
    assert body["outputConfig"] == {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": definition}}}
    assert "toolConfig" not in body


@pytest.mark.shows("bedrock", "structured output")
@pytest.mark.parametrize(("model", "strict"), [(OLD_CLAUDE, True), (CLAUDE, False), (NOVA, True), (PROFILE, True)])
def test_a_schema_is_a_forced_tool_where_the_model_has_no_format_of_its_own(model: str, strict: bool) -> None:
    body = sent(model, response_format=json_schema(strict=strict))
    spec = {"name": "json_answer", "description": "A city", "inputSchema": {"json": SCHEMA}}
    assert body["toolConfig"] == {"tools": [{"toolSpec": spec}], "toolChoice": {"tool": {"name": "json_answer"}}}
    assert "outputConfig" not in body


def test_the_answers_tool_stands_beside_the_clients_and_takes_no_name_of_theirs() -> None:
    own = {"type": "function", "function": {"name": "json_answer"}}
    config = sent(NOVA, tools=[WEATHER, own], response_format={"type": "json_object"})["toolConfig"]
    assert names(config) == ["get_weather", "json_answer", "json_answer_"]
    assert config["toolChoice"] == {"any": {}}
    config = sent(NOVA, tools=[WEATHER], response_format={"type": "json_object"}, tool_choice="none")["toolConfig"]
    assert (names(config), config["toolChoice"]) == (["json_answer"], {"tool": {"name": "json_answer"}})


def test_a_tool_that_the_client_forces_goes_before_the_form() -> None:
    choice = {"type": "function", "function": {"name": "get_weather"}}
    config = sent(NOVA, tools=[WEATHER], response_format={"type": "json_object"}, tool_choice=choice)["toolConfig"]
    assert names(config) == ["get_weather"]


def test_a_model_that_can_neither_be_formatted_nor_forced_is_asked_in_words() -> None:
    body = sent(LLAMA, response_format=json_schema(strict=True), messages=[{"role": "user", "content": "Hi"}])
    assert "toolConfig" not in body
    assert '"required":["city"]' in body["system"][-1]["text"]
    assert "JSON object" in sent(QWEN, response_format={"type": "json_object"})["system"][-1]["text"]
    assert "system" not in sent(LLAMA, response_format={"type": "text"})
