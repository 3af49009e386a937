"""Thinking in the words of each family of Bedrock's models, and thoughts that go back."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest

from gateway.wire.bedrock_models import family_of
from tests.unit.wire.bedrock_asking import (
    CLAUDE,
    LLAMA,
    NEW_CLAUDE,
    NOVA,
    OLD_CLAUDE,
    PROFILE,
    QWEN,
    WEATHER,
    ask,
    encoded,
    sent,
)


@pytest.mark.shows("bedrock", "reasoning")
@pytest.mark.parametrize(
    ("model", "fields", "extra", "effort"),
    [
        (CLAUDE, {"reasoning_effort": "low"}, {"thinking": {"type": "enabled", "budget_tokens": 2048}}, None),
        (
            CLAUDE,
            {"reasoning_effort": "high", "max_tokens": 4000},
            {"thinking": {"type": "enabled", "budget_tokens": 2000}},
            None,
        ),
        (
            CLAUDE,
            {"thinking": {"type": "enabled", "budget_tokens": 5000}},
            {"thinking": {"type": "enabled", "budget_tokens": 5000}},
            None,
        ),
        (CLAUDE, {"thinking": {"type": "disabled"}}, {"thinking": {"type": "disabled"}}, None),
        (CLAUDE, {"reasoning_effort": "none"}, {"thinking": {"type": "disabled"}}, None),
        ("us.anthropic.claude-opus-4-6-v1", {"reasoning_effort": "max"}, {"thinking": {"type": "adaptive"}}, "max"),
        (
            "us.anthropic.claude-opus-4-6-v1",
            {"thinking": {"type": "enabled", "budget_tokens": 5000}},
            {"thinking": {"type": "enabled", "budget_tokens": 5000}},
            None,
        ),
        (
            NEW_CLAUDE,
            {"thinking": {"type": "enabled", "budget_tokens": 5000}},
            {"thinking": {"type": "adaptive", "display": "summarized"}},
            "medium",
        ),
        (
            NEW_CLAUDE,
            {"thinking": {"type": "adaptive"}},
            {"thinking": {"type": "adaptive", "display": "summarized"}},
            None,
        ),
        (
            NOVA,
            {"reasoning_effort": "high"},
            {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "high"}},
            None,
        ),
        (
            NOVA,
            {"reasoning_effort": "high", "max_tokens": 99},
            {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "medium"}},
            None,
        ),
        ("openai.gpt-oss-120b-1:0", {"reasoning_effort": "minimal"}, {"reasoning_effort": "low"}, None),
        (QWEN, {"reasoning_effort": "medium"}, {"reasoning_config": "high"}, None),
    ],
)
def test_thinking_is_asked_for_in_each_familys_words(
    model: str, fields: dict[str, Any], extra: dict[str, Any], effort: str | None
) -> None:
    found = encoded(ask(model, **fields))
    body = orjson.loads(found.body)
    assert (body["additionalModelRequestFields"], body.get("outputConfig", {}).get("effort")) == (extra, effort)
    assert found.dropped == []


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        (LLAMA, {"reasoning_effort": "high"}),
        ("anthropic.claude-3-haiku-20240307-v1:0", {"reasoning_effort": "high"}),
        ("openai.gpt-oss-20b-1:0", {"reasoning_effort": "none"}),
        (CLAUDE, {"reasoning_effort": "high", "max_tokens": 1000}),
        (CLAUDE, {"reasoning_effort": "high", "tools": [WEATHER], "tool_choice": "required"}),
        (OLD_CLAUDE, {"reasoning_effort": "high", "response_format": {"type": "json_object"}}),
    ],
)
def test_thinking_that_cannot_be_had_is_left_out_and_named(model: str, fields: dict[str, Any]) -> None:
    found = encoded(ask(model, **fields))
    assert found.dropped == ["reasoning_effort"]
    assert "additionalModelRequestFields" not in orjson.loads(found.body)


@pytest.mark.shows("bedrock", "reasoning")
def test_only_the_models_own_sealed_thoughts_go_back_and_first() -> None:
    details = [
        {"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0, "text": "Let me "},
        {"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0, "text": "see."},
        {"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0, "signature": "c2ln"},
        {"type": "reasoning.encrypted", "format": "anthropic-claude-v1", "index": 1, "data": "EuQF"},
        {"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 2, "text": "unsealed"},
        {"type": "reasoning.encrypted", "format": "google-gemini-v1", "index": 3, "data": "AAAA"},
        {"type": "reasoning.summary", "format": "openai-responses-v1", "summary": "s"},
        "nonsense",
    ]
    messages = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello", "reasoning_content": "Let me see.", "reasoning_details": details},
        {"role": "user", "content": "Go on"},
    ]
    assert sent(CLAUDE, messages=messages)["messages"][1]["content"] == [
        {"reasoningContent": {"reasoningText": {"text": "Let me see.", "signature": "c2ln"}}},
        {"reasoningContent": {"redactedContent": base64.b64encode(b"EuQF").decode()}},
        {"text": "Hello"},
    ]
    assert sent(NOVA, messages=messages)["messages"][1]["content"] == [{"text": "Hello"}]


@pytest.mark.parametrize(
    ("model", "vendor", "claude"),
    [
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "anthropic", (4, 5)),
        ("anthropic.claude-3-7-sonnet-20250219-v1:0", "anthropic", (3, 7)),
        ("anthropic.claude-sonnet-4-20250514-v1:0", "anthropic", (4, 0)),
        ("global.anthropic.claude-opus-5", "anthropic", (5, 0)),
        ("anthropic.claude-v2", "anthropic", (0, 0)),
        (
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us-gov.anthropic.claude-opus-4-6-v1",
            "anthropic",
            (4, 6),
        ),
        ("arn:aws:bedrock:us-east-1:123456789012:custom-model/amazon.nova-lite/abc", "amazon", (0, 0)),
        ("zai.glm-4.7-flash", "zai", (0, 0)),
        (PROFILE, "", (0, 0)),
        ("unknown.model", "", (0, 0)),
        ("", "", (0, 0)),
    ],
)
def test_a_models_family_is_told_by_its_id(model: str, vendor: str, claude: tuple[int, int]) -> None:
    family = family_of(model)
    assert (family.vendor, family.claude) == (vendor, claude)
