"""Cohere's dialect: what is asked of it, and how its answers read."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.errors import GatewayError
from gateway.wire.dialect import Ask, Document
from gateway.wire.dialects import find_dialect

COHERE = find_dialect("cohere")
USER = {"role": "user", "content": "Hi"}
PNG = "data:image/png;base64,iVBORw0KGgo="
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "required": ["q"]}}}
OTHER = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "required": ["a"]}}}
FREE = {"type": "function", "function": {"name": "now"}}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
AS_JSON = {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA}}


def ask(operation: str = "chat", *, stream: bool = False, policy: dict[str, str] | None = None, **fields: Any) -> Ask:
    document = {"model": "shown", **({"messages": [USER]} if operation == "chat" else {}), **fields}
    return Ask(operation, document, "theirs", "shown", "chatcmpl-abc", 7, stream=stream, policy=policy or {})


def sent(**fields: Any) -> Document:
    body: Document = orjson.loads(COHERE.encode(ask(**fields)).body)
    return body


def refused(operation: str = "chat", **fields: Any) -> tuple[str, str | None]:
    with pytest.raises(GatewayError) as caught:
        COHERE.encode(ask(operation, **fields))
    return caught.value.code, caught.value.param


@pytest.mark.shows("cohere", "chat")
def test_parameters_go_by_cohere_s_names() -> None:
    body = sent(
        temperature=0.5,
        top_p=0.9,
        top_k=40,
        seed=3,
        frequency_penalty=0.1,
        presence_penalty=0.2,
        stop="END",
        max_tokens=10,
        max_completion_tokens=20,
        safety_mode="STRICT",
        n=3,
    )
    assert body == {
        "model": "theirs",
        "messages": [USER],
        "stream": False,
        "temperature": 0.5,
        "p": 0.9,
        "k": 40,
        "seed": 3,
        "frequency_penalty": 0.1,
        "presence_penalty": 0.2,
        "stop_sequences": ["END"],
        "max_tokens": 20,
        "safety_mode": "STRICT",
    }


def test_what_cohere_lacks_is_dropped_or_refused() -> None:
    assert COHERE.encode(ask(user="u", metadata={"a": "b"}, logit_bias={})).dropped == ["user", "metadata"]
    assert refused(logit_bias={"50256": -100}) == ("unsupported_parameter", "logit_bias")
    assert refused(top_logprobs=3) == ("unsupported_parameter", "top_logprobs")
    assert refused(frobnicate=1) == ("unsupported_parameter", "frobnicate")
    allowed = COHERE.encode(ask(logit_bias={"50256": -100}, policy={"logit_bias": "drop"}))
    assert allowed.dropped == ["logit_bias"]


def test_system_and_developer_messages_are_one_role() -> None:
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "system", "content": [{"type": "text", "text": "x"}]},
    ]
    assert sent(messages=messages)["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "system", "content": [{"type": "text", "text": "x"}]},
    ]


@pytest.mark.shows("cohere", "images")
def test_images_go_by_url_and_as_data() -> None:
    parts = [
        {"type": "text", "text": "See"},
        {"type": "image_url", "image_url": {"url": PNG}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "low"}},
    ]
    assert sent(messages=[{"role": "user", "content": parts}])["messages"][0]["content"] == parts
    assert COHERE.image_urls


@pytest.mark.parametrize(
    "part", [{"type": "file", "file": {"file_id": "f"}}, {"type": "input_audio", "input_audio": {}}]
)
def test_parts_that_cohere_lacks_are_refused_by_their_place(part: Document) -> None:
    content = [{"type": "text", "text": "See"}, part]
    messages = [USER, {"role": "user", "content": content}]
    assert refused(messages=messages) == ("unsupported_parameter", "messages[1].content[1]")


@pytest.mark.parametrize(
    ("messages", "field"),
    [
        (None, "messages"),
        ([], "messages"),
        (["x"], "messages[0]"),
        ([{"role": "owner", "content": "x"}], "messages[0].role"),
        ([{"role": "user"}], "messages[0].content"),
        ([{"role": "user", "content": [7]}], "messages[0].content[0]"),
        ([{"role": "user", "content": [{"type": "text"}]}], "messages[0].content[0].text"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], "messages[0].content[0].image_url.url"),
        ([{"role": "tool", "content": "x"}], "messages[0].tool_call_id"),
        ([{"role": "assistant", "tool_calls": {}}], "messages[0].tool_calls"),
        ([{"role": "assistant", "tool_calls": [{"id": "a"}]}], "messages[0].tool_calls[0].function.name"),
        ([{"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]}], "messages[0].tool_calls[0].id"),
    ],
)
def test_messages_that_cannot_be_read_are_named(messages: Any, field: str) -> None:
    assert refused(messages=messages) == ("invalid_field", field)


@pytest.mark.shows("cohere", "tools")
@pytest.mark.shows("cohere", "parallel tools")
def test_tool_calls_and_their_results_keep_their_ids() -> None:
    calls = [
        {"id": "one", "type": "function", "function": {"name": "look_up", "arguments": '{"q":1}'}},
        {"id": "two", "type": "function", "function": {"name": "now", "arguments": ""}},
    ]
    messages = [
        USER,
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "tool_call_id": "one", "content": "found"},
        {"role": "tool", "tool_call_id": "two", "content": [{"type": "text", "text": "noon"}]},
    ]
    assert sent(messages=messages)["messages"][1:] == [
        {
            "role": "assistant",
            "tool_calls": [calls[0], {**calls[1], "function": {"name": "now", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "one", "content": "found"},
        {"role": "tool", "tool_call_id": "two", "content": [{"type": "text", "text": "noon"}]},
    ]


def test_images_in_results_follow_behind_the_last_result() -> None:
    image = {"type": "image_url", "image_url": {"url": PNG}}
    calls = [{"id": name, "function": {"name": "shoot", "arguments": "{}"}} for name in ("a", "b")]
    messages = [
        {"role": "assistant", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "a", "content": [image]},
        {"role": "tool", "tool_call_id": "b", "content": "none"},
        USER,
    ]
    assert sent(messages=messages)["messages"][1:] == [
        {"role": "tool", "tool_call_id": "a", "content": "The result is in the images that follow."},
        {"role": "tool", "tool_call_id": "b", "content": "none"},
        {"role": "user", "content": [{"type": "text", "text": "Images in the result of a:"}, image]},
        USER,
    ]


def test_deprecated_functions_become_tools() -> None:
    messages = [
        USER,
        {"role": "assistant", "content": None, "function_call": {"name": "now", "arguments": "{}"}},
        {"role": "function", "name": "now", "content": "noon"},
    ]
    body = sent(messages=messages, functions=[FREE["function"]], function_call={"name": "now"})
    assert body["messages"][1]["tool_calls"][0]["id"] == body["messages"][2]["tool_call_id"]
    assert body["tools"] == [
        {"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}}
    ]
    assert body["tool_choice"] == "REQUIRED"


@pytest.mark.shows("cohere", "tool choice")
@pytest.mark.parametrize(
    ("choice", "word", "names"),
    [
        (None, None, ["look_up", "add"]),
        ("auto", None, ["look_up", "add"]),
        ("none", "NONE", ["look_up", "add"]),
        ("required", "REQUIRED", ["look_up", "add"]),
        ({"type": "function", "function": {"name": "add"}}, "REQUIRED", ["add"]),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "name": "add"}]},
            },
            None,
            ["add"],
        ),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [TOOL]}}, "REQUIRED", ["look_up"]),
    ],
)
def test_every_tool_choice_is_told(choice: Any, word: str | None, names: list[str]) -> None:
    body = sent(tools=[TOOL, OTHER], tool_choice=choice)
    assert body.get("tool_choice") == word
    assert [tool["function"]["name"] for tool in body["tools"]] == names


@pytest.mark.parametrize(
    "choice", ["sometimes", {"type": "function"}, {"function": {"name": "other"}}, 4, {"type": "allowed_tools"}]
)
def test_a_tool_choice_that_chooses_nothing_is_refused(choice: Any) -> None:
    assert refused(tools=[TOOL], tool_choice=choice) == ("invalid_field", "tool_choice")


def test_tools_that_are_no_functions_are_refused() -> None:
    assert refused(tools=[{"type": "web_search"}]) == ("unsupported_parameter", "tools[0].type")


def test_strict_is_for_all_tools_and_only_where_cohere_takes_it() -> None:
    strict = {"type": "function", "function": {**TOOL["function"], "strict": True}}  # type: ignore[dict-item]
    assert sent(tools=[strict, OTHER])["strict_tools"] is True
    encoded = COHERE.encode(ask(tools=[strict, FREE]))
    assert "strict_tools" not in orjson.loads(encoded.body)
    assert encoded.dropped == ["tools.function.strict"]


@pytest.mark.shows("cohere", "structured output")
def test_json_is_asked_for_natively() -> None:
    assert sent(response_format={"type": "json_object"})["response_format"] == {"type": "json_object"}
    assert sent(response_format=AS_JSON)["response_format"] == {"type": "json_object", "json_schema": SCHEMA}
    assert "response_format" not in sent(response_format={"type": "text"})
    assert refused(response_format={"type": "xml"}) == ("invalid_field", "response_format.type")
    assert refused(response_format={"type": "json_schema"})[1] == "response_format.json_schema.schema"


def test_where_a_call_is_demanded_or_forbidden_the_format_needs_no_tool() -> None:
    body = sent(tools=[TOOL], response_format=AS_JSON, tool_choice="required")
    assert [tool["function"]["name"] for tool in body["tools"]] == ["look_up"]
    assert "response_format" not in body
    body = sent(tools=[TOOL], response_format=AS_JSON, tool_choice="none")
    assert "tools" not in body
    assert body["response_format"]["json_schema"] == SCHEMA


@pytest.mark.shows("cohere", "reasoning")
@pytest.mark.parametrize(
    ("fields", "thinking"),
    [
        ({"thinking": {"type": "enabled", "budget_tokens": 500}}, {"type": "enabled", "token_budget": 500}),
        ({"thinking": {"type": "disabled"}, "reasoning_effort": "high"}, {"type": "disabled"}),
        ({"reasoning_effort": "none"}, {"type": "disabled"}),
        ({"reasoning_effort": "low"}, {"type": "enabled", "token_budget": 1024}),
        ({"reasoning_effort": "high"}, {"type": "enabled"}),
    ],
)
def test_thinking_has_a_budget(fields: Document, thinking: Document) -> None:
    assert sent(**fields)["thinking"] == thinking
