"""Answers and streams of the Responses API: the same told both ways, in the grammar, taken by the SDK's models."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import openai
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.responses import ResponseItemList

from gateway.errors import GatewayError
from gateway.wire.responses_history import resolved, stored_items
from gateway.wire.responses_inbound import INBOUND
from gateway.wire.responses_reasoning import unpack
from gateway.wire.responses_stream import ResponseEncoder
from gateway.wire.usage import Usage
from tests.unit.wire.test_responses_grammar import Event, Reader, check_with_sdk, events_of

LOOK = {"type": "function", "name": "look", "parameters": {"type": "object"}}
USAGE = Usage(prompt=10, completion=5, cached=4, cache_write=2, reasoning=3)
# Calls may stay open beside others where a provider sends them in turns.
IN_TURNS = frozenset({"function_call"})


def document(**fields: Any) -> dict[str, Any]:
    made = INBOUND.read_request(orjson.dumps({"model": "m", "input": "hi", **fields}))
    INBOUND.canonical(made)
    return made


def chunk(delta: Any, finish_reason: Any = None, **choice: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason, **choice}
    return {"id": "chatcmpl-7", "object": "chat.completion.chunk", "created": 9, "model": "m", "choices": [choice]}


def call(index: int | None, arguments: str = "", **fields: Any) -> dict[str, Any]:
    name = fields.pop("name", None)
    function = {"arguments": arguments, **({"name": name} if name else {})}
    return {"tool_calls": [{**({} if index is None else {"index": index}), "function": function, **fields}]}


def run(
    *chunks: dict[str, Any], usage: Usage | None = USAGE, overlapping: frozenset[str] = frozenset(), **fields: Any
) -> tuple[list[Event], dict[str, Any]]:
    """The events of a stream of these, checked, and the response in the end."""
    encoder = INBOUND.encoder(document(**fields))
    events = events_of(b"".join(map(encoder.encode, chunks)) + encoder.finish(usage))
    final = Reader(overlapping=overlapping).read_all(events)
    assert final == orjson.loads(orjson.dumps(encoder.response))
    for event in events:
        check_with_sdk(event)
    return events, final


def kinds(events: list[Event]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def answer(message: dict[str, Any], finish_reason: str = "stop", **choice: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": message, "finish_reason": finish_reason, **choice}
    return {"id": "chatcmpl-7", "object": "chat.completion", "created": 9, "model": "m", "choices": [choice]}


def render(message: dict[str, Any], finish_reason: str = "stop", **choice: Any) -> dict[str, Any]:
    made: dict[str, Any] = orjson.loads(INBOUND.render(answer(message, finish_reason, **choice), USAGE, document()))
    check_with_sdk({"type": "response.completed", "sequence_number": 0, "response": made})
    return made


# --- whole answers ----------------------------------------------------------------------------------


def test_a_whole_answer_has_every_field_of_a_response() -> None:
    asked = document(
        instructions="Be brief.",
        tools=[{**LOOK, "strict": None}, {"type": "web_search", "search_context_size": "low"}],
        tool_choice={"type": "function", "name": "look"},
        parallel_tool_calls=False,
        temperature=0.2,
        top_p=0.9,
        top_logprobs=2,
        max_output_tokens=50,
        metadata={"a": "b"},
        reasoning={"effort": "low", "summary": "concise"},
        text={"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}}, "verbosity": "low"},
        user="u",
        safety_identifier="s",
        prompt_cache_key="k",
        service_tier="flex",
        store=False,
    )
    asked["previous_response_id"] = "resp_6"
    made = orjson.loads(INBOUND.render(answer({"role": "assistant", "content": "Hello"}), USAGE, asked))
    check_with_sdk({"type": "response.completed", "sequence_number": 0, "response": made})
    part = {"type": "output_text", "annotations": [], "logprobs": [], "text": "Hello"}
    assert made == {
        "id": "resp_7",
        "object": "response",
        "created_at": 9,
        "status": "completed",
        "background": False,
        "completed_at": None,
        "error": None,
        "incomplete_details": None,
        "instructions": "Be brief.",
        "max_output_tokens": 50,
        "max_tool_calls": None,
        "metadata": {"a": "b"},
        "model": "m",
        "output": [
            {"id": "msg_7_0", "type": "message", "status": "completed", "role": "assistant", "content": [part]},
        ],
        "parallel_tool_calls": False,
        "previous_response_id": "resp_6",
        "prompt_cache_key": "k",
        "prompt_cache_retention": None,
        "reasoning": {"effort": "low", "summary": "concise"},
        "safety_identifier": "s",
        "service_tier": "flex",
        "store": False,
        "temperature": 0.2,
        "text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}}, "verbosity": "low"},
        "tool_choice": {"type": "function", "name": "look"},
        "tools": [
            {**LOOK, "description": None, "strict": False},
            {"type": "web_search", "search_context_size": "low"},
        ],
        "top_logprobs": 2,
        "top_p": 0.9,
        "truncation": "disabled",
        "usage": {
            "input_tokens": 10,
            "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
            "output_tokens": 5,
            "output_tokens_details": {"reasoning_tokens": 3},
            "total_tokens": 15,
        },
        "user": "u",
    }


def test_what_was_not_asked_for_is_told_as_openais_default() -> None:
    made = render({"role": "assistant", "content": "Hello"})
    assert (made["temperature"], made["top_p"], made["store"], made["parallel_tool_calls"]) == (1.0, 1.0, True, True)
    assert (made["tools"], made["tool_choice"], made["service_tier"]) == ([], "auto", "default")
    assert made["text"] == {"format": {"type": "text"}, "verbosity": "medium"}
    assert made["reasoning"] == {"effort": None, "summary": None}


@pytest.mark.parametrize(
    ("finish_reason", "status", "details"),
    [
        ("stop", "completed", None),
        ("tool_calls", "completed", None),
        ("length", "incomplete", {"reason": "max_output_tokens"}),
        ("content_filter", "incomplete", {"reason": "content_filter"}),
    ],
)
def test_the_finish_reason_decides_the_status(finish_reason: str, status: str, details: Any) -> None:
    made = render({"role": "assistant", "content": "Hel"}, finish_reason)
    assert (made["status"], made["incomplete_details"]) == (status, details)
    assert made["output"][0]["status"] == status
    events, final = run(chunk({"content": "Hel"}), chunk({}, finish_reason))
    assert final == made
    assert events[-1]["type"] == f"response.{status}"


def test_calls_have_an_id_of_their_own_beside_the_call_id() -> None:
    calls = [
        {"id": "call_a", "type": "function", "function": {"name": "look", "arguments": '{"at":"sky"}'}},
        {"id": "call_b", "type": "function", "function": {"name": "look", "arguments": "{}"}},
    ]
    made = render({"role": "assistant", "content": None, "tool_calls": calls}, "tool_calls")
    assert made["output"] == [
        {
            "id": "fc_7_0",
            "type": "function_call",
            "status": "completed",
            "arguments": '{"at":"sky"}',
            "call_id": "call_a",
            "name": "look",
        },
        {
            "id": "fc_7_1",
            "type": "function_call",
            "status": "completed",
            "arguments": "{}",
            "call_id": "call_b",
            "name": "look",
        },
    ]


def test_a_refusal_is_a_part_of_its_own() -> None:
    made = render({"role": "assistant", "content": None, "refusal": "No."})
    assert made["output"][0]["content"] == [{"type": "refusal", "refusal": "No."}]


def test_an_answer_that_says_nothing_is_an_empty_message() -> None:
    for message in ({"role": "assistant", "content": None}, {"role": "assistant", "content": ""}, {}):
        made = render(message)
        assert [part["text"] for part in made["output"][0]["content"]] == [""]
    events, final = run()
    assert final["output"][0]["content"][0]["text"] == ""
    assert kinds(events)[-1] == "completed"


def test_an_answer_cut_off_while_thinking_is_reasoning_alone() -> None:
    made = render({"role": "assistant", "content": "", "reasoning_content": "Hm"}, "length")
    assert [(item["type"], item["status"]) for item in made["output"]] == [("reasoning", "incomplete")]


def test_citations_are_flattened_and_every_field_is_there() -> None:
    given = [
        {"type": "url_citation", "url_citation": {"url": "u", "title": "t", "start_index": 1, "end_index": 3}},
        {"type": "url_citation", "url_citation": {"url": "u"}},
        {"type": "file_citation", "file_citation": {"filename": "a.pdf", "text": "x"}},
        {"type": "other"},
        {"type": []},
        "no annotation",
    ]
    made = render({"role": "assistant", "content": "Hello", "annotations": given})
    assert made["output"][0]["content"][0]["annotations"] == [
        {"type": "url_citation", "url": "u", "title": "t", "start_index": 1, "end_index": 3},
        {"type": "url_citation", "url": "u", "title": "", "start_index": 5, "end_index": 5},
        {"type": "file_citation", "file_id": "", "filename": "a.pdf", "index": 5},
    ]


def test_logprobs_are_complete() -> None:
    token = {
        "token": "Hé",
        "logprob": -0.1,
        "bytes": None,
        "top_logprobs": [{"token": "x", "logprob": -1, "bytes": [1]}],
    }
    made = render({"role": "assistant", "content": "Hé"}, logprobs={"content": [token, {"token": 7}, "?"]})
    assert made["output"][0]["content"][0]["logprobs"] == [
        {
            "token": "Hé",
            "bytes": list("Hé".encode()),
            "logprob": -0.1,
            "top_logprobs": [{"token": "x", "bytes": [1], "logprob": -1}],
        }
    ]


@pytest.mark.parametrize(
    ("answer_id", "response_id"),
    [
        ("chatcmpl-7", "resp_7"),
        ("resp_7", "resp_7"),
        ("msg_01/ä", "resp_msg_01__"),
        ("x" * 500, "resp_" + "x" * 200),
        ("", "resp_0"),
        (None, "resp_0"),
        ([], "resp_0"),
    ],
)
def test_the_response_is_called_by_the_answers_id(answer_id: Any, response_id: str) -> None:
    said = {**answer({"role": "assistant", "content": "Hello"}), "id": answer_id}
    made = orjson.loads(INBOUND.render(said, None, document()))
    assert (made["id"], made["output"][0]["id"]) == (response_id, f"msg_{response_id[5:]}_0")
    assert made["usage"] is None
    named = INBOUND.with_id("resp_mine")
    made = orjson.loads(named.render(said, None, document()))
    assert (made["id"], made["output"][0]["id"]) == ("resp_mine", "msg_mine_0")
    assert b'"id":"resp_mine"' in named.encoder(document()).encode(chunk({}))


# --- streams ----------------------------------------------------------------------------------------


def test_text_streams_in_openais_order() -> None:
    events, final = run(
        chunk({"role": "assistant", "content": ""}), chunk({"content": "Hel"}), chunk({"content": "lo"})
    )
    assert kinds(events) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert events[0]["response"]["id"] == final["id"] == "resp_7"
    assert final["usage"]["total_tokens"] == 15


def test_the_first_events_leave_with_the_first_chunk() -> None:
    encoder = INBOUND.encoder(document())
    assert kinds(events_of(encoder.encode(chunk({"role": "assistant"})))) == ["created", "in_progress"]
    assert kinds(events_of(encoder.encode(chunk({"content": "H"}))))[-1] == "output_text.delta"
    assert encoder.encode(chunk({"content": ""})) == b""
    assert encoder.encode({"id": "chatcmpl-7", "choices": []}) == b""
    assert encoder.response is None


def test_thoughts_are_shown_as_they_are_unless_a_summary_is_wanted() -> None:
    chunks = [chunk({"reasoning_content": "Sk"}), chunk({"reasoning_content": "y."}), chunk({"content": "Blue."})]
    events, final = run(*chunks)
    assert kinds(events)[2:9] == [
        "output_item.added",
        "content_part.added",
        "reasoning_text.delta",
        "reasoning_text.delta",
        "reasoning_text.done",
        "content_part.done",
        "output_item.done",
    ]
    item = final["output"][0]
    assert (item["content"], item["summary"]) == ([{"type": "reasoning_text", "text": "Sky."}], [])
    assert item["encrypted_content"] is None
    for wish in ({"summary": "auto"}, {"generate_summary": "concise"}):
        events, final = run(*chunks, reasoning=wish)
        assert kinds(events)[2:9] == [
            "output_item.added",
            "reasoning_summary_part.added",
            "reasoning_summary_text.delta",
            "reasoning_summary_text.delta",
            "reasoning_summary_text.done",
            "reasoning_summary_part.done",
            "output_item.done",
        ]
        assert final["output"][0]["summary"] == [{"type": "summary_text", "text": "Sky."}]
        assert "content" not in final["output"][0]


def text_detail(index: int, **fields: Any) -> dict[str, Any]:
    return {"type": "reasoning.text", "format": "f", "index": index, **fields}


def sealed(item: dict[str, Any]) -> Any:
    return unpack(item["encrypted_content"])


def test_details_are_joined_and_sealed() -> None:
    pieces = [
        {"reasoning_content": "Sk", "reasoning_details": [text_detail(0, text="Sk")]},
        {"reasoning_content": "y.", "reasoning_details": [text_detail(0, text="y.")]},
        {"reasoning_details": [text_detail(0, signature="sig")]},
        {"reasoning_details": [{"type": "reasoning.encrypted", "data": "x", "format": "f", "index": 1}]},
        {"content": "Blue."},
    ]
    _, final = run(*map(chunk, pieces))
    assert sealed(final["output"][0]) == [
        text_detail(0, text="Sky.", signature="sig"),
        {"type": "reasoning.encrypted", "data": "x", "format": "f", "index": 1},
    ]


def test_text_that_only_details_have_is_shown() -> None:
    _, final = run(chunk({"reasoning_details": [text_detail(0, text="Sky.")]}), chunk({"content": "Blue."}))
    assert final["output"][0]["content"][0]["text"] == "Sky."


def test_text_that_comes_again_in_the_details_is_shown_once() -> None:
    _, final = run(
        chunk({"reasoning_content": "Sky."}), chunk({"reasoning_details": [text_detail(0, text="Sky.", signature="s")]})
    )
    assert final["output"][0]["content"][0]["text"] == "Sky."
    assert sealed(final["output"][0]) == [text_detail(0, text="Sky.", signature="s")]


def test_a_seal_amid_the_text_does_not_cut_it() -> None:
    _, final = run(
        chunk({"content": "Bl"}),
        chunk({"reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}]}),
        chunk({"content": "ue."}),
    )
    assert [item["type"] for item in final["output"]] == ["message", "reasoning"]
    assert final["output"][0]["content"][0]["text"] == "Blue."
    assert sealed(final["output"][1]) == [{"type": "reasoning.encrypted", "data": "x"}]


def test_a_seal_of_a_call_is_kept_with_its_id() -> None:
    first = chunk({**call(0, "{}", id="call_a", name="look"), "reasoning_details": [text_detail(0, signature="s")]})
    late = chunk({"reasoning_details": [{"type": "reasoning.encrypted", "data": "x", "id": "call_a"}]})
    _, final = run(first, late)
    assert [item["type"] for item in final["output"]] == ["reasoning", "function_call", "reasoning"]
    assert sealed(final["output"][2]) == [{"type": "reasoning.encrypted", "data": "x", "id": "call_a"}]


def test_thoughts_between_text_are_an_item_of_their_own() -> None:
    _, final = run(*(chunk(delta) for delta in ({"content": "a"}, {"reasoning": "b"}, {"content": "c"})))
    assert [item["type"] for item in final["output"]] == ["message", "reasoning", "message"]


def test_calls_stream_one_after_another() -> None:
    events, final = run(
        chunk({"content": "I look."}),
        chunk(call(0, id="call_a", name="look")),
        chunk(call(0, '{"at":')),
        chunk(call(0, '"sky"}')),
        chunk(call(1, '{"at":"sea"}', id="call_b", name="look")),
        chunk({}, "tool_calls"),
    )
    assert (
        kinds(events)[9:]
        == [
            "output_item.added",
            "function_call_arguments.delta",
            "function_call_arguments.delta",
            "function_call_arguments.done",
            "output_item.done",
            "output_item.added",
            "function_call_arguments.delta",
            "function_call_arguments.done",
            "output_item.done",
            "completed",
        ][1:]
    )
    assert [(item["call_id"], item["arguments"]) for item in final["output"][1:]] == [
        ("call_a", '{"at":"sky"}'),
        ("call_b", '{"at":"sea"}'),
    ]


def test_calls_that_come_in_turns_lose_nothing() -> None:
    _, final = run(
        chunk(call(0, '{"a":', id="call_a", name="look")),
        chunk(call(1, '{"b":', id="call_b", name="look")),
        chunk(call(0, "1}")),
        chunk(call(1, "2}")),
        overlapping=IN_TURNS,
    )
    assert [item["arguments"] for item in final["output"]] == ['{"a":1}', '{"b":2}']


def test_calls_without_an_index_are_told_apart_by_their_ids() -> None:
    _, final = run(
        chunk(call(None, '{"a":', id="call_a", name="look")),
        chunk(call(None, "1}")),
        chunk(call(None, "{}", id="call_b", name="wait")),
    )
    assert [(item["call_id"], item["name"], item["arguments"]) for item in final["output"]] == [
        ("call_a", "look", '{"a":1}'),
        ("call_b", "wait", "{}"),
    ]
    _, final = run(chunk(call(0, "{}", id="call_a", name="look")), chunk(call(0, "{}", id="call_b", name="wait")))
    assert [item["call_id"] for item in final["output"]] == ["call_a", "call_b"]


def test_a_call_waits_for_its_name_and_gets_an_id_where_there_is_none() -> None:
    events, final = run(chunk(call(0, '{"a"')), chunk(call(0, ":1}", name="look")))
    assert kinds(events)[2:4] == ["output_item.added", "function_call_arguments.delta"]
    assert events[3]["delta"] == '{"a":1}'
    assert (final["output"][0]["call_id"], final["output"][0]["name"]) == ("call_7_0", "look")
    _, final = run(chunk(call(0, "{}")))
    assert (final["output"][0]["name"], final["output"][0]["arguments"]) == ("", "{}")


def test_a_call_cut_off_is_incomplete_and_a_whole_one_before_it_is_not() -> None:
    _, final = run(
        chunk(call(0, "{}", id="call_a", name="look")),
        chunk(call(1, '{"a":', id="call_b", name="look")),
        chunk({}, "length"),
    )
    assert [item["status"] for item in final["output"]] == ["completed", "incomplete"]


def test_a_refusal_behind_text_is_the_next_part() -> None:
    events, final = run(*(chunk(delta) for delta in ({"content": "Well."}, {"refusal": "N"}, {"refusal": "o."})))
    assert [part["type"] for part in final["output"][0]["content"]] == ["output_text", "refusal"]
    assert kinds(events)[-6:] == [
        "refusal.delta",
        "refusal.delta",
        "refusal.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]


def test_annotations_and_logprobs_stream_with_the_text() -> None:
    cited = {"type": "url_citation", "url_citation": {"url": "u"}}
    token = {"token": "Hel", "logprob": -0.5, "bytes": None}
    late = {"token": "lo", "logprob": -0.25, "bytes": None}
    events, final = run(
        chunk({"content": "Hel"}, logprobs={"content": [token]}),
        chunk({"annotations": [cited]}),
        chunk({"content": "lo"}),
        chunk({}, logprobs={"content": [late]}),
    )
    assert [event["logprobs"] for event in events if event["type"] == "response.output_text.delta"][1] == []
    part = final["output"][0]["content"][0]
    assert part["annotations"][0]["end_index"] == 3
    assert [found["token"] for found in part["logprobs"]] == ["Hel", "lo"]


def test_other_choices_are_not_told() -> None:
    other = chunk({"content": "other"})
    other["choices"][0]["index"] = 1
    _, final = run(chunk({"content": "Hello"}), other)
    assert final["output"][0]["content"][0]["text"] == "Hello"


def test_the_tier_that_was_used_is_told() -> None:
    _, final = run({**chunk({"content": "a"}), "service_tier": "priority"})
    assert final["service_tier"] == "priority"
    _, final = run({**chunk({"content": "a"}), "service_tier": "on_demand"})
    assert final["service_tier"] == "default"


def test_nothing_follows_the_end() -> None:
    encoder = INBOUND.encoder(document())
    encoder.finish(None)
    assert (encoder.encode(chunk({"content": "a"})), encoder.finish(None)) == (b"", b"")
    assert encoder.fail(GatewayError("upstream_truncated", "Gone."), "req_1") == b""


# --- failures ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "shown"),
    [("upstream_429", "rate_limit_exceeded"), ("upstream_4xx", "invalid_prompt"), ("upstream_5xx", "server_error")],
)
def test_a_stream_that_breaks_ends_with_the_error_and_the_failed_response(code: str, shown: str) -> None:
    encoder = INBOUND.encoder(document())
    begun = encoder.encode(chunk({"content": "Hel"})) + encoder.encode(chunk(call(0, '{"a', id="c", name="look")))
    events = events_of(begun + encoder.fail(GatewayError(code, "It broke."), "req_1"))
    final = Reader().read_all(events)
    assert kinds(events)[-2:] == ["error", "failed"]
    assert final["error"] == {"code": shown, "message": "It broke."}
    assert [(item["type"], item["status"]) for item in final["output"]] == [
        ("message", "completed"),
        ("function_call", "incomplete"),
    ]
    assert events[-2]["error"]["request_id"] == "req_1"
    assert events[-2]["code"] == code
    for event in events:
        check_with_sdk(event)
    assert encoder.response is not None


def test_a_stream_that_breaks_before_it_began_has_a_beginning() -> None:
    encoder = INBOUND.encoder(document())
    events = events_of(encoder.fail(GatewayError("upstream_truncated", "Gone."), "req_1"))
    assert kinds(events) == ["created", "in_progress", "error", "failed"]
    assert Reader().read_all(events)["id"] == "resp_req_1"


def test_an_error_has_openais_shape() -> None:
    error = GatewayError("invalid_field", "The field 'input' is odd.", param="input")
    assert orjson.loads(INBOUND.error_body(error, "req_1"))["error"]["param"] == "input"
    events = events_of(INBOUND.encoder(document()).fail(error, "req_1"))
    (event,) = [event for event in events if event["type"] == "error"]
    check_with_sdk(event)
    assert (event["code"], event["param"], event["error"]["request_id"]) == ("invalid_field", "input", "req_1")


# --- what came goes back ----------------------------------------------------------------------------

DETAILS = [
    text_detail(0, text="Sky.", signature="s"),
    {"type": "reasoning.encrypted", "data": "x", "format": "g", "id": "call_a", "index": 1},
]
SAID = {
    "role": "assistant",
    "content": "I look.",
    "reasoning_content": "Sky.",
    "reasoning_details": DETAILS,
    "tool_calls": [
        {"id": "call_a", "type": "function", "function": {"name": "look", "arguments": '{"at":"sky"}'}},
        {"id": "call_b", "type": "function", "function": {"name": "look", "arguments": "{}"}},
    ],
}


@pytest.mark.parametrize("wish", [None, {"summary": "auto"}])
def test_a_turn_comes_back_as_the_message_that_it_was(wish: Any) -> None:
    asked = document(tools=[LOOK], reasoning=wish)
    made = INBOUND.response(answer(SAID, "tool_calls"), USAGE, asked)
    results = [{"type": "function_call_output", "call_id": name, "output": "blue"} for name in ("call_a", "call_b")]
    again = resolved({"model": "m", "input": results}, [*stored_items(asked, made["id"]), *made["output"]])
    assert INBOUND.canonical(again)["messages"] == [
        {"role": "user", "content": "hi"},
        SAID,
        {"role": "tool", "tool_call_id": "call_a", "content": "blue"},
        {"role": "tool", "tool_call_id": "call_b", "content": "blue"},
    ]


def test_stored_items_are_what_the_sdk_lists() -> None:
    made = INBOUND.response(answer(SAID, "tool_calls"), USAGE, document())
    results = [
        {"type": "function_call_output", "call_id": "call_a", "output": "blue"},
        {"role": "user", "content": "?"},
    ]
    items = stored_items({"input": [*made["output"], {"role": "assistant", "content": "Well."}, *results]}, "resp_8")
    page = {"object": "list", "data": items, "first_id": "a", "last_id": "b", "has_more": False}
    ResponseItemList.model_validate(page)


# --- the SDK ----------------------------------------------------------------------------------------


class Pieces(httpx.AsyncByteStream):
    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece


def client_of(body: bytes) -> openai.AsyncOpenAI:
    def handle(request: httpx.Request) -> httpx.Response:
        pieces = [body[at : at + 100] for at in range(0, len(body), 100)]
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=Pieces(pieces))

    transport = httpx.AsyncClient(transport=httpx.MockTransport(handle))
    return openai.AsyncOpenAI(api_key="k", base_url="http://gateway/v1", http_client=transport, max_retries=0)


async def test_the_sdk_puts_a_stream_together() -> None:
    encoder = INBOUND.encoder(document(tools=[LOOK]))
    deltas = [{"reasoning_content": "Hm."}, {"content": "Hel"}, {"content": "lo"}, call(0, "{}", id="c", name="look")]
    body = b"".join(encoder.encode(chunk(delta)) for delta in deltas) + encoder.finish(USAGE)
    async with client_of(body) as client, client.responses.stream(model="m", input="hi") as stream:
        seen = [event.type async for event in stream]
        final = await stream.get_final_response()
    assert final.output_text == "Hello"
    assert [item.type for item in final.output] == ["reasoning", "message", "function_call"]
    assert seen[-1] == "response.completed"


async def test_the_sdk_raises_what_broke() -> None:
    encoder = INBOUND.encoder(document())
    body = encoder.encode(chunk({"content": "Hel"})) + encoder.fail(GatewayError("upstream_5xx", "It broke."), "req_1")
    async with client_of(body) as client:
        events = await client.responses.create(model="m", input="hi", stream=True)
        with pytest.raises(openai.APIError, match=r"It broke\."):
            async for _ in events:
                pass


# --- whatever comes ---------------------------------------------------------------------------------

TEXT = st.text(max_size=6) | st.just("lone \ud800")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
ARGUMENTS = st.sampled_from(["", "{", "}", '{"a":1}', "[]", '"', " "])
CALL = st.fixed_dictionaries(
    {},
    optional={
        "index": st.integers(0, 2) | JSON,
        "id": st.sampled_from(["", "a", "b"]) | JSON,
        "function": st.fixed_dictionaries({}, optional={"name": TEXT | JSON, "arguments": ARGUMENTS | JSON}) | JSON,
    },
)
DETAIL = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["reasoning.text", "reasoning.encrypted", "reasoning.summary"]) | JSON,
        "text": TEXT | JSON,
        "summary": TEXT | JSON,
        "data": TEXT | JSON,
        "signature": TEXT | JSON,
        "index": st.integers(0, 2) | JSON,
        "id": TEXT | JSON,
    },
)
CITED = st.fixed_dictionaries({"type": st.sampled_from(["url_citation", "file_citation"]), "url_citation": JSON})
DELTA = st.fixed_dictionaries(
    {},
    optional={
        "content": TEXT | JSON,
        "refusal": TEXT | JSON,
        "reasoning_content": TEXT | JSON,
        "reasoning": TEXT | JSON,
        "reasoning_details": st.lists(DETAIL | JSON, max_size=3) | JSON,
        "tool_calls": st.lists(CALL | JSON, max_size=3) | JSON,
        "annotations": st.lists(CITED | JSON, max_size=2) | JSON,
    },
)
LOGPROBS = st.fixed_dictionaries({"content": st.lists(st.fixed_dictionaries({"token": TEXT, "logprob": JSON}) | JSON)})
CHOICE = st.fixed_dictionaries(
    {"delta": DELTA | JSON},
    optional={
        "index": st.just(0) | JSON,
        "finish_reason": st.sampled_from(["stop", "length", "content_filter"]) | JSON,
        "logprobs": LOGPROBS | JSON,
    },
)
CHUNK = st.fixed_dictionaries(
    {},
    optional={
        "id": TEXT | JSON,
        "created": JSON,
        "model": TEXT | JSON,
        "service_tier": JSON,
        "choices": st.lists(CHOICE | JSON, max_size=3) | JSON,
    },
)


@settings(max_examples=300, deadline=None)
@given(st.lists(CHUNK, max_size=6), st.booleans(), st.booleans())
def test_whatever_chunks_come_the_stream_keeps_the_grammar(chunks: list[Any], fails: bool, summary: bool) -> None:
    encoder = INBOUND.encoder(document(reasoning={"summary": "auto"} if summary else None))
    stream = b"".join(map(encoder.encode, chunks))
    stream += encoder.fail(GatewayError("upstream_5xx", "It broke."), "req_1") if fails else encoder.finish(USAGE)
    events = events_of(stream)
    Reader(overlapping=IN_TURNS).read_all(events)
    for event in events:
        check_with_sdk(event)


@settings(max_examples=200, deadline=None)
@given(CHUNK, DELTA | JSON, JSON)
def test_whatever_answer_comes_is_rendered(head: dict[str, Any], message: Any, choices: Any) -> None:
    for given_choices in ([{"message": message, "finish_reason": "stop"}], choices):
        body = INBOUND.render({**head, "choices": given_choices}, USAGE, document())
        check_with_sdk({"type": "response.completed", "sequence_number": 0, "response": orjson.loads(body)})


def cut(text: str, rng: random.Random) -> Iterator[str]:
    at = 0
    while at < len(text):
        size = rng.randint(1, 4)
        yield text[at : at + size]
        at += size


def deltas_of(message: dict[str, Any], rng: random.Random) -> Iterator[dict[str, Any]]:
    """`message` in random pieces."""
    for piece in cut(message.get("reasoning_content", ""), rng):
        yield {"reasoning_content": piece, "reasoning_details": [text_detail(0, text=piece)]}
    if message.get("reasoning_content"):
        yield {"reasoning_details": [text_detail(0, signature="s")]}
    for piece in cut(message.get("content") or "", rng):
        yield {"content": piece}
    for index, made in enumerate(message.get("tool_calls", ())):
        yield call(index, id=made["id"], name=made["function"]["name"])
        for piece in cut(made["function"]["arguments"], rng):
            yield call(index, piece)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=20), st.text(max_size=20), st.integers(0, 3), st.randoms(use_true_random=False))
def test_any_split_of_an_answer_comes_to_the_same_response(
    thought: str, text: str, count: int, rng: random.Random
) -> None:
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if thought:
        message["reasoning_content"] = thought
        message["reasoning_details"] = [text_detail(0, text=thought, signature="s")]
    calls = [
        {"id": f"c{n}", "type": "function", "function": {"name": "look", "arguments": f'{{"n":{n}}}'}}
        for n in range(count)
    ]
    if calls:
        message["tool_calls"] = calls
    whole = INBOUND.response(answer(message), USAGE, document())
    encoder: ResponseEncoder = INBOUND.encoder(document())
    for delta in deltas_of(message, rng):
        encoder.encode(chunk(delta))
    encoder.encode(chunk({}, "stop"))
    encoder.finish(USAGE)
    assert encoder.response == whole


def test_numbers_that_are_none_are_not_told() -> None:
    odd = [float("nan"), float("inf"), 2**70, True, "1"]
    tokens = [{"token": "a", "logprob": value} for value in odd]
    tokens.append({"token": "a", "logprob": -1, "bytes": [2**70]})
    said = {**answer({"content": "a"}, logprobs={"content": tokens}), "created": 2**70}
    made = orjson.loads(INBOUND.render(said, None, document()))
    (kept,) = made["output"][0]["content"][0]["logprobs"]
    assert (kept["bytes"], made["created_at"]) == ([97], 0)


def test_tools_nested_as_deep_as_a_request_may_be_are_told_all_the_same() -> None:
    schema: dict[str, Any] = {}
    for _ in range(248):
        schema = {"a": schema}
    asked = document(tools=[{**LOOK, "parameters": schema}])
    encoder = INBOUND.encoder(asked)
    events = events_of(encoder.encode(chunk({"content": "a"})) + encoder.finish(None))
    Reader().read_all(events)
    assert orjson.loads(INBOUND.render(answer({"content": "a"}), None, asked))["tools"][0]["name"] == "look"
