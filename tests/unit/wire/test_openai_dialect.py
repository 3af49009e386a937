"""OpenAI's format as a dialect: what is sent for a canonical request, and what comes back from those who vary it."""

from __future__ import annotations

import base64
import struct
from typing import Any

import orjson
import pytest

from gateway.errors import GatewayError
from gateway.wire.dialect import Ask
from gateway.wire.openai import Variations
from gateway.wire.openai_dialect import OpenAIDialect

DIALECT = OpenAIDialect()
PNG = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


def ask(document: dict[str, Any], operation: str = "chat", **more: Any) -> Ask:
    return Ask(operation, document, more.pop("model", "gpt-4.1"), "shown", "chatcmpl-abc", 7, **more)


def chat(*messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"model": "shown", "messages": list(messages) or [{"role": "user", "content": "Hi"}], **fields}


def sent(document: dict[str, Any], dialect: OpenAIDialect = DIALECT, **more: Any) -> dict[str, Any]:
    body: dict[str, Any] = orjson.loads(dialect.encode(ask(document, **more)).body)
    return body


def read(choice: dict[str, Any], **fields: Any) -> dict[str, Any]:
    answer, _ = DIALECT.decode(ask(chat()), orjson.dumps({"id": "x", "choices": [choice], **fields}))
    return answer


# --- requests -----------------------------------------------------------------------------------


def test_the_model_is_the_providers_and_a_stream_asks_for_its_usage() -> None:
    body = sent(chat(stream_options={"include_obfuscation": False}), stream=True)
    assert body["model"] == "gpt-4.1"
    assert body["stream_options"] == {"include_obfuscation": False, "include_usage": True}
    assert "stream" not in sent(chat(stream=True, stream_options={"include_usage": True}))


def test_usage_is_not_asked_of_one_who_refuses_to_be_asked() -> None:
    dialect = OpenAIDialect(variations=Variations(stream_usage=False))
    assert "stream_options" not in sent(chat(stream_options={"include_usage": True}), dialect, stream=True)


def test_a_message_that_need_not_change_goes_out_as_the_same_object() -> None:
    document = chat({"role": "user", "content": [{"type": "text", "text": "a"}, PNG]})
    assert sent(document)["messages"] == document["messages"]


def test_what_only_the_canonical_form_has_is_left_out_of_messages_parts_and_tools() -> None:
    mark = {"type": "ephemeral"}
    tool = {"type": "function", "function": {"name": "f"}}
    thought = {"type": "reasoning.text", "text": "hm", "signature": "s", "format": "anthropic-claude-v1"}
    document = chat(
        {"role": "system", "content": [{"type": "text", "text": "a", "cache_control": mark}]},
        {"role": "assistant", "content": "b", "reasoning_content": "hm", "reasoning_details": [thought]},
        {"role": "assistant", "content": "c", "refusal": None, "annotations": [], "native_finish_reason": "end"},
        {"role": "user", "content": "d", "cache_control": mark},
        tools=[{**tool, "cache_control": mark}],
    )
    body = sent(document)
    assert body["messages"] == [
        {"role": "system", "content": [{"type": "text", "text": "a"}]},
        {"role": "assistant", "content": "b"},
        {"role": "assistant", "content": "c"},
        {"role": "user", "content": "d"},
    ]
    assert body["tools"] == [tool]


def test_extensions_that_the_upstream_understands_are_kept() -> None:
    dialect = OpenAIDialect(keeps=frozenset({"reasoning_content", "thinking", "top_k"}))
    message = {"role": "assistant", "content": "b", "reasoning_content": "hm"}
    body = sent(chat(message, thinking={"type": "disabled"}, top_k=3), dialect)
    assert body["messages"] == [message]
    assert body["thinking"] == {"type": "disabled"}
    assert body["top_k"] == 3


def test_thinking_and_top_k_are_dropped_and_named() -> None:
    document = chat(thinking={"type": "enabled", "budget_tokens": 9000}, top_k=3)
    assert list(DIALECT.encode(ask(document)).dropped) == ["thinking", "top_k"]
    with pytest.raises(GatewayError) as caught:
        DIALECT.encode(ask(document, policy={"top_k": "refuse"}))
    assert (caught.value.code, caught.value.param) == ("unsupported_parameter", "top_k")


