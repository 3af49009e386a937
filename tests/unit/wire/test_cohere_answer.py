"""Cohere's answers, streams and errors."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.errors import GatewayError
from gateway.wire.dialect import Document
from gateway.wire.usage import Usage
from tests.unit.wire.test_cohere import AS_JSON, COHERE, SCHEMA, TOOL, USER, ask, sent


def answered(body: Document, **fields: Any) -> Document:
    document, _ = COHERE.decode(ask(**fields), orjson.dumps(body))
    return document


def message(**fields: Any) -> Document:
    return {"id": "m", "finish_reason": "COMPLETE", "message": {"role": "assistant", **fields}}


def event(kind: str, index: int = 0, **told: Any) -> bytes:
    inner = {"delta": {"message": told}} if kind != "message-end" else {"delta": told}
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps({"type": kind, "index": index, **inner}))


def streamed(*events: bytes, **fields: Any) -> tuple[list[Document], Any]:
    decoder = COHERE.decoder(ask(stream=True, **fields))
    chunks = [chunk for piece in events for chunk in decoder.feed(piece)]
    return [chunk["choices"][0] for chunk in chunks + decoder.finish()], decoder


def test_json_beside_tools_streams_as_content() -> None:
    start: Document = {
        "tool_calls": {"id": "c", "type": "function", "function": {"name": "give_answer", "arguments": ""}}
    }
    choices, decoder = streamed(
        event("message-start"),
        event("tool-call-start", **start),
        event("tool-call-delta", tool_calls={"function": {"arguments": '{"ci'}}),
        event("tool-call-delta", tool_calls={"function": {"arguments": 'ty":1}'}}),
        event("tool-call-end"),
        event("message-end", finish_reason="TOOL_CALL"),
        tools=[TOOL],
        response_format=AS_JSON,
    )
    assert decoder.done
    assert "".join(choice["delta"].get("content", "") for choice in choices) == '{"city":1}'
    assert choices[-1]["finish_reason"] == "stop"


def test_the_answer_s_tool_never_has_a_client_s_tool_s_name() -> None:
    own = {"type": "function", "function": {"name": "give_answer"}}
    body = sent(tools=[own], response_format=AS_JSON)
    assert [tool["function"]["name"] for tool in body["tools"]] == ["give_answer", "give_answer_"]


def test_thinking_streams_with_what_is_needed_to_send_it_back() -> None:
    choices, _ = streamed(
        event("content-start", content={"type": "thinking", "thinking": ""}),
        event("content-delta", content={"thinking": "Hm"}),
        event("content-delta", index=1, content={"text": "Hi"}),
        event("message-end", finish_reason="MAX_TOKENS"),
    )
    item = {"type": "reasoning.text", "text": "Hm", "format": "cohere-v2", "index": 0}
    assert [choice["delta"] for choice in choices] == [
        {"role": "assistant", "reasoning_content": "Hm", "reasoning_details": [item]},
        {"content": "Hi"},
        {},
    ]
    assert choices[-1]["finish_reason"] == "length"


@pytest.mark.shows("cohere", "logprobs")
def test_logprobs_stand_beside_the_choice() -> None:
    assert sent(logprobs=True)["logprobs"] is True
    item = {"text": "Hé", "token_ids": [1, 2], "logprobs": [-0.5, -0.25]}
    entry = {"token": "Hé", "logprob": -0.75, "bytes": [72, 195, 169], "top_logprobs": []}
    theirs = {**message(content=[{"type": "text", "text": "Hé"}]), "logprobs": [item]}
    assert answered(theirs)["choices"][0]["logprobs"] == {"content": [entry], "refusal": None}
    told = {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "Hé"}}}, "logprobs": item}
    choices, _ = streamed(b"data: " + orjson.dumps(told) + b"\n\n")
    assert choices[0]["logprobs"] == {"content": [entry], "refusal": None}


@pytest.mark.shows("cohere", "citations")
def test_citations_of_web_pages_and_documents_are_told_apart() -> None:
    cited = {"start": 0, "end": 4, "text": "Bern", "type": "TEXT_CONTENT"}
    page = {"type": "document", "id": "d", "document": {"url": "https://example.com", "title": "Towns"}}
    held = {"type": "document", "id": "d2", "document": {"title": "towns.txt", "text": "…"}}
    citations = [{**cited, "sources": [page, held]}, {**cited, "type": "PLAN", "sources": [held]}]
    notes = [
        {
            "type": "url_citation",
            "url_citation": {"url": "https://example.com", "title": "Towns", "start_index": 0, "end_index": 4},
        },
        {
            "type": "file_citation",
            "file_citation": {
                "file_id": "d2",
                "filename": "towns.txt",
                "text": "Bern",
                "start_index": 0,
                "end_index": 4,
            },
        },
    ]
    theirs = message(content=[{"type": "text", "text": "Bern"}], citations=citations)
    assert answered(theirs)["choices"][0]["message"]["annotations"] == notes
    choices, _ = streamed(
        event("citation-start", citations=citations[0]), event("citation-start", citations=citations[1])
    )
    assert [choice["delta"]["annotations"] for choice in choices] == [notes]


def test_a_call_without_id_or_arguments_gets_them() -> None:
    theirs = message(tool_calls=[{"type": "function", "function": {"name": "now"}}])
    (call,) = answered(theirs)["choices"][0]["message"]["tool_calls"]
    assert call == {"id": "call_abc_0", "type": "function", "function": {"name": "now", "arguments": "{}"}}
    choices, _ = streamed(event("tool-call-start", tool_calls={"function": {"name": "now"}}), event("tool-call-end"))
    pieces = [choice["delta"]["tool_calls"][0] for choice in choices]
    assert pieces[0] == {
        "index": 0,
        "id": "call_abc_0",
        "type": "function",
        "function": {"name": "now", "arguments": ""},
    }
    assert pieces[1] == {"index": 0, "function": {"arguments": "{}"}}


@pytest.mark.shows("cohere", "usage")
@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        (
            {
                "billed_units": {"input_tokens": 8.0, "output_tokens": 3},
                "tokens": {"input_tokens": 503},
                "cached_tokens": 480,
            },
            Usage(8, 3),
        ),
        ({"tokens": {"input_tokens": 503, "output_tokens": 3}, "cached_tokens": 480}, Usage(503, 3, cached=480)),
        ({"billed_units": {"input_tokens": -1, "output_tokens": 2**60}}, Usage(0, 0)),
        ({}, None),
        ("many", None),
    ],
)
def test_usage_is_what_cohere_bills(usage: Any, counts: Usage | None) -> None:
    body = orjson.dumps({**message(content=[]), "usage": usage})
    assert COHERE.decode(ask(), body)[1] == counts


@pytest.mark.shows("cohere", "errors")
@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (
            400,
            {"message": "too many tokens: total number of tokens cannot exceed 4081 - received 9001"},
            "context_length_exceeded",
        ),
        (400, {"message": "too many tokens: max tokens must be less than or equal to 4096"}, "upstream_4xx"),
        (401, {"message": "invalid api token"}, "upstream_auth"),
        (429, {"message": "You are using a Trial key, which is limited to 10 API calls / minute."}, "upstream_429"),
        (429, {"message": "You are using a Trial key, which is limited to 1000 API calls / month."}, "upstream_quota"),
        (402, {"message": "Please add or update your payment method"}, "upstream_quota"),
        (498, {"message": "blocked"}, "content_policy_violation"),
        (499, {"message": "request cancelled"}, "upstream_5xx"),
        (503, {"message": "busy", "type": "server_error"}, "upstream_overloaded"),
        (504, "<html>", "upstream_5xx"),
        (422, {"message": {"message": "no such field", "type": "x"}}, "upstream_4xx"),
    ],
)
def test_errors_are_told_apart(status: int, body: Any, code: str) -> None:
    raw = body.encode() if isinstance(body, str) else orjson.dumps(body)
    assert COHERE.read_error("p", status, raw).code == code


def test_an_error_in_place_of_an_answer_is_one() -> None:
    for body in (
        {"message": "gone wrong"},
        {**message(), "finish_reason": "ERROR"},
        {**message(), "finish_reason": "TIMEOUT"},
    ):
        with pytest.raises(GatewayError) as caught:
            COHERE.decode(ask(), orjson.dumps(body))
        assert caught.value.code == "upstream_bad_answer"
    _, decoder = streamed(b'data: {"message":"gone wrong"}\n\n')
    assert "gone wrong" in decoder.error.message
    _, decoder = streamed(b"data: nonsense\n\n")
    assert decoder.error.code == "upstream_bad_answer"


@pytest.mark.shows("cohere", "models")
def test_models_are_read_by_name() -> None:
    assert COHERE.read_models(b'{"models":[{"name":"command-a"},{"name":7},3]}') == ["command-a"]
    with pytest.raises(GatewayError):
        COHERE.read_models(b'{"data":[]}')


@pytest.mark.shows("cohere", "structured output")
def test_json_beside_tools_is_one_more_tool_whose_arguments_are_the_content() -> None:
    body = sent(tools=[TOOL], response_format=AS_JSON)
    assert "response_format" not in body
    assert body["tool_choice"] == "REQUIRED"
    assert [tool["function"]["name"] for tool in body["tools"]] == ["look_up", "give_answer"]
    assert body["tools"][1]["function"]["parameters"] == SCHEMA
    call = {"id": "c", "type": "function", "function": {"name": "give_answer", "arguments": '{"city":"Bern"}'}}
    theirs = {**message(tool_calls=[call]), "finish_reason": "TOOL_CALL"}
    (choice,) = answered(theirs, tools=[TOOL], response_format=AS_JSON)["choices"]
    assert choice["message"] == {"role": "assistant", "content": '{"city":"Bern"}'}
    assert choice["finish_reason"] == "stop"


@pytest.mark.shows("cohere", "reasoning")
def test_thinking_and_plan_go_back_where_they_came_from() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "now", "arguments": "{}"}}
    content = [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "Wait."}]
    theirs = message(content=content, tool_plan="I will look.", tool_calls=[call])
    shown = answered(theirs)["choices"][0]["message"]
    assert shown["reasoning_content"] == "Hm.\n\nI will look."
    foreign = {"type": "reasoning.text", "text": "secret", "format": "anthropic-claude-v1", "signature": "s"}
    shown["reasoning_details"].append(foreign)
    assert sent(messages=[USER, shown])["messages"][1] == {
        "role": "assistant",
        "content": content,
        "tool_calls": [call],
        "tool_plan": "I will look.",
    }
