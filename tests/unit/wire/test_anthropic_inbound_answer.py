"""Canonical answers and failures as clients that speak Anthropic's format read them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import FAILURES, GatewayError
from gateway.wire.anthropic_inbound import INBOUND
from gateway.wire.usage import Usage
from tests.unit.wire.test_anthropic_inbound import HELLO, canonical, request


def answer(message: dict[str, Any], finish: Any = "stop", **choice: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "shown",
        "choices": [{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish, **choice}],
    }


def render(given_answer: Any, usage: Usage | None = None, **more: Any) -> dict[str, Any]:
    rendered = orjson.loads(INBOUND.render(given_answer, usage, request(**more)))
    assert isinstance(rendered, dict)
    return rendered


def call(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def test_an_answer_becomes_a_message() -> None:
    usage = Usage(prompt=100, completion=20, cached=60, cache_write=30, reasoning=5)
    assert render(answer({"content": "Hi"}), usage) == {
        "id": "chatcmpl-1",
        "type": "message",
        "role": "assistant",
        "model": "shown",
        "content": [{"type": "text", "text": "Hi"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 10,
            "cache_creation_input_tokens": 30,
            "cache_read_input_tokens": 60,
            "output_tokens": 20,
            "output_tokens_details": {"thinking_tokens": 5},
        },
    }


def test_what_was_written_to_the_cache_for_an_hour_is_told_apart() -> None:
    usage = render({}, Usage(prompt=100, cache_write=30, cache_write_1h=20))["usage"]
    assert usage["cache_creation_input_tokens"] == 30
    assert usage["cache_creation"] == {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20}


def test_an_answer_without_anything_is_an_empty_message() -> None:
    message = render({})
    assert (message["content"], message["stop_reason"], message["model"]) == ([], "end_turn", "m")
    assert message["usage"]["input_tokens"] == message["usage"]["output_tokens"] == 0


@pytest.mark.parametrize(
    ("finish", "native", "called", "stop"),
    [
        ("stop", None, False, "end_turn"),
        ("length", None, False, "max_tokens"),
        ("tool_calls", None, True, "tool_use"),
        ("function_call", None, True, "tool_use"),
        ("content_filter", None, False, "refusal"),
        ("stop", "pause_turn", False, "pause_turn"),
        ("length", "model_context_window_exceeded", False, "model_context_window_exceeded"),
        ("length", "MAX_TOKENS", False, "max_tokens"),
        ("stop", "stop_sequence", False, "stop_sequence"),
        # Calls decide: a client goes by the stop_reason when it looks for them.
        ("stop", None, True, "tool_use"),
        ("stop", "end_turn", True, "tool_use"),
        ("tool_calls", None, False, "end_turn"),
        # A forced tool stood for a schema: its word is not what the client sees.
        ("stop", "tool_use", False, "end_turn"),
        # A word of Anthropic's that contradicts the canonical reason is not believed.
        ("length", "end_turn", False, "max_tokens"),
        (None, None, False, "end_turn"),
        ({"odd": 1}, ["odd"], False, "end_turn"),
    ],
)
def test_the_stop_reason_goes_by_a_table(finish: Any, native: Any, called: bool, stop: str) -> None:
    calls = {"tool_calls": [call("t", "f", "{}")]} if called else {}
    assert render(answer({"content": "x", **calls}, finish, native_finish_reason=native))["stop_reason"] == stop


def test_the_stop_sequence_is_told_where_only_one_can_be_meant() -> None:
    stopped = answer({"content": "x"}, native_finish_reason="stop_sequence")
    assert render(stopped, stop_sequences=["END"])["stop_sequence"] == "END"
    assert render(stopped, stop_sequences=["END", "FIN"])["stop_sequence"] is None


def test_calls_become_blocks_with_parsed_input() -> None:
    calls = [
        call("call_1", "weather", '{"city": "Bern"}'),
        call("functions.time:0", "time", ""),
        call("", "odd", '{"a": 1'),
        call("t4", "list", "[1]"),
        {"id": "t5", "function": {"name": "given", "arguments": {"b": 2}}},
        {"id": "t6", "function": {"name": ""}},
        "no call",
    ]
    message = render(answer({"content": None, "tool_calls": calls}, "tool_calls"))
    assert message["content"] == [
        {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Bern"}},
        {"type": "tool_use", "id": "functions_time_0", "name": "time", "input": {}},
        {"type": "tool_use", "id": "toolu_chatcmpl-1_2", "name": "odd", "input": {"INVALID_JSON": '{"a": 1'}},
        {"type": "tool_use", "id": "t4", "name": "list", "input": {"INVALID_JSON": "[1]"}},
        {"type": "tool_use", "id": "t5", "name": "given", "input": {"b": 2}},
    ]


def test_an_older_function_call_is_a_call_too() -> None:
    message = render(answer({"function_call": {"name": "f", "arguments": "{}"}}, "function_call"))
    assert message["content"][0]["name"] == "f"
    assert message["stop_reason"] == "tool_use"


def test_refusals_are_text_and_a_reason() -> None:
    message = render(answer({"content": None, "refusal": "I will not."}))
    assert message["content"] == [{"type": "text", "text": "I will not."}]
    assert message["stop_reason"] == "refusal"


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_without_a_signature_is_thinking_that_cannot_be_checked(field: str) -> None:
    message = render(answer({"content": "Yes", field: "Hm."}))
    assert message["content"] == [
        {"type": "thinking", "thinking": "Hm.", "signature": ""},
        {"type": "text", "text": "Yes"},
    ]


def test_claudes_reasoning_is_as_claude_gave_it() -> None:
    details = [
        {
            "type": "reasoning.text",
            "text": "Hm.",
            "signature": "c2ln",
            "format": "anthropic-claude-v1",
            "index": 0,
        },
        {"type": "reasoning.encrypted", "data": "ZGF0YQ==", "format": "anthropic-claude-v1", "index": 1},
        {
            "type": "reasoning.text",
            "text": "So",
            "signature": "bW9yZQ",
            "format": "anthropic-claude-v1",
            "index": 2,
            "id": "t1",
        },
    ]
    calls = [call("t0", "f", "{}"), call("t1", "f", "{}")]
    spoken = {"reasoning_content": "Hm.So", "reasoning_details": details, "content": "Yes", "tool_calls": calls}
    rendered = render(answer(spoken, "tool_calls"))["content"]
    assert [block["type"] for block in rendered] == [
        "thinking",
        "redacted_thinking",
        "text",
        "tool_use",
        "thinking",
        "tool_use",
    ]
    assert rendered[0] == {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
    assert rendered[1] == {"type": "redacted_thinking", "data": "ZGF0YQ=="}
    back = canonical(request([*HELLO, {"role": "assistant", "content": rendered}]))["messages"][1]
    assert back["reasoning_details"] == details
    assert [made["id"] for made in back["tool_calls"]] == ["t0", "t1"]


DETAILS: list[dict[str, Any]] = [
    {"type": "reasoning.summary", "summary": "Short.", "format": "openai-responses-v1", "id": "rs_1", "index": 0},
    {"type": "reasoning.encrypted", "data": "gAAA", "format": "openai-responses-v1", "id": "rs_1", "index": 0},
    {"type": "reasoning.text", "text": "Long.", "signature": "s", "format": "google-gemini-v1", "index": 1},
    {"type": "reasoning.text", "text": "Bare.", "format": "google-gemini-v1", "index": 2},
    {"type": "reasoning.encrypted", "data": "Q0FM", "format": "google-gemini-v1", "id": "t1", "index": 3},
]


def test_what_others_need_back_comes_back_through_the_client() -> None:
    spoken = {"content": "Yes", "reasoning_details": DETAILS, "tool_calls": [call("t1", "f", "{}")]}
    rendered = render(answer(spoken))["content"]
    told = [block["thinking"] for block in rendered if block["type"] == "thinking"]
    assert told == ["Short.", "Long.", "Bare."]
    back = canonical(request([*HELLO, {"role": "assistant", "content": rendered}]))["messages"][1]
    assert back["reasoning_details"] == DETAILS
    assert back["reasoning_content"] == "Short.\n\nLong.\n\nBare."


def test_a_detail_follows_its_call_to_the_id_that_the_client_knows() -> None:
    detail = {"type": "reasoning.encrypted", "data": "Q0FM", "format": "google-gemini-v1", "id": "f.a:0", "index": 0}
    spoken = {"reasoning_details": [detail], "tool_calls": [call("f.a:0", "f", "{}")]}
    rendered = render(answer(spoken))["content"]
    back = canonical(request([*HELLO, {"role": "assistant", "content": rendered}]))["messages"][1]
    assert back["reasoning_details"][0]["id"] == back["tool_calls"][0]["id"] == "f_a_0"


def test_web_sources_and_cited_documents_become_citations() -> None:
    source = {"type": "text", "media_type": "text/plain", "data": "Grass is green. The sky is blue."}
    other = {"type": "base64", "media_type": "application/pdf", "data": ""}
    blocks = [
        {"type": "document", "source": other},
        {"type": "document", "source": source, "title": "Colours"},
    ]
    notes = [
        {"type": "url_citation", "url_citation": {"url": "https://x", "title": "X", "start_index": 0}},
        {"type": "file_citation", "file_citation": {"filename": "Colours", "text": "The sky is blue."}},
        {"type": "file_citation", "file_citation": {"filename": "Others", "text": "The sky is blue."}},
        {"type": "file_citation", "file_citation": {"text": "Not in it."}},
        {"type": "url_citation", "url_citation": {"title": "nowhere"}},
        "no note",
    ]
    message = render(
        answer({"content": "It is blue.", "annotations": notes}), messages=[{"role": "user", "content": blocks}]
    )
    assert message["content"][0]["citations"] == [
        {
            "type": "web_search_result_location",
            "url": "https://x",
            "title": "X",
            "cited_text": "",
            "encrypted_index": "",
        },
        {
            "type": "char_location",
            "cited_text": "The sky is blue.",
            "document_index": 1,
            "document_title": "Colours",
            "start_char_index": 16,
            "end_char_index": 32,
        },
    ]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (GatewayError("invalid_field", "x"), "invalid_request_error"),
        (GatewayError("invalid_api_key", "x"), "authentication_error"),
        (GatewayError("model_not_allowed", "x"), "permission_error"),
        (GatewayError("model_not_found", "x"), "not_found_error"),
        (GatewayError("body_too_large", "x"), "request_too_large"),
        (GatewayError("request_timeout", "x"), "timeout_error"),
        (GatewayError("upstream_429", "x"), "rate_limit_error"),
        (GatewayError("upstream_quota", "x"), "billing_error"),
        (GatewayError("upstream_4xx", "x", status=402), "billing_error"),
        (GatewayError("upstream_4xx", "x", status=422), "invalid_request_error"),
        (GatewayError("upstream_409", "x"), "invalid_request_error"),
        (GatewayError("internal_error", "x"), "api_error"),
        (GatewayError("upstream_auth", "x"), "api_error"),
        (GatewayError("upstream_5xx", "x"), "api_error"),
        (GatewayError("upstream_overloaded", "x"), "overloaded_error"),
        (GatewayError("upstream_5xx", "x", status=529), "overloaded_error"),
        (GatewayError("draining", "x"), "overloaded_error"),
        (GatewayError("upstream_idle_timeout", "x"), "timeout_error"),
    ],
)
def test_failures_have_anthropics_types(error: GatewayError, kind: str) -> None:
    body = orjson.loads(INBOUND.error_body(error, "req_1"))
    assert body == {"type": "error", "error": {"type": kind, "message": "x"}, "request_id": "req_1"}


def test_every_failure_can_be_told_also_in_a_stream() -> None:
    for code in FAILURES:
        error = GatewayError(code, 'It "broke"\n\ud800', raw=b"{}")
        event = INBOUND.encoder(request()).fail(error, "req_1")
        assert event.startswith(b"event: error\ndata: ")
        assert event.endswith(b"\n\n")
        assert event.count(b"\n") == 3
        assert orjson.loads(event.split(b"data: ")[1])["error"]["message"].endswith('It "broke"\n?')


def test_a_prompt_that_is_too_long_is_named_in_the_words_that_agents_look_for() -> None:
    error = GatewayError("context_length_exceeded", "The maximum context length is 8192 tokens.")
    told = orjson.loads(INBOUND.error_body(error, "r"))["error"]["message"]
    assert told == "prompt is too long: The maximum context length is 8192 tokens."
    own = GatewayError("context_length_exceeded", "prompt is too long: 9 tokens > 8 maximum")
    assert orjson.loads(INBOUND.error_body(own, "r"))["error"]["message"] == own.message


ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=6)
    | st.just("\ud800")
    | st.sampled_from(["reasoning.text", "reasoning.encrypted", "anthropic-claude-v1", "{}", "tool_use"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "text", "data", "signature", "format", "id", "index", "function", "name", "arguments", "url"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)
MESSAGE_FIELDS = (
    "content",
    "refusal",
    "annotations",
    "tool_calls",
    "function_call",
    "reasoning",
    "reasoning_content",
    "reasoning_details",
)
MESSAGES = st.dictionaries(st.sampled_from(MESSAGE_FIELDS), ANY | st.lists(ANY, max_size=3), max_size=4)


@given(MESSAGES | ANY, ANY, ANY)
def test_whatever_an_upstream_says_is_rendered(message: Any, finish: Any, native: Any) -> None:
    choice = {"message": message, "finish_reason": finish, "native_finish_reason": native}
    rendered = render({"id": finish, "model": native, "choices": [choice]}, None, stop_sequences=["a"])
    assert rendered["type"] == "message"
    assert isinstance(rendered["content"], list)


def test_arguments_deeper_than_can_be_written_do_no_harm() -> None:
    deep = '{"a":' * 400 + "1" + "}" * 400
    message = render(answer({"tool_calls": [call("t", "f", deep)]}))
    assert message["content"][0]["type"] == "tool_use"
