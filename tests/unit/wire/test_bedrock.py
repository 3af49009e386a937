"""Chat requests for Bedrock's Converse: what is said, in which turns, with which settings."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from gateway.errors import GatewayError
from gateway.wire.bedrock import DIALECT
from tests.unit.wire.bedrock_asking import CLAUDE, LLAMA, NOVA, PROFILE, QWEN, WEATHER, ask, encoded, sent

PNG = "data:image/png;base64,iVBORw0KGgo="
PDF = {"type": "file", "file": {"filename": "My plan, v2!.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}}


def call(call_id: str = "call_1", arguments: str = '{"city":"Paris"}') -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": "get_weather", "arguments": arguments}}


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("us.amazon.nova-micro-v1:0", "/model/us.amazon.nova-micro-v1%3A0/converse"),
        (
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.amazon.nova-lite-v1:0",
            "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile%2Fus.amazon.nova-lite-v1%3A0"
            "/converse",
        ),
        ("a b/../c?d#e", "/model/a%20b%2F..%2Fc%3Fd%23e/converse"),
    ],
)
def test_the_models_id_is_one_segment_of_the_path(model: str, path: str) -> None:
    assert encoded(ask(model)).path == path
    assert encoded(ask(model, stream=True)).path == path + "-stream"


@pytest.mark.shows("bedrock", "chat")
def test_system_and_developer_messages_stand_apart_and_turns_alternate() -> None:
    body = sent(
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "One"},
            {"role": "user", "content": [{"type": "text", "text": "Two"}, {"type": "text", "text": "  "}]},
            {"role": "developer", "content": [{"type": "text", "text": "In English."}]},
            {"role": "assistant", "content": "Three", "refusal": "No."},
            {"role": "user", "content": ""},
        ]
    )
    assert body == {
        "system": [{"text": "Be brief."}, {"text": "In English."}],
        "messages": [
            {"role": "user", "content": [{"text": "One"}, {"text": "Two"}]},
            {"role": "assistant", "content": [{"text": "Three"}, {"text": "No."}]},
        ],
    }


@pytest.mark.parametrize(
    ("model", "messages", "roles"),
    [
        (NOVA, [{"role": "system", "content": "Greet."}], ["user"]),
        (
            NOVA,
            [{"role": "assistant", "content": "Hi"}, {"role": "user", "content": "Hi"}],
            ["user", "assistant", "user"],
        ),
        (CLAUDE, [{"role": "assistant", "content": "Hi"}, {"role": "user", "content": "Hi"}], ["assistant", "user"]),
    ],
)
def test_a_conversation_begins_with_the_user_where_the_model_wants_it(
    model: str, messages: list[Any], roles: list[str]
) -> None:
    assert [turn["role"] for turn in sent(model, messages=messages)["messages"]] == roles


def test_settings_are_named_as_converse_names_them() -> None:
    body = sent(max_completion_tokens=9, temperature=0, top_p=0.5, stop=["a", ""], n=3, stream_options={})
    assert body["inferenceConfig"] == {"maxTokens": 9, "temperature": 0, "topP": 0.5, "stopSequences": ["a"]}
    assert sent(stop="b")["inferenceConfig"] == {"stopSequences": ["b"]}


@pytest.mark.parametrize(
    ("model", "extra"),
    [
        (CLAUDE, {"top_k": 5}),
        (NOVA, {"inferenceConfig": {"topK": 5}}),
        ("cohere.command-r-v1:0", {"k": 5}),
        (PROFILE, {"top_k": 5}),
    ],
)
def test_top_k_goes_where_the_models_family_has_it(model: str, extra: dict[str, Any]) -> None:
    assert sent(model, top_k=5)["additionalModelRequestFields"] == extra


def test_top_k_is_refused_by_name_for_a_family_without_it() -> None:
    with pytest.raises(GatewayError) as raised:
        DIALECT.encode(ask(LLAMA, top_k=5))
    assert (raised.value.code, raised.value.param) == ("unsupported_parameter", "top_k")


def test_hints_are_sent_where_they_fit_and_named_where_they_do_not() -> None:
    native = {"guardrailConfig": {"guardrailIdentifier": "g", "guardrailVersion": "1"}}
    latency = {"performanceConfig": {"latency": "optimized"}}
    full = encoded(ask(metadata={"team": "red"}, service_tier="priority", user="u", **native, **latency))
    assert full.dropped == ["user"]
    body = sent(metadata={"team": "red"}, service_tier="priority", **native, **latency)
    assert body["requestMetadata"] == {"team": "red"}
    assert body["serviceTier"] == {"type": "priority"}
    assert (body["guardrailConfig"], body["performanceConfig"]) == (
        native["guardrailConfig"],
        latency["performanceConfig"],
    )
    assert encoded(ask(metadata={"team": "<red>"}, service_tier="scale")).dropped == ["metadata", "service_tier"]
    assert encoded(ask(metadata={}, service_tier="auto")).dropped == []


def test_what_bedrock_lacks_is_refused_by_name_and_dropped_where_the_config_says_so() -> None:
    for field, value in (("seed", 7), ("logit_bias", {"1": 2}), ("frequency_penalty", 0.5), ("logprobs", True)):
        asked = ask(**{field: value})
        asked.policy = {field: "refuse"}
        with pytest.raises(GatewayError) as raised:
            DIALECT.encode(asked)
        assert (raised.value.code, raised.value.param) == ("unsupported_parameter", field)
        asked.policy = {field: "drop"}
        assert encoded(asked).dropped == [field]


def test_the_models_own_fields_cannot_be_smuggled_past_the_limit_of_tokens() -> None:
    with pytest.raises(GatewayError, match="additionalModelRequestFields"):
        DIALECT.encode(ask(additionalModelRequestFields={"max_tokens": 100_000}))


@pytest.mark.shows("bedrock", "images")
def test_images_are_sent_as_bytes() -> None:
    parts = [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}}]
    ((_, content),) = [turn.values() for turn in sent(messages=[{"role": "user", "content": parts}])["messages"]]
    assert content == [
        {"text": "What?"},
        {"image": {"format": "png", "source": {"bytes": "iVBORw0KGgo="}}},
    ]


@pytest.mark.parametrize(
    "url",
    ["https://example.org/a.png", "s3://bucket/key", "data:image/tiff;base64,AA==", "data:image/png", "", None, 5],
)
def test_an_image_that_bedrock_cannot_take_is_named(url: object) -> None:
    message = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}
    with pytest.raises(GatewayError) as raised:
        DIALECT.encode(ask(messages=[message]))
    assert (raised.value.code, raised.value.param) == ("invalid_field", "messages[0].content[0].image_url.url")


@pytest.mark.shows("bedrock", "files")
def test_documents_get_names_that_are_allowed_and_differ_and_never_stand_alone() -> None:
    text = {"type": "file", "file": {"filename": "notes.MD", "file_data": "data:,a%20b"}}
    bare = {"type": "file", "file": {"filename": "a/../table.csv", "file_data": "YSxi"}}
    (turn,) = sent(messages=[{"role": "user", "content": [PDF, PDF, text, bare]}])["messages"]
    assert turn["content"] == [
        {"text": "See the attached document."},
        {"document": {"name": "My plan v2", "format": "pdf", "source": {"bytes": "JVBERi0="}}},
        {"document": {"name": "My plan v2 (2)", "format": "pdf", "source": {"bytes": "JVBERi0="}}},
        {"document": {"name": "notes", "format": "md", "source": {"bytes": base64.b64encode(b"a b").decode()}}},
        {"document": {"name": "table", "format": "csv", "source": {"bytes": "YSxi"}}},
    ]


def test_an_image_in_a_file_part_is_an_image_and_a_file_by_id_is_refused() -> None:
    image = {"type": "file", "file": {"filename": "a.png", "file_data": PNG}}
    (turn,) = sent(messages=[{"role": "user", "content": [image]}])["messages"]
    assert list(turn["content"][0]) == ["image"]
    with pytest.raises(GatewayError, match="keeps no uploaded files"):
        DIALECT.encode(ask(messages=[{"role": "user", "content": [{"type": "file", "file": {"file_id": "f-1"}}]}]))


@pytest.mark.shows("bedrock", "audio")
def test_sound_is_sent_as_bytes() -> None:
    part = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}
    (turn,) = sent(NOVA, messages=[{"role": "user", "content": [part]}])["messages"]
    assert turn["content"] == [{"audio": {"format": "wav", "source": {"bytes": "UklGRg=="}}}]


@pytest.mark.shows("bedrock", "parallel tools")
def test_calls_and_their_results_are_paired_by_id_in_one_turn_each() -> None:
    image = {"type": "image_url", "image_url": {"url": PNG}}
    body = sent(
        tools=[WEATHER],
        messages=[
            {"role": "user", "content": "Weather?"},
            {"role": "assistant", "content": None, "tool_calls": [call("call_1"), call("x" * 90, "broken{")]},
            {"role": "tool", "tool_call_id": "call_1", "content": "Sunny"},
            {"role": "tool", "tool_call_id": "x" * 90, "content": [image], "is_error": True},
            {"role": "user", "content": "And?"},
        ],
    )
    calls, results = body["messages"][1]["content"], body["messages"][2]["content"]
    long_id = calls[1]["toolUse"]["toolUseId"]
    assert len(long_id) <= 64
    assert [block["toolUse"]["input"] for block in calls] == [{"city": "Paris"}, {"arguments": "broken{"}]
    assert results == [
        {"toolResult": {"toolUseId": "call_1", "content": [{"text": "Sunny"}]}},
        {
            "toolResult": {
                "toolUseId": long_id,
                "content": [{"image": {"format": "png", "source": {"bytes": "iVBORw0KGgo="}}}],
                "status": "error",
            }
        },
        {"text": "And?"},
    ]


def test_the_deprecated_form_of_calls_becomes_tools() -> None:
    body = sent(
        functions=[WEATHER["function"]],
        function_call={"name": "get_weather"},
        messages=[
            {"role": "user", "content": "Weather?"},
            {"role": "assistant", "content": None, "function_call": {"name": "get_weather", "arguments": "{}"}},
            {"role": "function", "name": "get_weather", "content": ""},
        ],
    )
    use, result = body["messages"][1]["content"][0]["toolUse"], body["messages"][2]["content"][0]["toolResult"]
    assert use["toolUseId"] == result["toolUseId"]
    assert result["content"] == [{"text": "(no output)"}]
    assert body["toolConfig"]["toolChoice"] == {"tool": {"name": "get_weather"}}


@pytest.mark.parametrize(
    ("model", "part", "roles"),
    [
        (LLAMA, {"type": "text", "text": "And?"}, ["user", "assistant", "user", "assistant", "user"]),
        (CLAUDE, {"type": "text", "text": "And?"}, ["user", "assistant", "user"]),
        (CLAUDE, PDF, ["user", "assistant", "user", "assistant", "user"]),
        (NOVA, PDF, ["user", "assistant", "user"]),
    ],
)
def test_results_stand_alone_where_the_model_wants_it(model: str, part: dict[str, Any], roles: list[str]) -> None:
    body = sent(
        model,
        messages=[
            {"role": "user", "content": "Weather?"},
            {"role": "assistant", "tool_calls": [call()]},
            {"role": "tool", "tool_call_id": "call_1", "content": "Sunny"},
            {"role": "user", "content": [part]},
        ],
    )
    assert [turn["role"] for turn in body["messages"]] == roles


@pytest.mark.shows("bedrock", "prompt caching")
def test_cache_marks_become_cache_points_where_the_model_takes_them() -> None:
    mark = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": [{"type": "text", "text": "Rules", **mark}]},
        {"role": "user", "content": [{"type": "text", "text": "Read"}, {**PDF, **mark}]},
        {"role": "assistant", "content": "Done", **mark},
        {"role": "user", "content": "Go"},
    ]
    point = {"cachePoint": {"type": "default", "ttl": "1h"}}
    body = sent(messages=messages, tools=[{**WEATHER, **mark}])
    assert body["system"][1:] == [point]
    assert [next(iter(block)) for block in body["messages"][0]["content"]] == ["text", "cachePoint", "document"]
    assert body["messages"][1]["content"][1:] == [point]
    assert body["toolConfig"]["tools"][1:] == [point]
    nova = sent(NOVA, messages=messages, tools=[{**WEATHER, **mark}])
    assert nova["system"][1:] == [{"cachePoint": {"type": "default"}}]
    assert len(nova["toolConfig"]["tools"]) == 1
    assert "cachePoint" not in str(sent(QWEN, messages=messages, tools=[{**WEATHER, **mark}]))