@pytest.mark.shows("openai", "reasoning")
@pytest.mark.parametrize(("budget", "effort"), [(1024, "low"), (8192, "medium"), (30000, "high"), (None, "medium")])
def test_a_thinking_budget_becomes_the_effort_of_a_model_that_thinks(budget: int | None, effort: str) -> None:
    document = chat(thinking={"type": "enabled", "budget_tokens": budget}, max_tokens=50)
    encoded = DIALECT.encode(ask(document, model="openai/gpt-5-mini"))
    body = orjson.loads(encoded.body)
    assert body["reasoning_effort"] == effort
    assert body["max_completion_tokens"] == 50
    assert "max_tokens" not in body
    assert "thinking" not in body
    assert not encoded.dropped


def test_no_effort_is_asked_for_where_nothing_is_to_be_thought_or_the_client_named_one() -> None:
    assert "reasoning_effort" not in sent(chat(thinking={"type": "disabled"}), model="o3")
    body = sent(chat(thinking={"type": "enabled", "budget_tokens": 1}, reasoning_effort="high"), model="o3")
    assert body["reasoning_effort"] == "high"


def test_parameters_that_the_upstream_lacks_are_dropped_or_refused_as_they_matter() -> None:
    dialect = OpenAIDialect(variations=Variations(unsupported=frozenset({"user", "logprobs", "n"})), who="Acme")
    encoded = dialect.encode(ask(chat(user="u", logprobs=False, n=3)))
    assert list(encoded.dropped) == ["user"]
    assert orjson.loads(encoded.body).keys() == {"model", "messages"}
    with pytest.raises(GatewayError, match="logprobs' is not supported by Acme"):
        dialect.encode(ask(chat(logprobs=True)))


def test_parameters_are_renamed_and_nulls_and_empty_tools_left_out() -> None:
    dialect = OpenAIDialect(variations=Variations(renamed={"max_completion_tokens": "max_tokens"}))
    body = sent(chat(max_completion_tokens=5, temperature=None, tools=[], vendor_field=1), dialect)
    assert body.keys() == {"model", "messages", "max_tokens", "vendor_field"}


@pytest.mark.shows("openai", "images")
@pytest.mark.shows("openai", "tools")
def test_images_in_tool_results_follow_all_results_of_the_turn() -> None:
    document = chat(
        {"role": "tool", "tool_call_id": "1", "content": [{"type": "text", "text": "a"}, PNG], "is_error": True},
        {"role": "tool", "tool_call_id": "2", "content": [{**PNG, "cache_control": {"type": "ephemeral"}}]},
        {"role": "user", "content": "go on"},
        {"role": "tool", "tool_call_id": "3", "content": [PNG]},
    )
    messages = sent(document)["messages"]
    assert [message["role"] for message in messages] == ["tool", "tool", "user", "user", "tool", "user"]
    assert messages[0] == {"role": "tool", "tool_call_id": "1", "content": "a"}
    assert isinstance(messages[1]["content"], str)
    assert messages[2]["content"] == [PNG, PNG]
    assert messages[5]["content"] == [PNG]


@pytest.mark.shows("openai", "files")
def test_a_file_by_data_uri_is_sent_as_data_and_one_by_url_refused() -> None:
    pdf = "data:application/pdf;base64,AAAA"
    part = {"type": "file", "file": {"filename": "a.pdf", "file_url": pdf}}
    body = sent(chat({"role": "user", "content": [part]}))
    assert body["messages"][0]["content"] == [{"type": "file", "file": {"filename": "a.pdf", "file_data": pdf}}]
    with pytest.raises(GatewayError) as caught:
        sent(chat({"role": "user", "content": [{"type": "file", "file": {"file_url": "https://a.test/b.pdf"}}]}))
    assert (caught.value.code, caught.value.param) == ("unsupported_parameter", "messages[0].content[0]")


