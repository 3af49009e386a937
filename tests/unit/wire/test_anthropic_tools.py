"""Tools and JSON answers with Anthropic's models."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.wire.anthropic_schema import Narrowed
from tests.unit.wire.anthropic_asks import ALWAYS, BUDGET, FIVE, OLD, TOOL, answer, refused, sent, wanting


@pytest.mark.shows("anthropic", "tool choice")
@pytest.mark.parametrize(
    ("choice", "made"),
    [
        ("auto", None),
        ("none", {"type": "none"}),
        ("required", {"type": "any"}),
        ({"type": "function", "function": {"name": "look"}}, {"type": "tool", "name": "look"}),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [TOOL]}},
            {"type": "any"},
        ),
    ],
)
def test_every_form_of_tool_choice_has_its_counterpart(choice: Any, made: Any) -> None:
    other = {"type": "function", "function": {"name": "other"}}
    body = sent(tools=[TOOL, other], tool_choice=choice)
    assert body.get("tool_choice") == made
    names = ["look"] if isinstance(choice, dict) and choice["type"] == "allowed_tools" else ["look", "other"]
    assert [tool["name"] for tool in body["tools"]] == names


@pytest.mark.shows("anthropic", "parallel tools")
def test_calls_one_at_a_time_are_a_matter_of_the_choice() -> None:
    assert sent(tools=[TOOL], parallel_tool_calls=False)["tool_choice"] == {
        "type": "auto",
        "disable_parallel_tool_use": True,
    }
    assert "tool_choice" not in sent(tools=[TOOL], parallel_tool_calls=True)


@pytest.mark.shows("anthropic", "tools")
def test_a_strict_tool_is_strict_where_the_model_and_the_schema_allow_it() -> None:
    tight = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    loose = {"type": "object", "properties": {"a": {"type": "string", "maxLength": 3}}}
    tools = [
        {"type": "function", "function": {"name": name, "parameters": schema, "strict": True}}
        for name, schema in (("tight", tight), ("loose", loose))
    ]
    body = sent(tools=tools)
    assert [tool.get("strict") for tool in body["tools"]] == [True, None]
    assert body["tools"][0]["input_schema"] == {**tight, "additionalProperties": False}
    assert body["tools"][1]["input_schema"] == loose
    assert [tool.get("strict") for tool in sent(OLD, tools=tools)["tools"]] == [None, None]


def test_tools_of_anthropics_own_pass_and_those_of_others_are_refused() -> None:
    own = {"type": "bash_20250124", "name": "bash"}
    assert sent(tools=[own])["tools"] == [own]
    assert refused(tools=[{"type": "custom", "custom": {"name": "x"}}]) == ("unsupported_parameter", "tools[0].type")
    assert refused(tools=[{"type": "function", "function": {}}]) == ("invalid_field", "tools[0].function.name")


def test_a_forced_tool_is_refused_where_the_model_takes_none_or_dropped_as_the_account_says() -> None:
    assert refused(ALWAYS, tools=[TOOL], tool_choice="required") == ("unsupported_parameter", "tool_choice")
    body = sent(ALWAYS, {"tool_choice": "drop"}, tools=[TOOL], tool_choice="required")
    assert "tool_choice" not in body
    assert body["dropped"] == ["tool_choice"]


STRICT = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
LOOSE = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 3}}}
CIRCLE = {
    "type": "object",
    "properties": {"a": {"$ref": "#/$defs/n"}},
    "$defs": {"n": {"items": {"$ref": "#/$defs/n"}}},
}


@pytest.mark.shows("anthropic", "structured output")
@pytest.mark.parametrize(
    ("model", "document", "form"),
    [
        (BUDGET, {"response_format": wanting(STRICT)}, "native"),
        (BUDGET, {"response_format": wanting(LOOSE)}, "forced"),
        (BUDGET, {"response_format": wanting(LOOSE), "reasoning_effort": "low"}, "native"),
        (BUDGET, {"response_format": wanting(LOOSE), "tools": [TOOL]}, "native"),
        (FIVE, {"response_format": wanting(LOOSE), "reasoning_effort": "low"}, "forced"),
        (ALWAYS, {"response_format": wanting(LOOSE)}, "native"),
        (ALWAYS, {"response_format": wanting(CIRCLE)}, "told"),
        (ALWAYS, {"response_format": {"type": "json_object"}}, "told"),
        (OLD, {"response_format": wanting(STRICT)}, "forced"),
        (OLD, {"response_format": wanting(STRICT), "tools": [TOOL]}, "any"),
        (OLD, {"response_format": wanting(STRICT), "tools": [TOOL], "tool_choice": "none"}, "forced"),
        (OLD, {"response_format": wanting(STRICT), "tools": [TOOL], "tool_choice": "required"}, "theirs"),
        (OLD, {"response_format": {"type": "text"}}, "none"),
    ],
)
def test_json_is_had_natively_or_by_a_tool(model: str, document: dict[str, Any], form: str) -> None:
    body = sent(model, **document)
    own = [tool for tool in body.get("tools", []) if tool["name"] == "json_answer"]
    choice = body.get("tool_choice")
    assert ("format" in body.get("output_config", {})) == (form == "native")
    assert bool(own) == (form in ("forced", "told", "any"))
    if form == "forced":
        assert choice == {"type": "tool", "name": "json_answer", "disable_parallel_tool_use": True}
    elif form == "told":
        assert choice is None
        assert "json_answer" in body["system"]
    elif form in ("any", "theirs"):
        assert choice == {"type": "any"}


def test_a_schema_keeps_what_can_be_said_and_tells_the_rest() -> None:
    narrowed = Narrowed({**LOOSE, "$schema": "s", "oneOf": [{"type": "null", "pattern": "x"}]})
    assert (narrowed.exact, narrowed.possible) == (False, True)
    assert narrowed.schema == {
        "type": "object",
        "properties": {"a": {"type": "integer", "description": '{"minimum":3}'}},
        "anyOf": [{"type": "null", "description": '{"pattern":"x"}'}],
        "additionalProperties": False,
    }


@pytest.mark.parametrize(
    "schema",
    [
        CIRCLE,
        {"$ref": "https://x.example/s"},
        {"$ref": "#"},
        {"items": True},
        {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
    ],
)
def test_a_schema_in_a_circle_or_with_references_outwards_is_impossible(schema: dict[str, Any]) -> None:
    assert not Narrowed(schema).possible


def test_a_schema_may_use_a_definition_twice() -> None:
    two = {name: {"$ref": "#/$defs/n"} for name in ("a", "b")}
    narrowed = Narrowed({"properties": two, "$defs": {"n": {"$ref": "#/$defs/m"}, "m": {"type": "null"}}})
    assert narrowed.exact


def test_the_tool_for_the_answer_does_not_take_a_clients_name() -> None:
    taken = {"type": "function", "function": {"name": "json_answer"}}
    body = sent(OLD, response_format={"type": "json_object"}, tools=[taken])
    assert [tool["name"] for tool in body["tools"]] == ["json_answer", "json_answer_"]


@pytest.mark.shows("anthropic", "structured output")
def test_the_arguments_of_that_tool_are_the_answer() -> None:
    call = {"type": "tool_use", "id": "t", "name": "json_answer", "input": {"a": 1}}
    text = {"type": "text", "text": "Here:"}
    choice = answer([text, call], "tool_use", response_format={"type": "json_object"})
    assert choice["message"] == {"role": "assistant", "content": '{"a":1}'}
    assert (choice["finish_reason"], choice["native_finish_reason"]) == ("stop", "tool_use")
    other = {"type": "tool_use", "id": "t2", "name": "look", "input": {}}
    choice = answer([text, other], "tool_use", response_format={"type": "json_object"}, tools=[TOOL])
    assert choice["message"]["content"] == "Here:"
    assert choice["finish_reason"] == "tool_calls"


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ("json", "response_format.type"),
        ({"type": "xml"}, "response_format.type"),
        ({"type": "json_schema"}, "response_format.json_schema"),
        (wanting({"type": "array"}), "response_format.json_schema.schema"),
    ],
)
def test_what_is_no_response_format_is_refused(asked: Any, field: str) -> None:
    assert refused(response_format=asked) == ("invalid_field", field)
