"""AI21's dialect: what is asked of Jamba, how its answers, streams and errors read."""

from __future__ import annotations

import copy
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.wire.dialect import Ask, Document
from gateway.wire.dialects import find_dialect
from gateway.wire.usage import Usage
from tests.unit.wire.test_cohere_hostile import (
    JSON,
    REQUEST,
    as_events,
    as_json,
    only_gateway_errors,
    read_stream,
    spoilt,
)
from tests.wire_data import splits

AI21 = find_dialect("ai21")
USER = {"role": "user", "content": "Hi"}
TOOL = {"type": "function", "function": {"name": "look_up", "description": "d", "parameters": {"type": "object"}}}
CALL = {"id": "c", "type": "function", "function": {"name": "look_up", "arguments": '{"q":1}'}}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
AS_JSON = {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA}}


def ask(*, stream: bool = False, policy: dict[str, str] | None = None, **fields: Any) -> Ask:
    document = {"model": "shown", "messages": [USER], **fields}
    return Ask("chat", document, "jamba-large", "shown", "chatcmpl-abc", 7, stream=stream, policy=policy or {})


def sent(*, stream: bool = False, **fields: Any) -> Document:
    body: Document = orjson.loads(AI21.encode(ask(stream=stream, **fields)).body)
    return body


def refused(**fields: Any) -> tuple[str, str | None]:
    with pytest.raises(GatewayError) as caught:
        AI21.encode(ask(**fields))
    return caught.value.code, caught.value.param


def answer(*messages: Document, reason: str = "stop", **fields: Any) -> bytes:
    choices = [{"index": at, "message": said, "finish_reason": reason} for at, said in enumerate(messages)]
    usage = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
    return orjson.dumps({"id": "j", "choices": choices, "usage": usage, **fields})


def piece(delta: Document, reason: str | None = None, index: int = 0, **fields: Any) -> Document:
    return {"id": "j", "choices": [{"index": index, "delta": delta, "finish_reason": reason}], **fields}


@pytest.mark.shows("ai21", "chat")
def test_parameters_go_by_jamba_s_names() -> None:
    assert AI21.encode(ask()).path == "/chat/completions"
    assert sent(temperature=0.5, top_p=0.9, stop="END", max_completion_tokens=20, max_tokens=1, documents=["a"]) == {
        "model": "jamba-large",
        "messages": [USER],
        "stream": False,
        "temperature": 0.5,
        "top_p": 0.9,
        "stop": ["END"],
        "max_tokens": 20,
        "documents": [{"content": "a"}],
    }


@pytest.mark.shows("ai21", "n")
def test_several_answers_are_asked_for_only_whole() -> None:
    assert sent(n=3)["n"] == 3
    assert "n" not in sent(n=3, stream=True)


def test_what_jamba_lacks_is_dropped_or_refused() -> None:
    encoded = AI21.encode(ask(seed=3, user="u", reasoning_effort="low", frequency_penalty=0, logprobs=False))
    assert encoded.dropped == ["seed", "user", "reasoning_effort"]
    assert refused(frequency_penalty=0.5) == ("unsupported_parameter", "frequency_penalty")
    assert refused(logprobs=True) == ("unsupported_parameter", "logprobs")
    assert refused(tool_choice="required", tools=[TOOL]) == ("unsupported_parameter", "tool_choice")
    assert AI21.encode(ask(logprobs=True, policy={"logprobs": "drop"})).dropped == ["logprobs"]


def test_contents_are_joined_to_one_text() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    messages = [{"role": "developer", "content": parts}, {"role": "assistant", "content": None, "refusal": "No."}]
    assert sent(messages=messages)["messages"] == [
        {"role": "system", "content": "a\nb"},
        {"role": "assistant", "content": "No."},
    ]


@pytest.mark.parametrize(
    ("messages", "code", "field"),
    [
        (None, "invalid_field", "messages"),
        ([7], "invalid_field", "messages[0]"),
        ([{"role": "owner"}], "invalid_field", "messages[0].role"),
        ([{"role": "user"}], "invalid_field", "messages[0].content"),
        ([{"role": "user", "content": [{"type": "text"}]}], "invalid_field", "messages[0].content[0].text"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], "unsupported_parameter", "messages[0].content[0]"),
        ([{"role": "tool", "content": "x"}], "invalid_field", "messages[0].tool_call_id"),
        ([{"role": "assistant", "tool_calls": [{}]}], "invalid_field", "messages[0].tool_calls[0]"),
        ([{"role": "assistant", "tool_calls": 3}], "invalid_field", "messages[0].tool_calls"),
        ([{"role": "assistant", "function_call": {}}], "invalid_field", "messages[0].function_call"),
    ],
)
def test_messages_that_cannot_be_read_are_named(messages: Any, code: str, field: str) -> None:
    assert refused(messages=messages) == (code, field)