def test_developer_messages_are_system_ones_where_that_role_is_unknown() -> None:
    dialect = OpenAIDialect(developer_role=False)
    assert sent(chat({"role": "developer", "content": "a"}), dialect)["messages"][0]["role"] == "system"
    assert sent(chat({"role": "developer", "content": "a"}))["messages"][0]["role"] == "developer"


def test_the_older_functions_are_written_as_tools() -> None:
    function = {"name": "f", "parameters": {"type": "object"}}
    document = chat(
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "1"},
        functions=[function],
        function_call={"name": "f"},
    )
    body = sent(document)
    assert body["tools"] == [{"type": "function", "function": function}]
    assert body["tool_choice"] == {"type": "function", "function": {"name": "f"}}
    assert body["messages"][0]["tool_calls"][0]["id"] == body["messages"][1]["tool_call_id"]
    assert body["messages"][1]["role"] == "tool"
    assert body.keys().isdisjoint({"functions", "function_call"})


def test_what_json_cannot_hold_is_refused() -> None:
    deep: Any = []
    for _ in range(300):
        deep = [deep]
    for value in ("\ud800", 2**70, deep):
        with pytest.raises(GatewayError) as caught:
            sent(chat(metadata={"a": value}))
        assert caught.value.code == "invalid_field"


# --- answers ------------------------------------------------------------------------------------


def test_reasoning_is_found_under_either_name_and_within_the_content() -> None:
    for message in (
        {"content": "a", "reasoning": "hm"},
        {"content": "a", "reasoning_content": "hm"},
        {
            "content": [
                {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                {"type": "text", "text": "a"},
            ]
        },
    ):
        found = read({"index": 0, "message": message, "finish_reason": "stop"})["choices"][0]["message"]
        assert found == {"role": "assistant", "content": "a", "reasoning_content": "hm"}


@pytest.mark.parametrize(
    ("word", "reason"),
    [("stop", "stop"), ("length", "length"), ("model_length", "length"), ("eos", "stop"), (None, "stop"), (3, "stop")],
)
def test_words_for_the_end_are_told_in_openais(word: object, reason: str) -> None:
    choice = read({"index": 0, "message": {"content": "a"}, "finish_reason": word})["choices"][0]
    assert choice["finish_reason"] == reason
    assert choice.get("native_finish_reason", word if isinstance(word, str) else reason) == (
        word if isinstance(word, str) else reason
    )


@pytest.mark.shows("openai", "tool choice")
def test_a_call_that_was_demanded_ends_as_a_call() -> None:
    message = {"content": None, "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f"}}]}
    choice = read({"index": 0, "message": message, "finish_reason": "stop"})["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["native_finish_reason"] == "stop"


@pytest.mark.shows("openai", "citations")
def test_sources_beside_the_choices_become_annotations() -> None:
    results = [{"url": "https://a.test", "title": "A"}, {"url": 3}]
    choice = {"index": 0, "message": {"content": "a"}, "finish_reason": "stop"}
    wanted = [{"type": "url_citation", "url_citation": {"url": "https://a.test", "title": "A"}}]
    assert read(choice, search_results=results)["choices"][0]["message"]["annotations"] == wanted
    bare = read(choice, citations=["https://a.test"])["choices"][0]["message"]["annotations"]
    assert bare == [{"type": "url_citation", "url_citation": {"url": "https://a.test"}}]


@pytest.mark.shows("openai", "n")
@pytest.mark.shows("openai", "logprobs")
def test_several_choices_with_log_probabilities_and_refusals_are_kept() -> None:
    logprobs = {"content": [{"token": "a", "logprob": -1, "bytes": [97], "top_logprobs": []}], "refusal": None}
    body = orjson.dumps(
        {
            "id": "x",
            "service_tier": "default",
            "choices": [
                {"index": 0, "message": {"content": "a"}, "logprobs": logprobs, "finish_reason": "stop"},
                {"index": 1, "message": {"content": None, "refusal": "no"}, "finish_reason": "stop"},
            ],
        }
    )
    answer, usage = DIALECT.decode(ask(chat(n=2)), body)
    assert usage is None
    assert answer["service_tier"] == "default"
    assert answer["choices"][0]["logprobs"] == logprobs
    assert answer["choices"][1]["message"] == {"role": "assistant", "content": None, "refusal": "no"}


@pytest.mark.shows("openai", "audio")
def test_audio_is_kept_and_an_empty_audio_object_is_not() -> None:
    audio = {"id": "a", "data": "AAAA", "transcript": "hi", "expires_at": 3}
    message = read({"index": 0, "message": {"content": None, "audio": audio}, "finish_reason": "stop"})
    assert message["choices"][0]["message"]["audio"] == audio
    empty = {"id": "", "data": "", "transcript": "", "expires_at": 0}
    message = read({"index": 0, "message": {"content": "a", "audio": empty}, "finish_reason": "stop"})
    assert "audio" not in message["choices"][0]["message"]


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"nope", b"{}", b'{"choices":[]}', b'{"choices":{}}', b'{"choices":[[]]}', b"[" * 400 + b"]" * 400],
)
def test_what_is_no_answer_is_said_to_be_a_bad_one(body: bytes) -> None:
    with pytest.raises(GatewayError) as caught:
        DIALECT.decode(ask(chat()), body)
    assert caught.value.code == "upstream_bad_answer"


