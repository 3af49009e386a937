"""Anthropic's whole answers and its errors."""

from __future__ import annotations

import orjson
import pytest

from gateway.errors import Again, GatewayError
from gateway.wire.anthropic import DIALECT
from gateway.wire.anthropic_tap import MessagesTap
from gateway.wire.usage import Usage
from tests.unit.wire.anthropic_asks import answer, make_ask


@pytest.mark.parametrize(
    ("stop", "reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("pause_turn", "stop"),
        ("refusal", "content_filter"),
        ("something_new", "stop"),
    ],
)
def test_why_an_answer_ended_is_told_in_openais_words_and_in_its_own(stop: str, reason: str) -> None:
    choice = answer([{"type": "text", "text": "x"}], stop)
    assert (choice["finish_reason"], choice["native_finish_reason"]) == (reason, stop)


def test_a_refusal_says_what_the_provider_says_about_it() -> None:
    body = {
        "content": [],
        "stop_reason": "refusal",
        "stop_details": {"type": "refusal", "explanation": "Not this."},
    }
    decoded, usage = DIALECT.decode(make_ask(), orjson.dumps(body))
    assert decoded["choices"][0]["message"] == {"role": "assistant", "content": None, "refusal": "Not this."}
    assert (decoded["id"], usage) == ("chatcmpl-0123456789ab", None)


@pytest.mark.shows("anthropic", "citations")
def test_citations_become_annotations_with_the_place_in_the_text() -> None:
    blocks = [
        {"type": "text", "text": "See "},
        {
            "type": "text",
            "text": "this",
            "citations": [
                {"type": "web_search_result_location", "url": "https://a.example", "title": "A", "cited_text": "…"},
                {"type": "char_location", "document_title": "d.txt", "file_id": "f", "cited_text": "c"},
                {"type": "search_result_location", "source": "shelf 3", "title": None},
                "noise",
            ],
        },
    ]
    span = {"start_index": 4, "end_index": 8}
    assert answer(blocks)["message"]["annotations"] == [
        {"type": "url_citation", "url_citation": {"url": "https://a.example", "title": "A", **span}},
        {"type": "file_citation", "file_citation": {"filename": "d.txt", "file_id": "f", "text": "c", **span}},
        {"type": "file_citation", "file_citation": span},
    ]


def test_a_call_without_an_id_gets_one_and_thinking_before_it_gets_its() -> None:
    blocks = [
        {"type": "tool_use", "name": "look", "input": None},
        {"type": "thinking", "thinking": "", "signature": "s"},
        {"type": "tool_use", "id": "t2", "name": "look", "input": {"a": 1}},
    ]
    message = answer(blocks, "tool_use")["message"]
    assert [call["id"] for call in message["tool_calls"]] == ["call_0123456789ab_0", "t2"]
    assert message["reasoning_details"][0]["id"] == "t2"
    assert "reasoning_content" not in message


@pytest.mark.shows("anthropic", "usage")
def test_usage_adds_up_what_was_cached_and_what_was_not() -> None:
    used = {
        "input_tokens": 3,
        "cache_read_input_tokens": 5,
        "cache_creation_input_tokens": 7,
        "output_tokens": 11,
        "output_tokens_details": {"thinking_tokens": 2},
    }
    _, usage = DIALECT.decode(make_ask(), orjson.dumps({"content": [], "usage": used}))
    assert usage == Usage(prompt=15, completion=11, cached=5, cache_write=7, reasoning=2)