@pytest.mark.shows("ai21", "tools")
@pytest.mark.shows("ai21", "parallel tools")
def test_tool_calls_and_their_results_keep_their_ids() -> None:
    second = {**CALL, "id": "d"}
    messages = [
        USER,
        {"role": "assistant", "content": None, "tool_calls": [CALL, second]},
        {"role": "tool", "tool_call_id": "c", "content": "found"},
        {"role": "tool", "tool_call_id": "d", "content": [{"type": "text", "text": "none"}]},
    ]
    body = sent(messages=messages, tools=[TOOL])
    assert body["tools"] == [TOOL]
    assert body["messages"][1:] == [
        {"role": "assistant", "tool_calls": [CALL, second]},
        {"role": "tool", "tool_call_id": "c", "content": "found"},
        {"role": "tool", "tool_call_id": "d", "content": "none"},
    ]
    document, _ = AI21.decode(ask(), answer({"role": "assistant", "content": None, "tool_calls": [CALL, second]}))
    (choice,) = document["choices"]
    assert choice["message"]["tool_calls"] == [CALL, second]
    assert choice["finish_reason"] == "tool_calls"


@pytest.mark.shows("ai21", "tool choice")
def test_no_choice_of_tools_leaves_them_out() -> None:
    assert "tools" not in sent(tools=[TOOL], tool_choice="none")
    assert "tools" in sent(tools=[TOOL], tool_choice="auto")
    assert "tools" not in sent(functions=[TOOL["function"]], function_call="none")


def test_deprecated_functions_become_tools() -> None:
    messages = [
        USER,
        {"role": "assistant", "content": None, "function_call": {"name": "look_up", "arguments": "{}"}},
        {"role": "function", "name": "look_up", "content": "found"},
    ]
    body = sent(messages=messages, functions=[TOOL["function"]])
    assert body["tools"] == [TOOL]
    assert body["messages"][1]["tool_calls"][0]["id"] == body["messages"][2]["tool_call_id"]


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"tools": {}}, "invalid_field", "tools"),
        ({"tools": [{"type": "web_search"}]}, "unsupported_parameter", "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "invalid_field", "tools[0].name"),
        ({"functions": [{}]}, "invalid_field", "functions[0].name"),
        ({"documents": "a"}, "invalid_field", "documents"),
        ({"stop": 7}, "invalid_field", "stop"),
        ({"response_format": {"type": "xml"}}, "invalid_field", "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "invalid_field", "response_format.json_schema.schema"),
    ],
)
def test_fields_that_cannot_be_read_are_named(fields: Document, code: str, field: str) -> None:
    assert refused(**fields) == (code, field)


@pytest.mark.shows("ai21", "structured output")
def test_json_is_asked_for_natively_and_its_schema_in_the_instructions() -> None:
    assert sent(response_format={"type": "json_object"})["response_format"] == {"type": "json_object"}
    body = sent(response_format=AS_JSON)
    assert body["response_format"] == {"type": "json_object"}
    assert body["messages"][0]["role"] == "system"
    assert orjson.dumps(SCHEMA).decode() in body["messages"][0]["content"]
    body = sent(response_format=AS_JSON, messages=[{"role": "system", "content": "Be brief."}, USER])
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert body["messages"][0]["content"].startswith("Be brief.\n\n")


@pytest.mark.shows("ai21", "usage")
def test_an_answer_is_shown_in_openai_s_form() -> None:
    document, usage = AI21.decode(ask(), answer({"content": "Hi."}, {"content": "Hello."}, reason="length"))
    assert [choice["message"]["content"] for choice in document["choices"]] == ["Hi.", "Hello."]
    assert {choice["finish_reason"] for choice in document["choices"]} == {"length"}
    assert (document["id"], document["model"], document["object"]) == ("j", "shown", "chat.completion")
    assert usage == Usage(5, 3)
    assert document["usage"] == {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}


def test_a_call_without_an_id_gets_one() -> None:
    call = {"function": {"name": "look_up"}}
    document, _ = AI21.decode(ask(), answer({"tool_calls": [call]}, {"tool_calls": [call]}))
    ids = [choice["message"]["tool_calls"][0]["id"] for choice in document["choices"]]
    assert ids == ["call_abc_0", "call_abc_1_0"]


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"choices":[]}', b'{"choices":[{}]}', b'{"detail":"no"}'])
def test_what_is_no_answer_is_a_bad_one(body: bytes) -> None:
    with pytest.raises(GatewayError) as caught:
        AI21.decode(ask(), body)
    assert caught.value.code == "upstream_bad_answer"


