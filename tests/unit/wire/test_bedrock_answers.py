"""Bedrock's answers, streams and errors in canonical form."""

from __future__ import annotations

import base64
import sys
from typing import Any

import orjson
import pytest

from gateway.errors import GatewayError
from gateway.wire.bedrock import DIALECT
from gateway.wire.dialect import Ask
from gateway.wire.usage import Usage
from tests.servers.bedrock import converse, converse_stream, event, frame
from tests.unit.wire.bedrock_asking import NOVA, ask, encoded
from tests.wire_data import splits

JSON = {"response_format": {"type": "json_object"}}
CALL = {"toolUse": {"toolUseId": "t1", "name": "get_weather", "input": {"city": "Paris"}}}
ANSWER = {"toolUse": {"toolUseId": "t2", "name": "json_answer", "input": {"city": "Oslo"}}}
HIDDEN = {"toolUse": {"toolUseId": "t3", "name": "no_tool_available", "input": {}}}
SIGNED = {"reasoningContent": {"reasoningText": {"text": "Think.", "signature": "c2ln"}}}
SEALED = {"reasoningContent": {"redactedContent": base64.b64encode(b"EuQF").decode()}}


def decoded(asked: Ask, *blocks: dict[str, Any], stop: str = "end_turn") -> dict[str, Any]:
    answer, _ = DIALECT.decode(asked, orjson.dumps(converse(*blocks, stop=stop)))
    choice: dict[str, Any] = answer["choices"][0]
    return choice


def streamed(asked: Ask, pieces: list[bytes]) -> tuple[list[dict[str, Any]], Any]:
    """The chunks' choices, the same for any split, and the last decoder."""
    first: list[dict[str, Any]] | None = None
    for reads in splits(b"".join(pieces)):
        decoder = DIALECT.decoder(asked)
        chunks = [chunk for read in reads for chunk in decoder.feed(read)]
        chunks += decoder.finish()
        first = first if first is not None else chunks
        assert chunks == first
    assert first is not None
    return [chunk["choices"][0] for chunk in first], decoder


def joined(choices: list[dict[str, Any]], name: str) -> str:
    return "".join(choice["delta"].get(name) or "" for choice in choices)


@pytest.mark.shows("bedrock", "reasoning")
def test_thoughts_are_shown_with_what_seals_them_whole_and_streamed_alike() -> None:
    message = decoded(ask(), SIGNED, SEALED, {"text": "Hi"})["message"]
    mark = {"format": "anthropic-claude-v1"}
    assert message["reasoning_content"] == "Think."
    assert message["reasoning_details"] == [
        {"type": "reasoning.text", "text": "Think.", "signature": "c2ln", "index": 0, **mark},
        {"type": "reasoning.encrypted", "data": "EuQF", "index": 1, **mark},
    ]
    choices, _ = streamed(ask(), converse_stream(SIGNED, SEALED, {"text": "Hi"}))
    details = [detail for choice in choices for detail in choice["delta"].get("reasoning_details", [])]
    assert joined(choices, "reasoning_content") == "Think."
    assert details == [
        {"type": "reasoning.text", "text": "Thi", "index": 0, **mark},
        {"type": "reasoning.text", "text": "nk.", "index": 0, **mark},
        {"type": "reasoning.text", "signature": "c2ln", "index": 0, **mark},
        {"type": "reasoning.encrypted", "data": "EuQF", "index": 1, **mark},
    ]
    sent = encoded(
        ask(messages=[{"role": "user", "content": "a"}, {"role": "assistant", "reasoning_details": details}])
    )
    assert orjson.loads(sent.body)["messages"][1]["content"] == [SIGNED, SEALED]


