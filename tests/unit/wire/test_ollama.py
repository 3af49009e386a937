"""Ollama's own API: what is sent for a canonical request, and what comes back."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.errors import GatewayError
from gateway.wire.dialect import Ask
from gateway.wire.ollama import DIALECT

F = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "$defs": {"a": {}}}}}
G = {"type": "function", "function": {"name": "g"}}
NAMED = {"type": "function", "function": {"name": "f"}}


def ask(document: dict[str, Any], operation: str = "chat", **more: Any) -> Ask:
    return Ask(operation, document, "qwen3", "shown", "chatcmpl-abc", 7, **more)


def chat(*messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"model": "shown", "messages": list(messages) or [{"role": "user", "content": "Hi"}], **fields}


def user(*parts: Any) -> dict[str, Any]:
    return chat({"role": "user", "content": list(parts)})


def sent(document: dict[str, Any], **more: Any) -> dict[str, Any]:
    body: dict[str, Any] = orjson.loads(DIALECT.encode(ask(document, **more)).body)
    return body


def line(message: Any, **more: Any) -> bytes:
    return orjson.dumps({"model": "qwen3", "message": message, "done": False, **more}) + b"\n"


def decoded(document: dict[str, Any], *lines: bytes) -> Any:
    decoder = DIALECT.decoder(ask(document, stream=True))
    return decoder, [chunk["choices"][0] for chunk in decoder.feed(b"".join(lines)) + decoder.finish()]


def whole(document: dict[str, Any], message: Any, **more: Any) -> dict[str, Any]:
    answer, _ = DIALECT.decode(ask(document), line(message, done=True, **more))
    choice: dict[str, Any] = answer["choices"][0]
    return choice


# --- requests -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "think"),
    [
        ({}, None),
        ({"reasoning_effort": "none"}, False),
        ({"reasoning_effort": "minimal"}, "low"),
        ({"reasoning_effort": "high"}, "high"),
        ({"reasoning_effort": "their-own"}, "their-own"),
        ({"thinking": {"type": "enabled", "budget_tokens": 5000}}, True),
        ({"thinking": {"type": "disabled"}}, False),
        ({"thinking": {"type": "enabled"}, "reasoning_effort": "low"}, "low"),
        ({"think": True, "reasoning_effort": "low"}, True),
    ],
)
@pytest.mark.shows("ollama", "reasoning")
def test_efforts_and_thinking_become_think(fields: dict[str, Any], think: object) -> None:
    assert sent(chat(**fields)).get("think") == think


@pytest.mark.shows("ollama", "structured output")
def test_answers_are_held_to_json_natively() -> None:
    schema = {"type": "object"}
    assert sent(chat(response_format={"type": "json_object"}))["format"] == "json"
    named = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    assert sent(chat(response_format=named))["format"] == schema
    assert "format" not in sent(chat(response_format={"type": "text"}))
    assert sent(chat(format="json"))["format"] == "json"


def test_the_lesser_known_options_are_passed_on_by_name() -> None:
    body = sent(chat(num_ctx=9, min_p=0.1, repeat_penalty=1.1, mirostat=None, options={"num_gpu": 1}, stop=["a", "b"]))
    assert body["options"] == {
        "num_gpu": 1,
        "num_ctx": 9,
        "min_p": 0.1,
        "repeat_penalty": 1.1,
        "stop": ["a", "b"],
    }


def test_what_it_lacks_is_dropped_or_refused() -> None:
    encoded = DIALECT.encode(ask(chat(metadata={}, parallel_tool_calls=False, n=3, logit_bias={})))
    assert list(encoded.dropped) == ["metadata", "parallel_tool_calls"]
    for name, value in {"logit_bias": {"1": 2}, "audio": {"voice": "a"}, "nobody_knows": 1}.items():
        with pytest.raises(GatewayError) as caught:
            DIALECT.encode(ask(chat(**{name: value})))
        assert (caught.value.code, caught.value.param) == ("unsupported_parameter", name)


@pytest.mark.shows("ollama", "images")
@pytest.mark.parametrize(
    ("url", "data"),
    [
        ("data:image/png;base64,AAAA", "AAAA"),
        ({"url": "data:image/png;base64,AAAA", "detail": "high"}, "AAAA"),
        ("data:image/svg+xml,%3Csvg/%3E", "PHN2Zy8+"),
    ],
)
def test_images_go_out_in_base64(url: object, data: str) -> None:
    message = sent(user({"type": "image_url", "image_url": url}))["messages"][0]
    assert message["images"] == [data]


@pytest.mark.parametrize(
    ("part", "code", "param"),
    [
        (
            {"type": "image_url", "image_url": {"url": "https://a.test/b.png"}},
            "unsupported_parameter",
            ".image_url.url",
        ),
        ({"type": "image_url", "image_url": {"url": "data:nothing"}}, "invalid_field", ".image_url.url"),
        ({"type": "image_url", "image_url": 3}, "invalid_field", ".image_url.url"),
        ({"type": "file", "file": {"file_data": "data:application/pdf;base64,AA"}}, "unsupported_parameter", ""),
        ({"type": "input_audio", "input_audio": {"data": "AA"}}, "unsupported_parameter", ""),
        ({"type": "text"}, "invalid_field", ".text"),
        ({"type": ["text"]}, "unsupported_parameter", ""),
        ("text", "invalid_field", ""),
    ],
)
def test_parts_that_it_cannot_take_are_named(part: object, code: str, param: str) -> None:
    with pytest.raises(GatewayError) as caught:
        sent(user({"type": "text", "text": "a"}, part))
    assert (caught.value.code, caught.value.param) == (code, f"messages[0].content[1]{param}")


def test_only_plain_thoughts_are_sent_back() -> None:
    plain = {"role": "assistant", "content": "a", "reasoning_content": "hm"}
    signed = {**plain, "reasoning_details": [{"type": "reasoning.text", "text": "hm", "signature": "s"}]}
    assert sent(chat(plain))["messages"][0]["thinking"] == "hm"
    assert "thinking" not in sent(chat(signed))["messages"][0]


# --- tools --------------------------------------------------------------------------------------


@pytest.mark.shows("ollama", "tool choice")
def test_a_choice_that_leaves_the_model_free_offers_the_tools_it_names() -> None:
    assert len(sent(chat(tools=[F, G], tool_choice="auto"))["tools"]) == 2
    assert "tools" not in sent(chat(tools=[F, G], tool_choice="none"))
    some = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [NAMED]}}
    assert [tool["function"]["name"] for tool in sent(chat(tools=[F, G], tool_choice=some))["tools"]] == ["f"]


@pytest.mark.shows("ollama", "tool choice")
def test_a_call_that_is_demanded_is_made_by_a_schema() -> None:
    one = sent(chat(tools=[F, G], tool_choice=NAMED))
    assert one["format"] == F["function"]["parameters"]
    assert "tools" not in one
    assert one["messages"][0]["role"] == "system"
    several = sent(chat(tools=[F, G], tool_choice="required"))["format"]
    assert [option["properties"]["name"]["enum"] for option in several["anyOf"]] == [["f"], ["g"]]
    assert several["$defs"] == {"a": {}}
    assert sent(chat(tools=[G], tool_choice="required"))["format"] == {"type": "object"}


def test_a_demand_is_dropped_or_refused_where_the_policy_says_so() -> None:
    document = chat(tools=[F], tool_choice="required")
    encoded = DIALECT.encode(ask(document, policy={"tool_choice": "drop"}))
    assert list(encoded.dropped) == ["tool_choice"]
    assert "format" not in orjson.loads(encoded.body)
    assert orjson.loads(encoded.body)["tools"]
    with pytest.raises(GatewayError):
        DIALECT.encode(ask(document, policy={"tool_choice": "refuse"}))
    answer, _ = DIALECT.decode(ask(document, policy={"tool_choice": "drop"}), line({"content": "{}"}, done=True))
    assert answer["choices"][0]["message"]["content"] == "{}"


def test_a_choice_of_a_tool_that_is_not_there_is_refused() -> None:
    with pytest.raises(GatewayError) as caught:
        sent(chat(tools=[G], tool_choice=NAMED))
    assert (caught.value.code, caught.value.param) == ("invalid_field", "tool_choice")


def test_custom_tools_are_functions_of_one_text() -> None:
    custom = {"type": "custom", "custom": {"name": "grep", "description": "Search"}}
    body = sent(
        chat(
            {
                "role": "assistant",
                "tool_calls": [{"id": "a", "type": "custom", "custom": {"name": "grep", "input": "x"}}],
            },
            tools=[custom],
        )
    )
    assert body["tools"][0]["function"]["parameters"]["required"] == ["input"]
    assert body["messages"][0]["tool_calls"][0]["function"] == {"name": "grep", "arguments": {"input": "x"}}


def test_a_forced_call_that_was_cut_off_is_told_as_text() -> None:
    document = chat(tools=[F, G], tool_choice="required")
    choice = whole(document, {"content": '{"name":"f","argu'}, done_reason="length")
    assert choice["message"] == {"role": "assistant", "content": '{"name":"f","argu'}
    assert choice["finish_reason"] == "length"
    _, choices = decoded(document, line({"content": '{"name":"f"'}), line({"content": ""}, done=True))
    assert choices[-1]["delta"] == {"content": '{"name":"f"'}


def test_a_model_that_calls_of_its_own_accord_is_let() -> None:
    call = {"function": {"name": "f", "arguments": {}}}
    document = chat(tools=[F, G], tool_choice="required")
    assert whole(document, {"content": "", "tool_calls": [call]})["message"]["tool_calls"][0]["function"]["name"] == "f"
    _, choices = decoded(document, line({"tool_calls": [call]}), line({"content": "done"}), line({}, done=True))
    assert choices[0]["delta"]["tool_calls"][0]["id"] == "call_abc_0"
    assert choices[1]["delta"] == {"content": "done"}
    assert choices[-1]["finish_reason"] == "tool_calls"


@pytest.mark.shows("ollama", "tools")
@pytest.mark.shows("ollama", "parallel tools")
@pytest.mark.shows("ollama", "streaming")
def test_calls_in_a_stream_are_counted_through() -> None:
    first = {"id": "call_own", "function": {"name": "f", "arguments": {"a": 1}}}
    second = {"function": {"name": "g"}}
    _, choices = decoded(chat(), line({"tool_calls": [first]}), line({"tool_calls": [second]}), line({}, done=True))
    calls = [call for choice in choices for call in choice["delta"].get("tool_calls", [])]
    assert [(call["index"], call["id"]) for call in calls] == [(0, "call_own"), (1, "call_abc_1")]
    assert [call["function"]["arguments"] for call in calls] == ['{"a":1}', "{}"]