@pytest.mark.shows("ai21", "streaming")
@pytest.mark.shows("ai21", "tools")
def test_a_stream_is_openai_s_with_what_it_leaves_out() -> None:
    function = {"name": "look_up", "arguments": ""}
    usage = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
    stream = as_events(
        [
            piece({"role": "assistant"}),
            piece({"content": "Loo"}),
            piece({"content": "k"}),
            piece({"tool_calls": [{"index": 0, "id": "c", "type": "function", "function": function}]}),
            piece({"tool_calls": [{"index": 0, "function": {"arguments": '{"q":1}'}}]}),
            piece({"content": ""}, "tool_calls", usage=usage, meta={"requestDurationMillis": 9}),
        ]
    )
    for pieces in splits(stream):
        chunks, done, error, used = read_stream(AI21, ask(stream=True), pieces)
        assert (done, error, used) == (True, None, Usage(5, 3))
        deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
        assert deltas[0] == {"role": "assistant"}
        assert "".join(delta.get("content", "") for delta in deltas) == "Look"
        assert deltas[3]["tool_calls"] == [{"index": 0, "function": function, "id": "c", "type": "function"}]
        assert deltas[4]["tool_calls"] == [{"index": 0, "function": {"arguments": '{"q":1}'}}]
        assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"
        assert {(chunk["id"], chunk["model"], chunk["object"]) for chunk in chunks} == {
            ("j", "shown", "chat.completion.chunk")
        }


def test_a_stream_that_ends_without_its_end_is_not_done() -> None:
    whole = as_events([piece({"content": "a"}), piece({}, "stop")])
    cut = whole[: whole.index(b"data: [DONE]")]
    assert read_stream(AI21, ask(stream=True), [cut])[1:3] == (False, None)
    assert read_stream(AI21, ask(stream=True), [cut, b"data: [DONE]"])[1] is True


@pytest.mark.shows("ai21", "errors")
@pytest.mark.parametrize(
    ("status", "body", "code", "said"),
    [
        (401, {"detail": "Forbidden: Bad or missing API token."}, "upstream_auth", "credentials"),
        (422, {"detail": "The provided model is not supported."}, "upstream_4xx", "The provided model"),
        (
            422,
            {"detail": [{"loc": ["body", "messages"], "msg": "field required"}]},
            "upstream_4xx",
            "body.messages: field required",
        ),
        (400, {"detail": "The prompt is too long for the context window"}, "context_length_exceeded", "too long"),
        (429, {"detail": "Too many requests"}, "upstream_429", "Too many requests"),
        (429, {"detail": "You have used up your trial credits"}, "upstream_quota", "credits"),
        (400, {"error": {"message": "refused", "code": "content_filter"}}, "content_policy_violation", "refused"),
        (500, "<html>", "upstream_5xx", "500"),
        (503, {"error": {"message": "busy"}}, "upstream_overloaded", "busy"),
    ],
)
def test_errors_are_told_apart(status: int, body: Any, code: str, said: str) -> None:
    raw = body.encode() if isinstance(body, str) else orjson.dumps(body)
    error = AI21.read_error("p", status, raw)
    assert error.code == code
    assert said in error.message


def test_an_error_in_a_stream_ends_it() -> None:
    stream = as_events([piece({"content": "a"}), {"detail": "gone wrong"}])
    chunks, done, error, _ = read_stream(AI21, ask(stream=True), [stream])
    assert (len(chunks), done) == (1, False)
    assert error[0] == "upstream_bad_answer"


@pytest.mark.shows("ai21", "models")
def test_models_are_read_by_id() -> None:
    assert AI21.read_models(b'{"object":"list","data":[{"id":"jamba-large"},{"id":4}]}') == ["jamba-large"]
    with pytest.raises(GatewayError):
        AI21.read_models(b"[]")


EVENTS = [
    piece({"role": "assistant", "content": "é"}),
    piece({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{"}}]}),
    piece({"tool_calls": [{"index": 0, "function": {"arguments": "}"}}]}, index=1),
    piece({}, "stop", usage={"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}),
]


@given(spoilt({**REQUEST, "tool_choice": None, "reasoning_effort": None, "documents": ["a"]}))
def test_no_request_raises_anything_else(document: Any) -> None:
    before = repr(copy.deepcopy(document))
    encoded = only_gateway_errors(AI21.encode, ask(**document))
    assert encoded is None or orjson.loads(encoded.body)
    assert repr(document) == before


@given(
    spoilt(orjson.loads(answer({"content": "x", "tool_calls": [CALL]}))).map(as_json) | JSON.map(as_json) | st.binary()
)
def test_no_answer_or_error_raises_anything_else(body: bytes) -> None:
    decoded = only_gateway_errors(AI21.decode, ask(), body)
    assert decoded is None or orjson.dumps(decoded[0])
    only_gateway_errors(AI21.read_models, body)
    for status in (400, 401, 422, 429, 500):
        assert AI21.read_error("p", status, body).body("id")


@given(spoilt(EVENTS), st.data())
@settings(max_examples=150)
def test_any_split_of_a_stream_gives_the_same_and_nothing_raises(events: Any, data: st.DataObject) -> None:
    stream = as_events(events)
    whole = read_stream(AI21, ask(stream=True), [stream])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert read_stream(AI21, ask(stream=True), pieces) == whole
    assert read_stream(AI21, ask(stream=True), [stream[at : at + 1] for at in range(len(stream))]) == whole