@pytest.mark.shows("bedrock", "structured output")
def test_a_forced_tools_arguments_are_the_answer_whole_and_streamed_alike() -> None:
    choice = decoded(ask(NOVA, **JSON), {"text": "Here:"}, ANSWER, stop="tool_use")
    assert choice["message"] == {"role": "assistant", "content": '{"city":"Oslo"}'}
    assert (choice["finish_reason"], choice["native_finish_reason"]) == ("stop", "tool_use")
    choices, decoder = streamed(ask(NOVA, **JSON), converse_stream({"text": "Here:"}, ANSWER, stop="tool_use"))
    assert joined(choices, "content") == '{"city":"Oslo"}'
    assert len([choice for choice in choices if choice["delta"].get("content")]) == 2
    assert choices[-1]["finish_reason"] == "stop"
    assert decoder.done


def test_text_where_a_tool_was_to_give_the_answer_is_the_answer_after_all() -> None:
    assert decoded(ask(NOVA, **JSON), {"text": "{}"})["message"]["content"] == "{}"
    choices, _ = streamed(ask(NOVA, **JSON), converse_stream({"text": "{}"}))
    assert joined(choices, "content") == "{}"


@pytest.mark.shows("bedrock", "parallel tools")
def test_calls_keep_their_ids_and_their_arguments_come_piece_by_piece() -> None:
    second = {"toolUse": {"toolUseId": "t9", "name": "get_time", "input": {}}}
    choices, _ = streamed(ask(), converse_stream({"text": "Hm."}, CALL, HIDDEN, second, stop="tool_use"))
    calls = [call for choice in choices for call in choice["delta"].get("tool_calls", [])]
    assert [(call["index"], call["id"], call["function"]["name"]) for call in calls if "id" in call] == [
        (0, "t1", "get_weather"),
        (1, "t9", "get_time"),
    ]
    pieces = [call["function"]["arguments"] for call in calls if call["index"] == 0]
    assert (pieces[0], "".join(pieces), len(pieces)) == ("", '{"city":"Paris"}', 3)
    assert choices[-1]["finish_reason"] == "tool_calls"


def test_a_call_without_arguments_is_json_all_the_same() -> None:
    start = {"contentBlockIndex": 0, "start": {"toolUse": {"toolUseId": "t1", "name": "f"}}}
    stop = event("contentBlockStop", {"contentBlockIndex": 0})
    end = event("messageStop", {"stopReason": "tool_use"})
    choices, _ = streamed(ask(), [event("contentBlockStart", start), stop, end])
    calls = [call for choice in choices for call in choice["delta"].get("tool_calls", [])]
    assert "".join(call["function"]["arguments"] for call in calls) == "{}"


def test_a_call_without_an_id_gets_one_that_is_always_the_same() -> None:
    unnamed = {"toolUse": {"name": "f", "input": {}}}
    found = [decoded(ask(), CALL, unnamed)["message"]["tool_calls"][1]["id"] for _ in range(2)]
    assert found == ["call_chatcmpl-0123456789_1"] * 2


def test_calls_that_the_provider_makes_itself_and_of_the_stand_in_are_not_shown() -> None:
    own = {"toolUse": {"toolUseId": "t1", "name": "nova_code_interpreter", "input": {}, "type": "server_tool_use"}}
    choice = decoded(ask(NOVA), own, HIDDEN, {"text": "42"}, stop="tool_use")
    assert choice["message"] == {"role": "assistant", "content": "42"}
    assert choice["finish_reason"] == "stop"


