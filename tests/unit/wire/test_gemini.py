"""Canonical requests as Gemini's. Whole cases stand under tests/golden/gemini."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.errors import GatewayError
from gateway.wire.dialect import Ask, Encoded
from gateway.wire.gemini import DIALECT
from gateway.wire.gemini_messages import FORMAT, NO_SIGNATURE
from gateway.wire.gemini_schema import clean_schema

TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
OTHER = {"type": "function", "function": {"name": "other"}}
FORM = {"type": "json_schema", "json_schema": {"name": "f", "schema": {"type": "object"}}}
HI = [{"role": "user", "content": "Hi"}]


def encode(model: str = "gemini-2.5-flash", policy: dict[str, str] | None = None, **document: Any) -> Encoded:
    document = {"model": "m", "messages": HI, **document}
    return DIALECT.encode(Ask("chat", document, model, "m", "chatcmpl-abc", 0, policy=policy or {}))


def body(model: str = "gemini-2.5-flash", **document: Any) -> dict[str, Any]:
    read: dict[str, Any] = orjson.loads(encode(model, **document).body)
    return read


def refused(model: str = "gemini-2.5-flash", **document: Any) -> tuple[str, str | None]:
    with pytest.raises(GatewayError) as caught:
        encode(model, **document)
    return caught.value.code, caught.value.param


def asked_part(part: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = body(messages=[{"role": "user", "content": [part]}])["contents"][0]["parts"][0]
    return found


def call(call_id: str, name: str = "look", arguments: str = "{}") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("gemini-2.5-flash", "/models/gemini-2.5-flash:generateContent"),
        ("models/gemini-2.5-flash", "/models/gemini-2.5-flash:generateContent"),
        ("tunedModels/mine", "/tunedModels/mine:generateContent"),
        ("google/gemini-2.5-flash", "/models/gemini-2.5-flash:generateContent"),
        ("../files?x=1#", "/models/..%2Ffiles%3Fx%3D1%23:generateContent"),
        ("a\ud800", "/models/a%3F:generateContent"),
    ],
)
def test_a_models_name_is_one_segment_of_the_path(model: str, path: str) -> None:
    assert encode(model).path == path


@pytest.mark.shows("gemini", "images")
@pytest.mark.shows("gemini", "files")
@pytest.mark.shows("gemini", "audio")
@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (
            {"type": "image_url", "image_url": {"url": "data:image/webp;base64,QUJD"}},
            {"inlineData": {"mimeType": "image/webp", "data": "QUJD"}},
        ),
        (
            {"type": "image_url", "image_url": "data:text/plain,a%20b"},
            {"inlineData": {"mimeType": "text/plain", "data": "YSBi"}},
        ),
        (
            {"type": "image_url", "image_url": {"url": "https://host/a.PNG?size=2"}},
            {"fileData": {"mimeType": "image/png", "fileUri": "https://host/a.PNG?size=2"}},
        ),
        (
            {"type": "video_url", "video_url": {"url": "https://youtu.be/x"}},
            {"fileData": {"mimeType": "video/mp4", "fileUri": "https://youtu.be/x"}},
        ),
        (
            {"type": "file", "file": {"file_data": "QUJD", "filename": "a.csv"}},
            {"inlineData": {"mimeType": "text/csv", "data": "QUJD"}},
        ),
        (
            {"type": "file", "file": {"file_data": "data:application/octet-stream;base64,QUJD", "filename": "a.md"}},
            {"inlineData": {"mimeType": "text/markdown", "data": "QUJD"}},
        ),
        (
            {"type": "file", "file_url": "gs://bucket/a.txt"},
            {"fileData": {"mimeType": "text/plain", "fileUri": "gs://bucket/a.txt"}},
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "QUJD", "format": "mp3"}},
            {"inlineData": {"mimeType": "audio/mp3", "data": "QUJD"}},
        ),
    ],
)
def test_media_go_by_value_or_by_reference(part: dict[str, Any], expected: dict[str, Any]) -> None:
    assert asked_part(part) == expected


@pytest.mark.parametrize(
    ("messages", "code", "param"),
    [
        ([7], "invalid_field", "messages[0]"),
        ([{"role": "robot", "content": ""}], "invalid_field", "messages[0].role"),
        ([{"role": "user", "content": 7}], "invalid_field", "messages[0].content"),
        ([{"role": "user", "content": [{"type": "text"}]}], "invalid_field", "messages[0].content[0].text"),
        ([{"role": "user", "content": [{"type": "hologram"}]}], "unsupported_parameter", "messages[0].content[0]"),
        (
            [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}],
            "invalid_field",
            "messages[0].content[0].image_url.url",
        ),
        (
            [{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]}],
            "unsupported_parameter",
            "messages[0].content[0].file.file_id",
        ),
        (
            [{"role": "system", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}]}],
            "unsupported_parameter",
            "messages[0].content[0]",
        ),
        ([{"role": "tool", "content": "x"}], "invalid_field", "messages[0].tool_call_id"),
        ([{"role": "assistant", "tool_calls": [{"id": "a"}]}], "invalid_field", "messages[0].tool_calls[0].function"),
        ([{"role": "user", "content": "\ud800"}], "invalid_json", None),
        ([], "invalid_field", "messages"),
    ],
)
def test_what_cannot_be_sent_is_refused_by_name(messages: list[Any], code: str, param: str | None) -> None:
    assert refused(messages=messages) == (code, param)


def test_instructions_alone_are_asked_as_a_users() -> None:
    assert body(messages=[{"role": "system", "content": "Greet."}]) == {
        "contents": [{"role": "user", "parts": [{"text": "Greet."}]}]
    }


def test_messages_of_one_side_are_one_turn_but_results_stand_alone() -> None:
    contents = body(
        messages=[
            {"role": "user", "content": "a"},
            {"role": "user", "content": "b"},
            {"role": "assistant", "content": "c"},
            {"role": "assistant", "content": None, "tool_calls": [call("1")]},
            {"role": "tool", "tool_call_id": "1", "content": None},
            {"role": "user", "content": "d"},
        ]
    )["contents"]
    assert [content["role"] for content in contents] == ["user", "model", "user", "user"]
    assert [len(content["parts"]) for content in contents] == [2, 2, 1, 1]
    assert contents[2]["parts"][0]["functionResponse"] == {"name": "look", "response": {"output": ""}, "id": "1"}


@pytest.mark.parametrize("third", [False, True])
def test_media_in_a_result_stand_in_it_from_the_third_generation_on_and_behind_it_before(third: bool) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}
    contents = body(
        "gemini-3-flash-preview" if third else "gemini-2.5-flash",
        messages=[
            *HI,
            {"role": "assistant", "tool_calls": [call("1"), call("2", "other")]},
            {"role": "tool", "tool_call_id": "1", "content": [{"type": "text", "text": "see"}, image]},
            {"role": "tool", "tool_call_id": "2", "content": "[1]"},
        ],
    )["contents"]
    data = {"inlineData": {"mimeType": "image/png", "data": "QUJD"}}
    responses = [part["functionResponse"] for part in contents[2]["parts"]]
    assert [response["response"] for response in responses] == [{"output": "see"}, {"output": "[1]"}]
    assert responses[0].get("parts") == ([data] if third else None)
    assert contents[3:] == ([] if third else [{"role": "user", "parts": [data]}])


@pytest.mark.shows("gemini", "reasoning")
def test_an_answer_sent_back_has_its_signatures_where_they_were() -> None:
    parts = [
        {"text": "Hm.", "thought": True, "thoughtSignature": "dA=="},
        {"text": "Looking.", "thoughtSignature": "dGV4dA=="},
        {"functionCall": {"name": "look", "args": {"a": 1}, "id": "x1"}, "thoughtSignature": "Y2FsbA=="},
        {"functionCall": {"name": "look", "args": {}, "id": "x2"}},
    ]
    answer = {"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]}
    ask = Ask("chat", {"messages": HI}, "gemini-3-flash-preview", "m", "chatcmpl-abc", 0)
    message = DIALECT.decode(ask, orjson.dumps(answer))[0]["choices"][0]["message"]
    contents = body("gemini-3-flash-preview", messages=[*HI, message])["contents"]
    assert contents[1] == {"role": "model", "parts": parts}


@pytest.mark.parametrize(
    ("model", "signed"), [("gemini-3-pro-preview", True), ("gemini-flash-latest", True), ("gemini-2.5-pro", False)]
)
def test_calls_of_another_model_are_signed_only_for_the_third_generation(model: str, signed: bool) -> None:
    details = [{"type": "reasoning.encrypted", "data": "x", "id": "1", "format": "openai-responses-v1"}]
    message = {"role": "assistant", "tool_calls": [call("1"), call("2")], "reasoning_details": details}
    parts = body(model, messages=[*HI, message])["contents"][1]["parts"]
    assert [part.get("thoughtSignature") for part in parts] == [NO_SIGNATURE if signed else None, None]


def test_a_signature_without_text_has_a_part_of_its_own() -> None:
    details = [{"type": "reasoning.encrypted", "data": "eA==", "format": FORMAT}]
    message = {"role": "assistant", "content": None, "reasoning_details": details}
    parts = body(messages=[*HI, message])["contents"][1]["parts"]
    assert parts == [{"text": "", "thoughtSignature": "eA=="}]


@pytest.mark.shows("gemini", "tool choice")
@pytest.mark.parametrize(
    ("choice", "config", "names"),
    [
        ("auto", None, ["look", "other"]),
        ("none", {"mode": "NONE"}, ["look", "other"]),
        ("required", {"mode": "ANY"}, ["look", "other"]),
        (
            {"type": "function", "function": {"name": "look"}},
            {"mode": "ANY", "allowedFunctionNames": ["look"]},
            ["look", "other"],
        ),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [OTHER]}}, None, ["other"]),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [OTHER]}},
            {"mode": "ANY", "allowedFunctionNames": ["other"]},
            ["look", "other"],
        ),
    ],
)
def test_every_form_of_tool_choice_is_said(choice: Any, config: Any, names: list[str]) -> None:
    sent = body(tools=[TOOL, OTHER], tool_choice=choice)
    assert sent.get("toolConfig", {}).get("functionCallingConfig") == config
    assert [tool["name"] for tool in sent["tools"][0]["functionDeclarations"]] == names


def test_strict_tools_are_validated() -> None:
    strict = {"type": "function", "function": {"name": "look", "strict": True}}
    assert body(tools=[strict])["toolConfig"] == {"functionCallingConfig": {"mode": "VALIDATED"}}
    assert "toolConfig" not in body("gemini-2.0-flash", tools=[strict])


def test_googles_own_tools_are_passed_on_and_announced_beside_functions() -> None:
    sent = body("gemini-3-flash-preview", tools=[TOOL, {"url_context": {}}], web_search_options={})
    assert sent["tools"][1:] == [{"urlContext": {}}, {"googleSearch": {}}]
    assert sent["toolConfig"] == {"includeServerSideToolInvocations": True}
    assert refused(tools=[{"type": "computer"}]) == ("unsupported_parameter", "tools[0]")


@pytest.mark.shows("gemini", "structured output")
@pytest.mark.parametrize(
    ("model", "document", "native", "answer_tool", "dropped"),
    [
        ("gemini-2.5-flash", {"response_format": FORM}, True, False, []),
        ("gemini-3-flash-preview", {"response_format": FORM, "tools": [TOOL]}, True, False, []),
        ("gemini-2.5-flash", {"response_format": FORM, "tools": [TOOL], "tool_choice": "none"}, True, False, []),
        ("gemini-2.5-flash", {"response_format": FORM, "tools": [TOOL]}, False, True, []),
        ("gemini-2.5-flash", {"response_format": {"type": "json_object"}}, True, False, []),
        (
            "gemini-2.5-flash",
            {"response_format": {"type": "json_object"}, "tools": [TOOL]},
            False,
            False,
            ["response_format"],
        ),
        ("gemini-2.5-flash", {"response_format": {"type": "text"}}, False, False, []),
    ],
)
def test_the_form_of_an_answer_is_native_where_it_can_be(
    model: str, document: dict[str, Any], native: bool, answer_tool: bool, dropped: list[str]
) -> None:
    encoded = encode(model, **document)
    sent = orjson.loads(encoded.body)
    assert ("responseMimeType" in sent.get("generationConfig", {})) is native
    declared = [function["name"] for tool in sent.get("tools", []) for function in tool["functionDeclarations"]]
    assert ("give_final_answer" in declared) is answer_tool
    assert encoded.dropped == dropped


def test_a_form_that_is_lost_is_refused_where_the_policy_says_so() -> None:
    with pytest.raises(GatewayError, match="response_format"):
        encode(policy={"response_format": "refuse"}, response_format={"type": "json_object"}, tools=[TOOL])


@pytest.mark.parametrize(
    ("schema", "cleaned"),
    [
        ({"$ref": "#/$defs/A", "description": "d"}, {"$ref": "#/$defs/A"}),
        ({"$ref": "#/$defs/A", "$defs": {"A": {"const": 1}}}, {"$ref": "#/$defs/A", "$defs": {"A": {"enum": [1]}}}),
        ({"allOf": [{"$ref": "#/definitions/A"}], "title": "t"}, {"$ref": "#/$defs/A"}),
        ({"allOf": [{"type": "string"}], "title": "t"}, {"type": "string", "title": "t"}),
        ({"type": "object", "default": {"const": 1}}, {"type": "object", "default": {"const": 1}}),
        ({"properties": {"const": {"const": "x"}}}, {"properties": {"const": {"enum": ["x"]}}}),
    ],
)
def test_only_what_would_be_misread_in_a_schema_is_changed(schema: dict[str, Any], cleaned: dict[str, Any]) -> None:
    assert clean_schema(schema) == cleaned


def test_a_schema_with_nothing_to_change_is_not_copied() -> None:
    schema = {"type": "object", "properties": {"a": {"anyOf": [{"type": "string"}, {"type": "null"}]}}, "$defs": {}}
    assert clean_schema(schema) is schema
