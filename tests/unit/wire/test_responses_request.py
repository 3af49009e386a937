"""A Responses request as a chat request: every field, every kind of item, and what is refused by its name."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.wire.responses_history import previous_response, referenced_items, resolved, stored_items
from gateway.wire.responses_inbound import INBOUND
from gateway.wire.responses_reasoning import pack, unpack

CALL = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "look", "arguments": '{"at":"sky"}'}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "blue"}
TOOL_CALL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"at":"sky"}'}}
LOOK = {"type": "function", "name": "look", "parameters": {"type": "object"}}


def chat(**fields: Any) -> dict[str, Any]:
    body = orjson.dumps({"model": "m", "input": "hi", **fields})
    return INBOUND.canonical(INBOUND.read_request(body))


def messages(*items: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = chat(input=list(items))["messages"]
    return found


def refusal(**fields: Any) -> tuple[str, str | None]:
    with pytest.raises(GatewayError) as raised:
        chat(**fields)
    assert raised.value.param is None or raised.value.param in raised.value.message
    return raised.value.code, raised.value.param


# --- what is read -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        (b"", "invalid_json", None),
        (b"[]", "invalid_json", None),
        (b"{", "invalid_json", None),
        (b'{"model": "m", "input": ' + b"[" * 300 + b"]" * 300 + b"}", "invalid_json", None),
        (b'{"input": "hi"}', "missing_field", "model"),
        (b'{"model": null, "input": "hi"}', "missing_field", "model"),
        (b'{"model": "", "input": "hi"}', "invalid_field", "model"),
        (b'{"model": 7, "input": "hi"}', "invalid_field", "model"),
        (b'{"model": "' + b"m" * 257 + b'", "input": "hi"}', "invalid_field", "model"),
        (b'{"model": "m"}', "missing_field", "input"),
        (b'{"model": "m", "input": 7}', "invalid_field", "input"),
        (b'{"model": "m", "input": {}}', "invalid_field", "input"),
        (b'{"model": "m", "input": [{}, "hi"]}', "invalid_field", "input[1]"),
        (b'{"model": "m", "input": "hi", "stream": 1}', "invalid_field", "stream"),
        (b'{"model": "m", "input": "hi", "stream_options": true}', "invalid_field", "stream_options"),
        (b'{"model": "m", "input": "hi", "previous_response_id": 1}', "invalid_field", "previous_response_id"),
    ],
)
def test_what_is_no_request_is_refused(body: bytes, code: str, param: str | None) -> None:
    with pytest.raises(GatewayError) as raised:
        INBOUND.read_request(body)
    assert (raised.value.code, raised.value.param) == (code, param)


def test_a_request_that_goes_on_needs_no_input_to_be_read() -> None:
    document = INBOUND.read_request(b'{"model": "m", "previous_response_id": "resp_1"}')
    assert previous_response(document) == "resp_1"
    earlier = [{"type": "message", "role": "user", "content": "hi"}]
    assert INBOUND.canonical(resolved(document, earlier))["messages"] == [{"role": "user", "content": "hi"}]


# --- messages ---------------------------------------------------------------------------------------


def test_text_and_instructions_become_messages() -> None:
    assert chat(instructions="Be brief.") == {
        "model": "m",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}],
    }


@pytest.mark.parametrize("role", ["user", "system", "developer", "assistant"])
def test_a_message_keeps_its_role_with_and_without_its_type(role: str) -> None:
    part = "output_text" if role == "assistant" else "input_text"
    for item in (
        {"role": role, "content": "hi"},
        {"type": "message", "role": role, "content": "hi"},
        {
            "type": "message",
            "id": "msg_1",
            "status": "completed",
            "role": role,
            "content": [{"type": part, "text": "hi"}],
        },
    ):
        assert messages(item) == [{"role": role, "content": "hi"}]


def test_parts_of_every_kind_are_translated() -> None:
    parts = [
        {"type": "input_text", "text": "Look:"},
        {"type": "input_image", "image_url": "https://example.com/a.png", "detail": "low"},
        {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "original", "file_id": None},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="},
        {"type": "input_file", "file_url": "https://example.com/a.pdf"},
        {"type": "input_file", "file_id": "file-1"},
        {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
    ]
    (message,) = messages({"role": "user", "content": parts})
    assert message["content"] == [
        {"type": "text", "text": "Look:"},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "high"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="}},
        {"type": "file", "file": {"file_url": "https://example.com/a.pdf"}},
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
    ]


def test_a_cache_mark_of_either_kind_is_kept() -> None:
    theirs = {"type": "input_text", "text": "a", "prompt_cache_breakpoint": {"mode": "explicit"}}
    usual = {"type": "input_text", "text": "b", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    (message,) = messages({"role": "user", "content": [theirs, usual]})
    assert [part["cache_control"] for part in message["content"]] == [
        {"type": "ephemeral"},
        {"type": "ephemeral", "ttl": "1h"},
    ]
    assert messages({"role": "user", "content": [theirs]})[0]["content"][0]["text"] == "a"


def test_a_refusal_and_annotated_text_go_back_to_the_model() -> None:
    said = [
        {"type": "output_text", "text": "Well.", "annotations": [{"type": "file_path"}], "logprobs": []},
        {"type": "refusal", "refusal": "I will not."},
    ]
    assert messages({"role": "assistant", "content": said}) == [
        {
            "role": "assistant",
            "content": [{"type": "text", "text": "Well."}, {"type": "refusal", "refusal": "I will not."}],
        }
    ]


# --- turns ------------------------------------------------------------------------------------------


def test_calls_of_one_turn_are_one_message_and_their_results_follow() -> None:
    second = {**CALL, "call_id": "call_2"}
    results = [OUTPUT, {**OUTPUT, "call_id": "call_2", "output": "grey"}]
    assert messages({"role": "user", "content": "hi"}, CALL, second, *results) == [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": None, "tool_calls": [TOOL_CALL, {**TOOL_CALL, "id": "call_2"}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "blue"},
        {"role": "tool", "tool_call_id": "call_2", "content": "grey"},
    ]


def test_calls_with_results_between_are_turns_of_their_own() -> None:
    roles = [message["role"] for message in messages(CALL, OUTPUT, {**CALL, "call_id": "call_2"})]
    assert roles == ["assistant", "tool", "assistant"]


def test_text_before_and_behind_calls_belongs_to_their_message() -> None:
    say = {"role": "assistant", "content": "I look."}
    assert messages(say, CALL, OUTPUT)[0] == {"role": "assistant", "content": "I look.", "tool_calls": [TOOL_CALL]}
    (both, _) = messages(say, CALL, {"role": "assistant", "content": "And wait."}, OUTPUT)
    assert both["content"] == [{"type": "text", "text": "I look."}, {"type": "text", "text": "And wait."}]


def test_an_empty_text_beside_a_call_is_no_content() -> None:
    (message,) = messages({"role": "assistant", "content": ""}, CALL)
    assert message == {"role": "assistant", "content": None, "tool_calls": [TOOL_CALL]}
    assert messages({"role": "assistant", "content": ""}) == [{"role": "assistant", "content": ""}]


def test_messages_in_a_row_stay_apart() -> None:
    said = [{"role": "assistant", "content": "One."}, {"role": "assistant", "content": "Two."}]
    assert messages(*said) == said


def test_results_may_have_parts() -> None:
    parts = [{"type": "input_text", "text": "see"}, {"type": "input_image", "image_url": "https://example.com/a.png"}]
    assert messages(CALL, {**OUTPUT, "output": parts})[1]["content"] == [
        {"type": "text", "text": "see"},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
    ]
    assert messages(CALL, {**OUTPUT, "output": []})[1]["content"] == ""


# --- reasoning --------------------------------------------------------------------------------------

DETAILS = [
    {"type": "reasoning.text", "text": "Sky: blue.", "signature": "c2ln", "format": "anthropic-claude-v1", "index": 0},
    {"type": "reasoning.encrypted", "data": "c2VhbGVk", "format": "google-gemini-v1", "id": "call_1", "index": 1},
]


def test_reasoning_that_the_gateway_sealed_comes_back_whole() -> None:
    item = {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [],
        "content": [{"type": "reasoning_text", "text": "Sky: blue."}],
        "encrypted_content": pack(DETAILS),
    }
    assert messages(item, CALL) == [
        {
            "role": "assistant",
            "content": None,
            "reasoning_content": "Sky: blue.",
            "reasoning_details": DETAILS,
            "tool_calls": [TOOL_CALL],
        }
    ]


def test_reasoning_that_openai_sealed_is_kept_as_its_own() -> None:
    item = {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "One."}, {"type": "summary_text", "text": "Two."}],
        "encrypted_content": "gAAAAABo",
    }
    (message,) = messages(item, {"role": "assistant", "content": "Blue."})
    theirs = {"format": "openai-responses-v1", "id": "rs_1"}
    assert message["reasoning_content"] == "One.\n\nTwo."
    assert message["reasoning_details"] == [
        {"type": "reasoning.summary", "summary": "One.", **theirs},
        {"type": "reasoning.summary", "summary": "Two.", **theirs},
        {"type": "reasoning.encrypted", "data": "gAAAAABo", **theirs},
    ]


def test_reasoning_between_a_message_and_a_call_belongs_to_both() -> None:
    think = {"type": "reasoning", "id": "rs_2", "summary": [{"type": "summary_text", "text": "Look again."}]}
    (message,) = messages({"role": "assistant", "content": "Blue?"}, think, CALL)
    assert message == {
        "role": "assistant",
        "content": "Blue?",
        "reasoning_content": "Look again.",
        "tool_calls": [TOOL_CALL],
    }


def test_reasoning_between_two_messages_belongs_to_the_second() -> None:
    think = {"type": "reasoning", "id": "rs_2", "summary": [{"type": "summary_text", "text": "Look again."}]}
    first, second = messages(
        {"role": "assistant", "content": "Blue?"}, think, {"role": "assistant", "content": "Grey."}
    )
    assert first == {"role": "assistant", "content": "Blue?"}
    assert second == {"role": "assistant", "content": "Grey.", "reasoning_content": "Look again."}


def test_pieces_of_one_detail_are_joined_whichever_items_they_came_in() -> None:
    start = {"type": "reasoning.encrypted", "data": "c2VhbGVk", "format": "f", "index": 1}
    late = {"type": "reasoning.encrypted", "format": "f", "index": 1, "id": "call_1"}
    sealed = [{"type": "reasoning", "summary": [], "encrypted_content": pack([piece])} for piece in (late, start)]
    (message,) = messages(sealed[0], CALL, sealed[1])
    assert message["reasoning_details"] == [{**late, **start}]


def test_a_signature_behind_the_text_belongs_to_it() -> None:
    seal = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": pack(DETAILS[1:])}
    first, _ = messages({"role": "assistant", "content": "Blue."}, seal, {"role": "user", "content": "Sure?"})
    assert first == {"role": "assistant", "content": "Blue.", "reasoning_details": DETAILS[1:]}


def test_reasoning_that_led_to_nothing_is_left_out() -> None:
    think = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}]}
    asked = {"role": "user", "content": "hi"}
    assert messages(asked, think, asked) == [asked, asked]


@pytest.mark.parametrize("change", [lambda text: text[:-3], lambda text: text[:-4] + "????", lambda text: text[:20]])
def test_a_seal_that_was_tampered_with_is_none_of_ours(change: Any) -> None:
    assert unpack(pack(DETAILS)) == DETAILS
    sealed = change(pack(DETAILS))
    assert unpack(sealed) is None
    item = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": sealed}
    assert refusal(input=[item, CALL]) == ("invalid_field", "input[0].encrypted_content")


def test_a_seal_that_nests_too_deeply_to_be_sent_on_is_none_of_ours() -> None:
    deep: Any = "x"
    for _ in range(250):
        deep = [deep]
    assert unpack(pack([{"type": "reasoning.text", "text": "x"}])) is not None
    forged = pack([]).encode()[:20] + b64encode(b"[" * 300 + b"]" * 300)
    assert unpack(forged.decode()) is None
    assert unpack(pack([{"type": "reasoning.encrypted", "data": deep}])) is None


# --- tools ------------------------------------------------------------------------------------------


def test_function_tools_are_wrapped() -> None:
    tool = {
        "type": "function",
        "name": "look",
        "description": "Looks.",
        "parameters": {"type": "object"},
        "strict": True,
    }
    made = chat(tools=[tool, {"type": "function", "name": "wait", "strict": None}], parallel_tool_calls=False)
    assert made["tools"] == [
        {
            "type": "function",
            "function": {"name": "look", "description": "Looks.", "parameters": {"type": "object"}, "strict": True},
        },
        {"type": "function", "function": {"name": "wait"}},
    ]
    assert made["parallel_tool_calls"] is False


@pytest.mark.parametrize(
    ("choice", "made"),
    [
        ("auto", "auto"),
        ("none", "none"),
        ("required", "required"),
        ({"type": "function", "name": "look"}, {"type": "function", "function": {"name": "look"}}),
        (
            {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "look"}]},
            {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "look"}}]},
            },
        ),
        ({"type": "allowed_tools", "mode": "auto", "tools": []}, "none"),
    ],
)
def test_every_choice_of_tools_is_translated(choice: Any, made: Any) -> None:
    assert chat(tools=[LOOK], tool_choice=choice)["tool_choice"] == made


@pytest.mark.parametrize("choice", ["auto", "none"])
def test_a_choice_without_tools_is_left_out(choice: str) -> None:
    assert "tool_choice" not in chat(tool_choice=choice, tools=[], parallel_tool_calls=True)


@pytest.mark.parametrize("kind", ["web_search", "web_search_2025_08_26", "web_search_preview"])
def test_a_web_search_becomes_an_option(kind: str) -> None:
    tool = {
        "type": kind,
        "search_context_size": "low",
        "user_location": {"type": "approximate", "city": "Ulm", "country": None},
        "filters": None,
        "external_web_access": True,
    }
    assert chat(tools=[tool, LOOK])["web_search_options"] == {
        "search_context_size": "low",
        "user_location": {"type": "approximate", "approximate": {"city": "Ulm"}},
    }


def test_a_search_that_is_not_allowed_is_left_out() -> None:
    allowed = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "look"}]}
    assert "web_search_options" not in chat(tools=[{"type": "web_search"}, LOOK], tool_choice=allowed)
    assert "web_search_options" not in chat(tools=[{"type": "web_search"}], tool_choice="none")
    allowed["tools"] = [{"type": "web_search"}]
    made = chat(tools=[{"type": "web_search"}, LOOK], tool_choice=allowed)
    assert (made["web_search_options"], made["tool_choice"]) == ({}, "none")


# --- the rest ---------------------------------------------------------------------------------------


def test_settings_have_chats_names() -> None:
    made = chat(
        stream=True,
        temperature=0.5,
        top_p=1,
        max_output_tokens=100,
        max_tool_calls=3,
        top_logprobs=2,
        reasoning={"effort": "low", "summary": "auto"},
        text={"verbosity": "low", "format": {"type": "json_object"}},
        user="u",
        safety_identifier="s",
        prompt_cache_key="k",
        prompt_cache_retention="24h",
        service_tier="flex",
        metadata={"a": "b"},
        store=False,
        truncation="auto",
        include=["reasoning.encrypted_content"],
        background=False,
        conversation=None,
        prompt=None,
        instructions=None,
        seed=7,
        top_k=5,
        provider={"sort": "price"},
    )
    del made["messages"]
    assert made == {
        "model": "m",
        "stream": True,
        "temperature": 0.5,
        "top_p": 1,
        "max_completion_tokens": 100,
        "logprobs": True,
        "top_logprobs": 2,
        "reasoning_effort": "low",
        "verbosity": "low",
        "response_format": {"type": "json_object"},
        "user": "u",
        "safety_identifier": "s",
        "prompt_cache_key": "k",
        "prompt_cache_retention": "24h",
        "service_tier": "flex",
        "metadata": {"a": "b"},
        "seed": 7,
        "top_k": 5,
        "provider": {"sort": "price"},
    }


def test_logprobs_may_be_asked_for_without_alternatives() -> None:
    made = chat(include=["message.output_text.logprobs"])
    assert made["logprobs"] is True
    assert "top_logprobs" not in made


def test_a_schema_is_wrapped() -> None:
    form = {
        "type": "json_schema",
        "name": "city",
        "schema": {"type": "object"},
        "strict": True,
        "description": "A city.",
    }
    assert chat(text={"format": form})["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "city", "schema": {"type": "object"}, "strict": True, "description": "A city."},
    }
    assert "response_format" not in chat(text={"format": {"type": "text"}})


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"background": True}, "background"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"context_management": [{"type": "compaction"}]}, "context_management"),
        ({"moderation": {"model": "m"}}, "moderation"),
        ({"reasoning": {"mode": "pro"}}, "reasoning.mode"),
        ({"messages": []}, "messages"),
        ({"n": 2}, "n"),
        ({"max_tokens": 2}, "max_tokens"),
        ({"tools": [{"type": "web_search"}], "max_tool_calls": 1}, "max_tool_calls"),
        ({"tools": [{"type": "web_search", "filters": {"allowed_domains": ["a.b"]}}]}, "tools[0].filters"),
        ({"tools": [{"type": "web_search", "external_web_access": False}]}, "tools[0].external_web_access"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [LOOK], "tool_choice": {"type": "file_search"}}, "tool_choice"),
        ({"tools": [LOOK], "tool_choice": {"type": "allowed_tools", "mode": "required", "tools": []}}, "tool_choice"),
        *(
            ({"tools": [LOOK, {"type": kind, "name": "t"}]}, "tools[1]")
            for kind in (
                "file_search",
                "computer_use_preview",
                "code_interpreter",
                "mcp",
                "image_generation",
                "custom",
                "namespace",
                "shell",
            )
        ),
        ({"input": [{"type": "image_generation_call", "id": "ig_1"}]}, "input[0]"),
        ({"input": [{"type": "compaction", "encrypted_content": "x"}]}, "input[0]"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "file-1"}]}]},
            "input[0].content[0].file_id",
        ),
    ],
)
def test_what_no_chat_model_can_be_asked_for_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    assert refusal(**fields) == ("unsupported_parameter", param)


@pytest.mark.parametrize(
    ("item", "code", "param"),
    [
        ({}, "missing_field", "input[0].type"),
        ({"type": 7}, "invalid_field", "input[0].type"),
        ({"type": "message", "content": "hi"}, "missing_field", "input[0].role"),
        ({"role": "user"}, "missing_field", "input[0].content"),
        ({"role": "tool", "content": "hi"}, "invalid_field", "input[0].role"),
        ({"role": [], "content": "hi"}, "invalid_field", "input[0].role"),
        ({"role": "user", "content": 7}, "invalid_field", "input[0].content"),
        ({"role": "user", "content": []}, "invalid_field", "input[0].content"),
        ({"role": "user", "content": ["hi"]}, "invalid_field", "input[0].content[0]"),
        ({"role": "user", "content": [{"text": "hi"}]}, "missing_field", "input[0].content[0].type"),
        ({"role": "user", "content": [{"type": "refusal"}]}, "invalid_field", "input[0].content[0].type"),
        ({"role": "user", "content": [{"type": "input_text"}]}, "missing_field", "input[0].content[0].text"),
        ({"role": "user", "content": [{"type": "input_image"}]}, "missing_field", "input[0].content[0].image_url"),
        (
            {"role": "user", "content": [{"type": "input_image", "image_url": {"url": "a"}}]},
            "invalid_field",
            "input[0].content[0].image_url",
        ),
        (
            {"role": "user", "content": [{"type": "input_image", "image_url": "a", "detail": []}]},
            "invalid_field",
            "input[0].content[0].detail",
        ),
        (
            {"role": "user", "content": [{"type": "input_file", "filename": "a"}]},
            "missing_field",
            "input[0].content[0].file_data",
        ),
        ({"role": "user", "content": [{"type": "input_audio"}]}, "missing_field", "input[0].content[0].input_audio"),
        (
            {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "A"}}]},
            "missing_field",
            "input[0].content[0].input_audio.format",
        ),
        ({"role": "assistant", "content": [{"type": "input_image"}]}, "invalid_field", "input[0].content[0].type"),
        ({"type": "function_call", "name": "f", "arguments": "{}"}, "missing_field", "input[0].call_id"),
        ({"type": "function_call", "call_id": "c", "arguments": "{}"}, "missing_field", "input[0].name"),
        (
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": {}},
            "invalid_field",
            "input[0].arguments",
        ),
        ({"type": "function_call_output", "output": "x"}, "missing_field", "input[0].call_id"),
        ({"type": "function_call_output", "call_id": "c", "output": "x"}, "invalid_field", "input[0].call_id"),
        ({"type": "item_reference", "id": "msg_1"}, "invalid_field", "input[0]"),
        ({"id": "msg_1"}, "invalid_field", "input[0]"),
        ({"type": "reasoning", "summary": "x"}, "invalid_field", "input[0].summary"),
        ({"type": "reasoning", "summary": [{}]}, "missing_field", "input[0].summary[0].text"),
        ({"type": "reasoning", "encrypted_content": 7}, "invalid_field", "input[0].encrypted_content"),
    ],
)
def test_a_faulty_item_is_refused_by_its_place(item: dict[str, Any], code: str, param: str) -> None:
    assert refusal(input=[item]) == (code, param)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": []}, "input"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"instructions": 7}, "instructions"),
        ({"tools": {}}, "tools"),
        ({"tools": ["look"]}, "tools[0]"),
        ({"tools": [{"type": "function", "name": 7}]}, "tools[0].name"),
        ({"tools": [{**LOOK, "parameters": []}]}, "tools[0].parameters"),
        ({"tools": [{**LOOK, "strict": "yes"}]}, "tools[0].strict"),
        ({"tools": [{"type": "web_search", "user_location": "Ulm"}]}, "tools[0].user_location"),
        ({"tools": [LOOK], "tool_choice": "any"}, "tool_choice"),
        ({"tools": [LOOK], "tool_choice": 7}, "tool_choice"),
        ({"tools": [LOOK], "tool_choice": {"type": "function", "name": "wait"}}, "tool_choice.name"),
        ({"tools": [LOOK], "tool_choice": {"type": "allowed_tools", "mode": "any", "tools": []}}, "tool_choice.mode"),
        (
            {"tools": [LOOK], "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "mcp"}]}},
            "tool_choice.tools[0]",
        ),
        ({"parallel_tool_calls": "yes"}, "parallel_tool_calls"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"max_output_tokens": True}, "max_output_tokens"),
        ({"max_tool_calls": "3"}, "max_tool_calls"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": False}, "top_p"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"include": "logprobs"}, "include"),
        ({"include": [7]}, "include[0]"),
        ({"text": "plain"}, "text"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"text": {"format": {"type": "json_schema", "name": "a", "schema": 7}}}, "text.format.schema"),
        ({"text": {"verbosity": 7}}, "text.verbosity"),
        ({"reasoning": "low"}, "reasoning"),
        ({"reasoning": {"effort": 7}}, "reasoning.effort"),
        ({"reasoning": {"summary": 7}}, "reasoning.summary"),
        ({"metadata": []}, "metadata"),
        ({"metadata": {"a": 7}}, "metadata.a"),
        ({"user": 7}, "user"),
        ({"service_tier": 7}, "service_tier"),
        ({"store": "yes"}, "store"),
        ({"truncation": 7}, "truncation"),
    ],
)
def test_a_faulty_field_is_refused_by_its_name(fields: dict[str, Any], param: str) -> None:
    assert refusal(**fields) == ("invalid_field", param)


def test_a_search_of_an_earlier_turn_is_left_out() -> None:
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    assert messages({"role": "user", "content": "hi"}, search, {"role": "assistant", "content": "Found."}) == [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "Found."},
    ]


# --- what is looked up and kept ---------------------------------------------------------------------


def test_references_are_found_and_put_in_place() -> None:
    document = {
        "model": "m",
        "previous_response_id": "resp_0",
        "input": [{"type": "item_reference", "id": "msg_1"}, {"id": "msg_2"}, {"role": "user", "content": "and?"}],
    }
    assert referenced_items(document) == ["msg_1", "msg_2"]
    found = {"msg_1": {"role": "user", "content": "one"}, "msg_2": {"role": "assistant", "content": "two"}}
    whole = resolved(document, [{"role": "developer", "content": "zero"}], found)
    assert [message["content"] for message in INBOUND.canonical(whole)["messages"]] == ["zero", "one", "two", "and?"]
    assert document["previous_response_id"] == "resp_0", "the request was changed"
    with pytest.raises(GatewayError) as raised:
        INBOUND.canonical(resolved(document, (), {"msg_1": found["msg_1"]}))
    assert raised.value.param == "input[1]"


def test_stored_items_have_ids_types_and_parts() -> None:
    items = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "Hm.", "id": "msg_own"},
        {"role": "assistant", "content": [{"type": "output_text", "text": "Well."}]},
        CALL,
        OUTPUT,
        {"type": "reasoning", "encrypted_content": "x", "id": ""},
    ]
    assert stored_items({"input": items}, "resp_7") == [
        {
            "id": "msg_7_in0",
            "type": "message",
            "status": "completed",
            "role": "user",
            "content": [{"type": "input_text", "text": "hi"}],
        },
        {
            "id": "msg_own",
            "type": "message",
            "status": "completed",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Hm.", "annotations": []}],
        },
        {
            "id": "msg_7_in2",
            "type": "message",
            "status": "completed",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Well.", "annotations": []}],
        },
        {**CALL, "status": "completed"},
        {**OUTPUT, "id": "fco_7_in4", "status": "completed"},
        {"id": "rs_7_in5", "type": "reasoning", "summary": [], "encrypted_content": "x"},
    ]
    assert stored_items({"input": "hi"}, "resp_7")[0]["content"] == [{"type": "input_text", "text": "hi"}]
    assert stored_items({}, "resp_7") == []


# --- whatever comes ---------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
WORDS = st.sampled_from(
    [
        *("message", "function_call", "function_call_output", "reasoning", "item_reference", "web_search_call"),
        *("input_text", "output_text", "input_image", "input_file", "input_audio", "refusal", "user", "assistant"),
        *("function", "web_search", "mcp", "allowed_tools", "json_schema", "json_object", "auto", "required", "look"),
        *("call_1", "text", ""),
    ]
)
NAMES = st.sampled_from(
    [
        *("type", "role", "content", "text", "id", "call_id", "name", "arguments", "output", "summary", "refusal"),
        *("encrypted_content", "image_url", "detail", "file_data", "input_audio", "data", "format", "parameters"),
        *("strict", "mode", "tools", "schema", "verbosity", "effort", "cache_control", "filters", "user_location"),
    ]
)
LIKELY = st.recursive(
    WORDS | JSON,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=6),
    max_leaves=25,
)
FIELDS = st.sampled_from(
    [
        *("instructions", "tools", "tool_choice", "parallel_tool_calls", "text", "reasoning", "max_output_tokens"),
        *("temperature", "top_p", "top_logprobs", "include", "metadata", "store", "truncation", "user", "stream"),
        *("previous_response_id", "conversation", "background", "prompt", "service_tier", "n", "messages", "seed"),
    ]
)


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(FIELDS, LIKELY, max_size=4), st.lists(st.dictionaries(NAMES, LIKELY, max_size=6), max_size=4))
def test_whatever_is_sent_is_taken_or_refused(fields: dict[str, Any], items: list[Any]) -> None:
    try:
        body = orjson.dumps({"model": "m", "input": items, **fields})
    except orjson.JSONEncodeError:
        return  # integers that JSON libraries do not write
    try:
        document = INBOUND.read_request(body)
        stored_items(resolved(document), "resp_1")
        INBOUND.canonical(resolved(document))
    except GatewayError:
        return


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60))
def test_bytes_that_are_no_request_are_refused(body: bytes) -> None:
    with pytest.raises(GatewayError):
        INBOUND.read_request(body)