@pytest.mark.shows("bedrock", "citations")
def test_citations_point_into_the_text_and_name_the_clients_file_whole_and_streamed_alike() -> None:
    file = {"filename": "Plan, v2!.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}
    asked = ask(messages=[{"role": "user", "content": [{"type": "file", "file": file}]}])
    page = {"documentPage": {"documentIndex": 0, "start": 1, "end": 2}}
    cited = {"title": "Plan v2", "sourceContent": [{"text": "in May"}], "location": page}
    web = {"title": "News", "location": {"web": {"url": "https://example.org/n"}}}
    content = {"content": [{"text": "In May."}], "citations": [cited, web, {}]}
    expected = [
        {
            "type": "file_citation",
            "file_citation": {"filename": "Plan, v2!.pdf", "text": "in May", "start_index": 4, "end_index": 11},
        },
        {
            "type": "url_citation",
            "url_citation": {"url": "https://example.org/n", "title": "News", "start_index": 4, "end_index": 11},
        },
    ]
    message = decoded(asked, {"text": "Yes:"}, {"citationsContent": content})["message"]
    assert (message["content"], message["annotations"]) == ("Yes:In May.", expected)
    deltas = [(0, {"text": "Yes:"}), (1, {"text": "In May."}), (1, {"citation": cited}), (1, {"citation": web})]
    pieces = [event("contentBlockDelta", {"contentBlockIndex": block, "delta": delta}) for block, delta in deltas]
    choices, _ = streamed(asked, [*pieces, event("messageStop", {"stopReason": "end_turn"})])
    assert [note for choice in choices for note in choice["delta"].get("annotations", [])] == expected


@pytest.mark.parametrize(
    ("native", "reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("guardrail_intervened", "content_filter"),
        ("content_filtered", "content_filter"),
        ("malformed_tool_use", "stop"),
        ("a_new_word", "stop"),
    ],
)
def test_reasons_for_the_end_are_mapped_by_a_table(native: str, reason: str) -> None:
    choice = decoded(ask(), {"text": "Hi"}, stop=native)
    assert (choice["finish_reason"], choice["native_finish_reason"]) == (reason, native)
    choices, _ = streamed(ask(), converse_stream({"text": "Hi"}, stop=native))
    assert (choices[-1]["finish_reason"], choices[-1]["native_finish_reason"]) == (reason, native)


@pytest.mark.shows("bedrock", "usage")
@pytest.mark.shows("bedrock", "prompt caching")
def test_cached_tokens_count_into_the_prompt() -> None:
    counts = {"inputTokens": 5, "outputTokens": 2, "cacheReadInputTokens": 100, "cacheWriteInputTokens": 30}
    expected = Usage(prompt=135, completion=2, cached=100, cache_write=30)
    answer, usage = DIALECT.decode(ask(), orjson.dumps(converse({"text": "a"}, usage=counts)))
    _, decoder = streamed(ask(), converse_stream({"text": "a"}, usage=counts))
    assert usage == decoder.usage == expected
    assert answer["usage"]["prompt_tokens_details"] == {"cached_tokens": 100, "cache_write_tokens": 30}


@pytest.mark.shows("bedrock", "usage")
@pytest.mark.parametrize(
    ("details", "hour"),
    [
        ([{"ttl": "1h", "inputTokens": 20}, {"ttl": "5m", "inputTokens": 10}], 20),
        ([{"ttl": "1h", "inputTokens": 99}], 30),
        ([{"ttl": "1h"}, None, {"ttl": "5m", "inputTokens": 30}], 0),
        ("1h", 0),
    ],
)
def test_what_is_written_to_the_cache_for_an_hour_is_told_apart(details: object, hour: int) -> None:
    counts = {"inputTokens": 5, "outputTokens": 2, "cacheWriteInputTokens": 30, "cacheDetails": details}
    _, usage = DIALECT.decode(ask(), orjson.dumps(converse({"text": "a"}, usage=counts)))
    _, decoder = streamed(ask(), converse_stream({"text": "a"}, usage=counts))
    assert usage == decoder.usage == Usage(prompt=35, completion=2, cache_write=30, cache_write_1h=hour)


@pytest.mark.shows("bedrock", "streaming")
def test_the_first_chunk_comes_with_the_first_event_and_names_the_role() -> None:
    decoder = DIALECT.decoder(ask())
    (chunk,) = decoder.feed(converse_stream({"text": "a"})[0])
    assert chunk["choices"][0]["delta"] == {"role": "assistant", "content": ""}


def test_a_stream_that_is_cut_short_is_neither_done_nor_an_error() -> None:
    pieces = converse_stream({"text": "Hello"})
    for count in range(len(pieces) - 2):
        _, decoder = streamed(ask(), [*pieces[:count], pieces[count][:20]])
        assert (decoder.done, decoder.error) == (False, None)
    _, decoder = streamed(ask(), pieces[:-1])
    assert (decoder.done, decoder.usage) == (True, None)


@pytest.mark.shows("bedrock", "errors")
@pytest.mark.parametrize(
    ("name", "message", "code"),
    [
        ("throttlingException", "Too many requests", "upstream_429"),
        ("modelStreamErrorException", "The model stopped.", "upstream_5xx"),
        ("internalServerException", "Oops", "upstream_5xx"),
        ("serviceUnavailableException", "Busy", "upstream_overloaded"),
        ("validationException", "Input is too long for requested model.", "context_length_exceeded"),
        ("validationException", "Malformed input request", "upstream_4xx"),
        ("unheardOfException", "?", "upstream_bad_answer"),
    ],
)
def test_an_exception_in_a_stream_ends_it_with_what_it_means(name: str, message: str, code: str) -> None:
    thrown = event(name, {"message": message}, exception=True)
    choices, decoder = streamed(ask(), [*converse_stream({"text": "Hello"})[:2], thrown])
    assert joined(choices, "content") == "He"
    assert not decoder.done
    assert decoder.error is not None
    assert decoder.error.code == code
    assert message.rstrip("?") in decoder.error.message


def test_an_error_message_without_an_exception_is_read_from_its_headers() -> None:
    headers = {":message-type": "error", ":error-code": "InternalServerException", ":error-message": "Broken inside"}
    _, decoder = streamed(ask(), [frame(headers, b"")])
    assert decoder.error is not None
    assert (decoder.error.code, "Broken inside" in decoder.error.message) == ("upstream_5xx", True)


@pytest.mark.shows("bedrock", "errors")
@pytest.mark.parametrize(
    ("status", "body", "code", "shown"),
    [
        (400, {"message": "Input is too long for requested model."}, "context_length_exceeded", 400),
        (400, {"message": "prompt is too long: 200049 tokens > 200000 maximum"}, "context_length_exceeded", 400),
        (400, {"message": "This request has been blocked by our content filters."}, "content_policy_violation", 400),
        (400, {"message": "Malformed input request"}, "upstream_4xx", 400),
        (400, {"message": "Your request exceeds the service quota for your account."}, "upstream_quota", 429),
        (403, {"message": "The security token included in the request is expired"}, "upstream_auth", 502),
        (404, {"message": "Could not resolve the foundation model"}, "upstream_4xx", 404),
        (408, {"message": "Model has timed out"}, "upstream_408", 408),
        (424, {"message": "The model failed", "originalStatusCode": 500}, "upstream_5xx", 502),
        (429, {"message": "Too many tokens, please wait before trying again."}, "upstream_429", 429),
        (429, {"message": "Too many tokens per day, please wait before trying again."}, "upstream_quota", 429),
        (400, {"__type": "com.amazon.coral.service#ThrottlingException", "Message": "slow"}, "upstream_429", 429),
        (500, {"message": "Internal"}, "upstream_5xx", 502),
        (503, {}, "upstream_overloaded", 503),
    ],
)
def test_errors_are_told_apart(status: int, body: dict[str, Any], code: str, shown: int) -> None:
    error = DIALECT.read_error("aws", status, orjson.dumps(body), retry_after_s=3)
    assert (error.code, error.status) == (code, shown)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"output": 5}', b'{"output": {"message": {"content": {}}}}'])
def test_what_is_no_answer_is_a_bad_answer(body: bytes) -> None:
    with pytest.raises(GatewayError) as raised:
        DIALECT.decode(ask(), body)
    assert raised.value.code == "upstream_bad_answer"


def test_without_botocore_a_stream_is_refused_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "botocore.eventstream", None)
    with pytest.raises(GatewayError, match=r"kubechat-gateway\[bedrock\]") as raised:
        DIALECT.encode(ask(stream=True))
    assert raised.value.code == "no_target_available"
    assert DIALECT.encode(ask()).path.endswith("/converse")
    assert DIALECT.decoder(ask()).error is not None
