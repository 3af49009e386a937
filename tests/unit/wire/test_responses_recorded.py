"""Recorded traffic of `/responses`: requests become chat, and what the models said is told again as it was.

The recordings are read by plain JSON paths. What their models said is put into chat's form here, so that our answer
can be held against the one that was recorded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import orjson
import pytest

from gateway.errors import GatewayError
from gateway.wire.responses_history import resolved, stored_items
from gateway.wire.responses_inbound import INBOUND
from gateway.wire.usage import Usage
from tests.unit.wire.test_responses_grammar import SKIPPED as ODD_STREAMS
from tests.unit.wire.test_responses_grammar import STREAMS, Reader, check_with_sdk, events_of
from tests.wire_data import body_of, needs_recordings, place, recorded

PROVIDERS = ("openai", "azure_openai", "deepseek", "openrouter")
_MODELS = "pydantic/pydantic-ai:tests/models/cassettes/test_openai_responses/"
# What the translation refuses, and the field that it names.
REFUSED = {
    f"{_MODELS}test_background_mode_vcr.yaml#0": "background",
    f"{_MODELS}test_background_mode_streaming_without_starting_after_vcr.yaml#0": "background",
    f"{_MODELS}test_background_mode_reasoning_vcr.yaml#0": "background",
    f"{_MODELS}test_background_mode_with_tool_vcr.yaml#0": "background",
    f"{_MODELS}test_background_mode_with_tool_vcr.yaml#2": "background",
    f"{_MODELS}test_openai_responses_model_file_search_tool.yaml#3": "tools[0]",
    f"{_MODELS}test_openai_responses_model_file_search_tool_stream.yaml#3": "tools[0]",
    f"{_MODELS}test_openai_conversation_id_streaming_provider_details.yaml#1": "conversation",
    "pydantic/pydantic-ai:tests/cassettes/test_tool_search/test_openai_native_tool_search_streaming.yaml#1": "input[1]",
}


def other_operation(row: dict[str, Any]) -> str | None:
    """Why a recording makes no response."""
    if row["method"] != "POST":
        return "reads a stored response"
    return {"input_tokens": "counts tokens", "compact": "compacts a conversation"}.get(row["path"].rpartition("/")[2])


ROWS = [row for provider in PROVIDERS for row in recorded(provider) if "/responses" in row["path"]]
MADE = [row for row in ROWS if other_operation(row) is None]
TRANSLATED = [row for row in MADE if place(row) not in REFUSED]


@needs_recordings
def test_every_recording_is_replayed_or_listed() -> None:
    assert Counter(filter(None, map(other_operation, ROWS))) == {
        "reads a stored response": 9,
        "counts tokens": 3,
        "compacts a conversation": 7,
    }
    assert Counter(row["provider"] for row in MADE) == {
        "openai": 63,
        "azure_openai": 3,
        "deepseek": 15,
        "openrouter": 3,
    }
    assert (len(ROWS), len(TRANSLATED), len(REFUSED)) == (103, 75, 9)


# --- requests ---------------------------------------------------------------------------------------


@needs_recordings
@pytest.mark.parametrize("row", [row for row in MADE if place(row) in REFUSED], ids=place)
def test_what_cannot_be_translated_is_refused_by_name(row: dict[str, Any]) -> None:
    with pytest.raises(GatewayError) as raised:
        INBOUND.canonical(INBOUND.read_request(orjson.dumps(row["request"])))
    assert (raised.value.code, raised.value.param) == ("unsupported_parameter", REFUSED[place(row)])


def canonical_of(row: dict[str, Any]) -> dict[str, Any]:
    document = INBOUND.read_request(orjson.dumps(row["request"]))
    return INBOUND.canonical(resolved(document))


@needs_recordings
@pytest.mark.parametrize("row", TRANSLATED, ids=place)
def test_a_recorded_request_keeps_all_that_it_says(row: dict[str, Any]) -> None:
    request, chat = row["request"], canonical_of(row)
    given = request["input"]
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    messages = chat["messages"]
    assert chat["model"] == request["model"]
    assert chat.get("stream") is (True if request.get("stream") else None)
    first = [request["instructions"]] if request.get("instructions") else []
    assert messages[: len(first)] == [{"role": "system", "content": text} for text in first]
    spoken = Counter(item["role"] for item in items if "role" in item)
    roles = Counter(message["role"] for message in messages)
    for role in ("user", "system", "developer"):
        assert roles[role] == spoken[role] + (len(first) if role == "system" else 0)
    assert list(texts_in_chat(messages)) == [*first, *texts(items)]
    called = [item for item in items if item.get("type") == "function_call"]
    calls = [call for message in messages for call in message.get("tool_calls", ())]
    assert [(call["id"], call["function"]["name"], call["function"]["arguments"]) for call in calls] == [
        (item["call_id"], item["name"], item["arguments"]) for item in called
    ]
    outputs = [item["call_id"] for item in items if item.get("type") == "function_call_output"]
    assert [message["tool_call_id"] for message in messages if message["role"] == "tool"] == outputs


def texts(items: list[dict[str, Any]]) -> Iterator[str]:
    for item in items:
        content = item.get("output") if item.get("type") == "function_call_output" else item.get("content")
        if item.get("type") == "reasoning":
            continue
        for part in [{"text": content}] if isinstance(content, str) else content or ():
            if part.get("text"):
                yield part["text"]


def texts_in_chat(messages: list[dict[str, Any]]) -> Iterator[str]:
    for message in messages:
        content = message["content"]
        for part in [{"text": content}] if isinstance(content, str) else content or ():
            if part.get("text"):
                yield part["text"]


@needs_recordings
@pytest.mark.parametrize("row", TRANSLATED, ids=place)
def test_a_recorded_requests_settings_are_taken_over(row: dict[str, Any]) -> None:
    request, chat = row["request"], canonical_of(row)
    functions = [tool for tool in request.get("tools") or () if tool["type"] == "function"]
    assert [tool["function"]["name"] for tool in chat.get("tools", ())] == [tool["name"] for tool in functions]
    for made, tool in zip(chat.get("tools", ()), functions, strict=True):
        assert made["function"].get("parameters") == tool.get("parameters")
        assert made["function"].get("strict") == tool.get("strict")
        assert made["function"].get("description") == tool.get("description")
    assert chat.get("tool_choice") == (request.get("tool_choice") if functions else None)
    searches = [tool for tool in request.get("tools") or () if tool["type"].startswith("web_search")]
    assert ("web_search_options" in chat) == bool(searches)
    assert chat.get("reasoning_effort") == (request.get("reasoning") or {}).get("effort")
    assert chat.get("temperature") == request.get("temperature")
    assert chat.get("service_tier") == request.get("service_tier")
    text = request.get("text") or {}
    assert chat.get("verbosity") == text.get("verbosity")
    form = text.get("format", {"type": "text"})
    if form["type"] == "json_schema":
        assert chat["response_format"]["type"] == "json_schema"
        assert {"type": "json_schema", **chat["response_format"]["json_schema"]} == form
    else:
        assert chat.get("response_format", {"type": "text"}) == form


@needs_recordings
def test_pictures_reasoning_and_searches_are_among_the_recordings() -> None:
    chats = [canonical_of(row) for row in TRANSLATED]
    messages = [message for chat in chats for message in chat["messages"]]
    parts = [part for message in messages for part in message["content"] or () if isinstance(part, dict)]
    assert Counter(part["type"] for part in parts)["image_url"] >= 3
    assert any("cache_control" in part for part in parts)
    details = [detail for message in messages for detail in message.get("reasoning_details", ())]
    assert any(detail["type"] == "reasoning.encrypted" for detail in details)
    assert any(message.get("reasoning_content") for message in messages)


@needs_recordings
@pytest.mark.parametrize("row", TRANSLATED, ids=place)
def test_a_recorded_request_is_the_same_when_its_stored_items_are_asked_again(row: dict[str, Any]) -> None:
    document = resolved(INBOUND.read_request(orjson.dumps(row["request"])))
    kept = stored_items(document, "resp_1")
    assert INBOUND.canonical({**document, "input": kept}) == INBOUND.canonical(document)
    assert all(item["id"] and item["type"] for item in kept)


# --- answers ----------------------------------------------------------------------------------------

OURS = {"message", "function_call", "reasoning"}
WHOLE = [row for row in TRANSLATED if isinstance(row["response"], dict) and row["status"] == 200]


def usage_in(response: dict[str, Any]) -> Usage:
    usage = response["usage"]
    return Usage(
        prompt=usage["input_tokens"],
        completion=usage["output_tokens"],
        cached=usage["input_tokens_details"]["cached_tokens"],
        reasoning=usage["output_tokens_details"]["reasoning_tokens"],
    )


def answer_of(response: dict[str, Any]) -> dict[str, Any]:
    """What was said, as a chat answer."""
    message: dict[str, Any] = {"role": "assistant", "content": None}
    for item in response["output"]:
        if item["type"] == "reasoning":
            said = [part["text"] for part in (item.get("content") or item["summary"])]
            message["reasoning_content"] = "".join(said) or None
            if not said:
                message["reasoning_details"] = [{"type": "reasoning.encrypted", "data": "sealed"}]
        elif item["type"] == "message":
            message["content"] = "".join(part["text"] for part in item["content"])
        else:
            function = {"name": item["name"], "arguments": item["arguments"]}
            message.setdefault("tool_calls", []).append(
                {"id": item["call_id"], "type": "function", "function": function}
            )
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if "tool_calls" in message else "stop"}
    return {
        "id": response["id"].replace("resp_", "chatcmpl-"),
        "object": "chat.completion",
        "created": response["created_at"],
        "model": response["model"],
        "choices": [choice],
    }


def essence(response: dict[str, Any]) -> list[Any]:
    """The output without ids."""
    made: list[Any] = []
    for item in response["output"]:
        if item["type"] == "message":
            made += [("text", part["text"]) for part in item["content"]]
        elif item["type"] == "function_call":
            made.append(("call", item["call_id"], item["name"], item["arguments"]))
        else:
            made.append(("reasoning", [part["text"] for part in (item.get("content") or item["summary"])]))
    return made


ECHOED = {
    "object",
    "model",
    "created_at",
    "instructions",
    "previous_response_id",
    "metadata",
    "tool_choice",
    "error",
    "incomplete_details",
    "max_output_tokens",
    "parallel_tool_calls",
    "truncation",
}


@needs_recordings
def test_the_recorded_answers_are_counted() -> None:
    assert Counter(row["provider"] for row in WHOLE) == {
        "openai": 31,
        "azure_openai": 3,
        "deepseek": 11,
        "openrouter": 2,
    }
    assert {item["type"] for row in WHOLE for item in row["response"]["output"]} == OURS


@needs_recordings
@pytest.mark.parametrize("row", WHOLE, ids=place)
def test_a_recorded_answer_is_told_again(row: dict[str, Any]) -> None:
    theirs = row["response"]
    document = INBOUND.read_request(orjson.dumps(row["request"]))
    ours = orjson.loads(INBOUND.render(answer_of(theirs), usage_in(theirs), document))
    assert essence(ours) == essence(theirs)
    assert ours["usage"]["input_tokens"] == theirs["usage"]["input_tokens"]
    assert ours["usage"]["output_tokens"] == theirs["usage"]["output_tokens"]
    assert ours["usage"]["total_tokens"] == theirs["usage"]["total_tokens"]
    assert ours["status"] == {"complete": "completed"}.get(theirs["status"], theirs["status"])  # some are hand-written
    for name in ECHOED & theirs.keys():
        assert ours[name] == theirs[name], name
    if "text" in theirs:
        assert ours["text"]["format"]["type"] == theirs["text"]["format"]["type"]
    names = [tool.get("name") for tool in theirs.get("tools", ())]
    assert [tool.get("name") for tool in ours["tools"]] == names
    if theirs["id"].startswith("resp_"):
        assert ours["id"] == theirs["id"]
    check_with_sdk({"type": "response.completed", "sequence_number": 0, "response": ours})


# --- streams ----------------------------------------------------------------------------------------


def chunks_of(events: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The deltas of a recorded stream, as chat's chunks."""
    first = events[0]["response"]
    calls: dict[int, int] = {}

    def chunk(delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        head = {"id": first["id"], "object": "chat.completion.chunk", "created": first["created_at"]}
        return {**head, "model": first["model"], "choices": [choice]}

    yield chunk({"role": "assistant", "content": ""})
    for event in events:
        kind = event["type"]
        if kind == "response.output_text.delta":
            yield chunk({"content": event["delta"]})
        elif kind == "response.reasoning_text.delta":
            yield chunk({"reasoning_content": event["delta"]})
        elif kind == "response.output_item.added" and event["item"]["type"] == "function_call":
            index = calls[event["output_index"]] = len(calls)
            function = {"name": event["item"]["name"], "arguments": ""}
            call = {"index": index, "id": event["item"]["call_id"], "type": "function", "function": function}
            yield chunk({"tool_calls": [call]})
        elif kind == "response.function_call_arguments.delta":
            index = calls[event["output_index"]]
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": event["delta"]}}]})
    yield chunk({}, "tool_calls" if calls else "stop")


OUR_STREAMS = [row for row in STREAMS if place(row) not in ODD_STREAMS and place(row) not in REFUSED]


@needs_recordings
def test_the_recorded_streams_are_counted() -> None:
    left_out = [place(row) for row in STREAMS if place(row) in REFUSED or place(row) in ODD_STREAMS]
    assert (len(OUR_STREAMS), len(left_out), len(STREAMS)) == (20, 4, 24)


@needs_recordings
@pytest.mark.parametrize("row", OUR_STREAMS, ids=place)
def test_a_recorded_streams_deltas_make_the_same_events(row: dict[str, Any]) -> None:
    theirs = events_of(body_of(row))
    encoder = INBOUND.encoder(INBOUND.read_request(orjson.dumps(row["request"])))
    usage = usage_in(theirs[-1]["response"])
    stream = b"".join(map(encoder.encode, chunks_of(theirs))) + encoder.finish(usage)
    ours = events_of(stream)
    assert [kind for kind, _ in groupby(ours, lambda event: event["type"])] == [
        kind for kind, _ in groupby(theirs, lambda event: event["type"])
    ]
    assert len(ours) == len(theirs)
    final = Reader().read_all(ours)
    assert final == orjson.loads(orjson.dumps(encoder.response))
    assert essence(final) == essence(theirs[-1]["response"])
    for mine, recording in zip(ours, theirs, strict=True):
        missing = recording.keys() - mine.keys() - {"obfuscation"}
        assert not missing, mine["type"]
        check_with_sdk(mine)