def test_an_error_within_a_good_answer_is_an_error() -> None:
    for operation in ("chat", "embeddings"):
        with pytest.raises(GatewayError) as caught:
            DIALECT.decode(ask(chat(input="a"), operation), b'{"error":{"message":"slow down","code":429}}')
        assert caught.value.code == "upstream_429"


# --- embeddings ---------------------------------------------------------------------------------


@pytest.mark.shows("openai", "embeddings")
def test_embeddings_come_in_the_form_that_was_asked_for() -> None:
    document = {"model": "shown", "input": "a", "encoding_format": "base64", "dimensions": 2}
    encoded = DIALECT.encode(ask(document, "embeddings"))
    assert encoded.path == "/embeddings"
    assert orjson.loads(encoded.body) == {**document, "model": "gpt-4.1"}
    body = b'{"data":[{"embedding":[0.5,-1],"index":0}],"usage":{"prompt_tokens":3,"total_tokens":3}}'
    answer, usage = DIALECT.decode(ask(document, "embeddings"), body)
    assert struct.unpack("<2f", base64.b64decode(answer["data"][0]["embedding"])) == (0.5, -1.0)
    assert usage is not None
    assert usage.prompt == 3
    answer, _ = DIALECT.decode(ask({"input": "a"}, "embeddings"), body)
    assert answer["data"][0]["embedding"] == [0.5, -1]


@pytest.mark.parametrize("vector", [None, {}, ["a"], [[1]], [True], [1e300], []])
def test_what_is_no_embedding_is_said_to_be_a_bad_answer(vector: object) -> None:
    document = {"input": "a", "encoding_format": "base64"}
    with pytest.raises(GatewayError) as caught:
        DIALECT.decode(ask(document, "embeddings"), orjson.dumps({"data": [{"embedding": vector}]}))
    assert caught.value.code == "upstream_bad_answer"


# --- models -------------------------------------------------------------------------------------


@pytest.mark.shows("openai", "models")
@pytest.mark.parametrize("body", [b'{"data":[{"id":"a"},{"id":3},4]}', b'[{"id":"a"}]'])
def test_models_are_read_from_openais_list_and_from_a_bare_one(body: bytes) -> None:
    assert DIALECT.read_models(body) == ["a"]


@pytest.mark.parametrize("body", [b"", b"[", b"{}", b'{"data":{}}', b'[]}{"data":[]'])
def test_what_is_no_list_of_models_is_said_to_be_a_bad_answer(body: bytes) -> None:
    with pytest.raises(GatewayError):
        DIALECT.read_models(body)


def test_an_operation_that_it_lacks_is_refused() -> None:
    with pytest.raises(GatewayError):
        DIALECT.encode(ask({}, "rerank"))
