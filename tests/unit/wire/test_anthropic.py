"""Anthropic's Messages API: the provider, its models, messages and parts."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.providers.anthropic import PROVIDER
from gateway.wire.anthropic import DIALECT
from gateway.wire.anthropic_messages import tool_id
from gateway.wire.anthropic_models import find_traits
from tests.unit.wire.anthropic_asks import CALL, HELLO, TOOL, make_ask, refused, sent


def test_the_provider_sends_its_key_and_the_version() -> None:
    assert PROVIDER.auth.headers("k") == {"x-api-key": "k"}
    assert PROVIDER.headers == {"anthropic-version": "2023-06-01"}
    assert (PROVIDER.dialect, PROVIDER.auth.env) == ("anthropic", "ANTHROPIC_API_KEY")


@pytest.mark.parametrize(
    ("model", "budget", "adaptive", "unasked", "forced"),
    [
        ("claude-2.1", False, False, False, True),
        ("claude-3-5-sonnet-20241022", False, False, False, True),
        ("claude-3.7-sonnet", True, False, False, True),
        ("claude-sonnet-4-20250514", True, False, False, True),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", True, False, False, True),
        ("claude-opus-4-5@20251101", True, False, False, True),
        ("anthropic/claude-sonnet-4.6", True, True, False, True),
        ("claude-opus-4-7", False, True, False, True),
        ("claude-opus-5", False, True, True, True),
        ("claude-opus-5-5", False, True, True, False),
        ("claude-haiku-5-5", False, True, True, True),
        ("claude-fable-5", False, True, True, True),
        ("claude-fable-5-1", False, True, True, False),
        ("claude-something-9", False, True, True, False),
        ("deepseek-chat", True, False, False, True),
    ],
)
def test_a_model_is_known_by_its_name(model: str, budget: bool, adaptive: bool, unasked: bool, forced: bool) -> None:
    traits = find_traits(model)
    assert (traits.budget, traits.adaptive, traits.unasked, traits.forced_tools) == (budget, adaptive, unasked, forced)


@pytest.mark.shows("anthropic", "models")
def test_the_list_of_models_is_read() -> None:
    body = b'{"data":[{"type":"model","id":"claude-a"},{"id":7},null,{"id":"claude-b"}],"has_more":false}'
    assert DIALECT.read_models(body) == ["claude-a", "claude-b"]
    with pytest.raises(GatewayError, match="list of models"):
        DIALECT.read_models(b'{"data":{}}')


@pytest.mark.shows("anthropic", "chat")
def test_system_messages_from_anywhere_stand_apart() -> None:
    body = sent(messages=[{"role": "system", "content": "A"}, *HELLO, {"role": "developer", "content": "B"}])
    assert body["system"] == [{"type": "text", "text": "A"}, {"type": "text", "text": "B"}]
    assert body["messages"] == HELLO


def test_turns_of_one_role_become_one_and_blank_ones_vanish() -> None:
    body = sent(
        messages=[
            {"role": "user", "content": "a"},
            {"role": "user", "content": [{"type": "text", "text": " \n"}, {"type": "text", "text": "b"}]},
            {"role": "assistant", "content": None},
            {"role": "user", "content": "c"},
        ]
    )
    assert [block["text"] for block in body["messages"][0]["content"]] == ["a", "b", "c"]


def test_a_conversation_of_system_messages_alone_becomes_the_question() -> None:
    body = sent(messages=[{"role": "system", "content": "Say hi."}])
    assert body["messages"] == [{"role": "user", "content": "Say hi."}]
    assert "system" not in body


def test_a_conversation_that_opens_with_the_assistant_gets_a_first_turn() -> None:
    body = sent(messages=[{"role": "assistant", "content": "Welcome! "}])
    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant"]
    assert body["messages"][1]["content"] == "Welcome!"


def test_tool_results_come_first_in_the_turn_whatever_stood_before_them() -> None:
    body = sent(
        messages=[
            *HELLO,
            {"role": "assistant", "content": "", "tool_calls": [CALL]},
            {"role": "user", "content": "Well?"},
            {"role": "tool", "tool_call_id": "call_1", "content": ""},
        ],
        tools=[TOOL],
    )
    assert body["messages"][2]["content"] == [
        {"type": "tool_result", "tool_use_id": "call_1"},
        {"type": "text", "text": "Well?"},
    ]


@given(st.text(min_size=1), st.text(min_size=1))
def test_any_id_becomes_one_that_the_api_takes_and_different_ones_stay_different(one: str, other: str) -> None:
    made = tool_id(one)
    assert made == tool_id(one)
    assert set(made) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
    assert 0 < len(made) <= 128
    assert (made == tool_id(other)) == (one == other)


@pytest.mark.parametrize("arguments", ["[1]", "{broken", "text"])
def test_arguments_that_are_no_object_are_kept_as_text(arguments: str) -> None:
    call = {**CALL, "function": {"name": "look", "arguments": arguments}}
    body = sent(messages=[*HELLO, {"role": "assistant", "tool_calls": [call]}], tools=[TOOL])
    assert body["messages"][1]["content"][0]["input"] == {"arguments": arguments}


def test_calls_in_a_conversation_without_tools_get_their_tools_defined_and_forbidden() -> None:
    body = sent(messages=[*HELLO, {"role": "assistant", "tool_calls": [CALL]}])
    assert body["tools"] == [{"name": "look", "input_schema": {"type": "object"}}]
    assert body["tool_choice"] == {"type": "none"}


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ("text", "messages[0]"),
        ({"role": "robot"}, "messages[0].role"),
        ({"role": "user", "content": 3}, "messages[0].content"),
        ({"role": "user", "content": [3]}, "messages[0].content[0]"),
        ({"role": "user", "content": [{"type": "text"}]}, "messages[0].content[0].text"),
        ({"role": "tool", "content": "x"}, "messages[0].tool_call_id"),
        ({"role": "function", "name": "f", "content": "x"}, "messages[0].name"),
        ({"role": "assistant", "tool_calls": [{"id": "", "function": {"name": "f"}}]}, "messages[0].tool_calls[0].id"),
        ({"role": "assistant", "tool_calls": [{"id": "a"}]}, "messages[0].tool_calls[0]"),
        ({"role": "assistant", "tool_calls": {}}, "messages[0].tool_calls"),
        ({"role": "user", "content": ""}, "messages"),
    ],
)
def test_what_is_no_message_is_refused_by_its_place(message: Any, field: str) -> None:
    assert refused(messages=[message]) == ("invalid_field", field)


def part(value: dict[str, Any]) -> Any:
    return sent(messages=[{"role": "user", "content": [value]}])["messages"][0]["content"][0]


@pytest.mark.shows("anthropic", "images")
@pytest.mark.parametrize(
    ("url", "source"),
    [
        ("https://x.example/a.png", {"type": "url", "url": "https://x.example/a.png"}),
        ("data:image/webp;base64,UklG", {"type": "base64", "media_type": "image/webp", "data": "UklG"}),
        ("DATA:Image/JPG;x=1;Base64,/9g=", {"type": "base64", "media_type": "image/jpeg", "data": "/9g="}),
        ("data:image/gif,GIF%38", {"type": "base64", "media_type": "image/gif", "data": "R0lGOA=="}),
    ],
)
def test_an_image_goes_by_url_or_by_value(url: str, source: dict[str, str]) -> None:
    assert part({"type": "image_url", "image_url": {"url": url}}) == {"type": "image", "source": source}


@pytest.mark.shows("anthropic", "files")
def test_a_file_goes_by_value_by_url_and_by_id() -> None:
    pdf = part({"type": "file", "file": {"file_data": "JVBERi0=", "filename": "a.pdf"}, "citations": {"enabled": True}})
    assert pdf["source"] == {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}
    assert (pdf["title"], pdf["citations"]) == ("a.pdf", {"enabled": True})
    assert part({"type": "file", "file_url": "https://x.example/a.pdf", "file": {}})["source"]["type"] == "url"
    text = base64.b64encode("grüß".encode()).decode()
    assert part({"type": "file", "file": {"file_data": f"data:text/csv;base64,{text}"}})["source"]["data"] == "grüß"
    assert part({"type": "file", "file": {"file_data": "data:image/png;base64,iVBO"}})["type"] == "image"
    ask = make_ask(messages=[{"role": "user", "content": [{"type": "file", "file": {"file_id": "file_1"}}]}])
    assert DIALECT.encode(ask).headers == ((b"anthropic-beta", b"files-api-2025-04-14"),)


@pytest.mark.parametrize(
    ("value", "code", "field"),
    [
        ({"type": "input_audio", "input_audio": {}}, "unsupported_parameter", ".type"),
        ({"type": "image_url", "image_url": {"url": "ftp://x"}}, "invalid_field", ".image_url.url"),
        ({"type": "image_url", "image_url": {"url": "data:image/png"}}, "invalid_field", ".image_url.url"),
        ({"type": "image_url"}, "invalid_field", ".image_url.url"),
        ({"type": "file", "file": {}}, "invalid_field", ".file"),
        ({"type": "file", "file": {"file_id": "a", "file_data": "b"}}, "invalid_field", ".file"),
        ({"type": "file", "file": {"file_data": "data:audio/wav;base64,AA"}}, "unsupported_parameter", ".file"),
        ({"type": "file", "file": {"file_data": "data:text/plain;base64,/w=="}}, "invalid_field", ".file.file_data"),
    ],
)
def test_a_part_that_cannot_be_sent_is_refused_by_its_place(value: Any, code: str, field: str) -> None:
    assert refused(messages=[{"role": "user", "content": [value]}]) == (code, f"messages[0].content[0]{field}")


@pytest.mark.shows("anthropic", "prompt caching")
def test_caching_marks_stay_on_parts_messages_tools_and_the_request() -> None:
    mark = {"type": "ephemeral"}
    body = sent(
        messages=[
            {"role": "system", "content": "A", "cache_control": mark},
            {"role": "user", "content": [{"type": "text", "text": "b", "cache_control": mark}]},
            {"role": "assistant", "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "call_1", "content": "c", "cache_control": mark},
        ],
        tools=[{**TOOL, "cache_control": mark}],
        cache_control=mark,
    )
    blocks = (
        body,
        body["system"][0],
        body["messages"][0]["content"][0],
        body["messages"][2]["content"][0],
        body["tools"][0],
    )
    assert [block["cache_control"] for block in blocks] == [mark] * 5