@pytest.mark.shows("anthropic", "usage")
@pytest.mark.parametrize(
    ("told", "hour"),
    [
        ({"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 4}, 4),
        ({"ephemeral_1h_input_tokens": 400}, 7),
        ({"ephemeral_1h_input_tokens": "4"}, 0),
        ({}, 0),
        (None, 0),
        ([4], 0),
    ],
)
def test_what_is_written_to_the_cache_for_an_hour_is_told_apart(told: object, hour: int) -> None:
    used = {"input_tokens": 3, "cache_creation_input_tokens": 7, "cache_creation": told, "output_tokens": 11}
    expected = Usage(prompt=10, completion=11, cache_write=7, cache_write_1h=hour)
    assert DIALECT.decode(make_ask(), orjson.dumps({"content": [], "usage": used}))[1] == expected
    tap = MessagesTap(rename_to=None)
    started = {"type": "message_start", "message": {"usage": {**used, "output_tokens": 1}}}
    ended = {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 11, "cache_creation_input_tokens": 7}}
    decoder = DIALECT.decoder(make_ask())
    for event in (started, ended):
        data = b"event: %b\ndata: %b\n\n" % (str(event["type"]).encode(), orjson.dumps(event))
        tap.feed(data)
        decoder.feed(data)
    assert tap.usage == decoder.usage == expected


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{}", b'{"content":"text"}', b"<html>", b'{"content":null}'])
def test_what_is_no_answer_is_a_bad_answer(body: bytes) -> None:
    with pytest.raises(GatewayError) as caught:
        DIALECT.decode(make_ask(), body)
    assert caught.value.code == "upstream_bad_answer"


@pytest.mark.shows("anthropic", "errors")
@pytest.mark.parametrize(
    ("status", "kind", "message", "code", "again"),
    [
        (400, "invalid_request_error", "max_tokens: Field required", "upstream_4xx", Again.NEVER),
        (
            400,
            "invalid_request_error",
            "prompt is too long: 9 tokens > 8 maximum",
            "context_length_exceeded",
            Again.SPECIAL,
        ),
        (
            400,
            "invalid_request_error",
            "input length and `max_tokens` exceed context limit: 1 + 2 > 2",
            "context_length_exceeded",
            Again.SPECIAL,
        ),
        (
            400,
            "invalid_request_error",
            "Output blocked by content filtering policy",
            "content_policy_violation",
            Again.SPECIAL,
        ),
        (400, "invalid_request_error", "Your credit balance is too low to access", "upstream_quota", Again.NEXT),
        (
            400,
            "invalid_request_error",
            "You have reached your specified API usage limits.",
            "upstream_quota",
            Again.NEXT,
        ),
        (401, "authentication_error", "invalid x-api-key", "upstream_auth", Again.NEXT),
        (403, "permission_error", "no access", "upstream_auth", Again.NEXT),
        (402, "billing_error", "pay", "upstream_quota", Again.NEXT),
        (404, "not_found_error", "model: claude-x", "upstream_4xx", Again.NEVER),
        (413, "request_too_large", "Request exceeds the maximum size", "upstream_4xx", Again.NEVER),
        (429, "rate_limit_error", "slow down", "upstream_429", Again.SAME),
        (500, "api_error", "Internal server error", "upstream_5xx", Again.SAME),
        (504, "timeout_error", "late", "upstream_5xx", Again.SAME),
        (529, "overloaded_error", "Overloaded", "upstream_overloaded", Again.SAME),
    ],
)
def test_errors_are_told_apart(status: int, kind: str, message: str, code: str, again: Again) -> None:
    body = orjson.dumps({"type": "error", "error": {"type": kind, "message": message}})
    error = DIALECT.read_error("p", status, body, retry_after_s=3.0)
    assert (error.code, error.failure.again) == (code, again)
    if code in ("upstream_4xx", "context_length_exceeded"):
        assert (error.status, error.message, error.shown_code) == (status, message, kind)


def test_an_error_code_in_the_details_counts_before_the_type() -> None:
    error = {"type": "rate_limit_error", "message": "m", "details": {"error_code": "enforced_spend_limit_reached"}}
    assert DIALECT.read_error("p", 429, orjson.dumps({"error": error})).code == "upstream_quota"


def test_an_error_without_a_shape_goes_by_its_status_and_secrets_are_cut() -> None:
    assert DIALECT.read_error("p", 503, b"<html>busy</html>").message == "The provider 'p' answered 503."
    shown = DIALECT.read_error("p", 400, b'{"error":{"message":"bad key sk-ant-api03-abcdefgh12345678"}}').message
    assert "abcdefgh" not in shown


def test_an_error_in_a_200_is_what_it_says() -> None:
    body = b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'
    with pytest.raises(GatewayError) as caught:
        DIALECT.decode(make_ask(), body)
    assert caught.value.code == "upstream_overloaded"
