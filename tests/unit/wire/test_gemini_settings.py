"""Sampling, thinking and output of a canonical request as Gemini's `generationConfig`."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.wire.dialect import Ask
from gateway.wire.gemini import DIALECT
from tests.unit.wire.test_gemini import body, encode, refused


def settings(model: str = "gemini-2.5-flash", **document: Any) -> dict[str, Any]:
    found: dict[str, Any] = body(model, **document).get("generationConfig", {})
    return found


@pytest.mark.shows("gemini", "reasoning")
@pytest.mark.parametrize(
    ("model", "effort", "config"),
    [
        ("gemini-2.5-flash", "none", {"thinkingBudget": 0}),
        ("gemini-2.5-pro", "none", {"thinkingBudget": 128}),
        ("gemini-2.5-flash", "medium", {"thinkingBudget": 8192, "includeThoughts": True}),
        ("gemini-3-flash-preview", "none", {"thinkingLevel": "minimal"}),
        ("gemini-3-flash-preview", "minimal", {"thinkingLevel": "minimal", "includeThoughts": True}),
        ("gemini-3-pro-preview", "minimal", {"thinkingLevel": "low", "includeThoughts": True}),
        ("gemini-3-pro-preview", "medium", {"thinkingLevel": "high", "includeThoughts": True}),
        ("gemini-3.1-pro-preview", "medium", {"thinkingLevel": "medium", "includeThoughts": True}),
        ("gemini-3.1-pro-preview", "xhigh", {"thinkingLevel": "high", "includeThoughts": True}),
    ],
)
def test_effort_is_a_level_or_a_budget(model: str, effort: str, config: dict[str, Any]) -> None:
    assert settings(model, reasoning_effort=effort) == {"thinkingConfig": config}


@pytest.mark.parametrize(
    ("model", "budget", "config"),
    [
        ("gemini-2.5-flash", 100_000, {"thinkingBudget": 24576}),
        ("gemini-2.5-pro", 1, {"thinkingBudget": 128}),
        ("gemini-2.5-flash-lite", 100, {"thinkingBudget": 512}),
        ("gemini-3-flash-preview", 1024, {"thinkingLevel": "low"}),
        ("gemini-3-flash-preview", 8000, {"thinkingLevel": "medium"}),
        ("gemini-3-pro-preview", 30000, {"thinkingLevel": "high"}),
    ],
)
def test_a_budget_stays_within_what_the_model_takes(model: str, budget: int, config: dict[str, Any]) -> None:
    given = {"type": "enabled", "budget_tokens": budget}
    assert settings(model, thinking=given, reasoning_effort="none") == {
        "thinkingConfig": {**config, "includeThoughts": True}
    }


def test_adaptive_thinking_only_shows_the_thoughts() -> None:
    assert settings(thinking={"type": "adaptive"}) == {"thinkingConfig": {"includeThoughts": True}}


def test_models_that_do_not_think_drop_the_effort() -> None:
    encoded = encode("gemini-2.0-flash", reasoning_effort="high")
    assert list(encoded.dropped) == ["reasoning_effort"]
    assert "generationConfig" not in orjson.loads(encoded.body)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"max_tokens": 5, "max_completion_tokens": 9}, {"maxOutputTokens": 9}),
        ({"max_tokens": 5}, {"maxOutputTokens": 5}),
        ({"stop": ["a", "b"]}, {"stopSequences": ["a", "b"]}),
        ({"stop": []}, {}),
        ({"seed": 2**40 + 3}, {"seed": 3}),
        ({"seed": -5}, {"seed": -5}),
        ({"n": 1}, {}),
        ({"logprobs": True}, {"responseLogprobs": True}),
        ({"logprobs": False, "top_logprobs": 0}, {}),
        ({"modalities": ["text"]}, {}),
        ({"modalities": ["image"]}, {"responseModalities": ["IMAGE"]}),
        ({"mediaResolution": "MEDIA_RESOLUTION_LOW"}, {"mediaResolution": "MEDIA_RESOLUTION_LOW"}),
        ({"temperature": None, "stop": None, "tools": None, "modalities": None}, {}),
    ],
)
def test_settings_have_googles_names(document: dict[str, Any], expected: dict[str, Any]) -> None:
    assert settings(**document) == expected


@pytest.mark.shows("gemini", "prompt caching")
def test_googles_own_fields_are_passed_on() -> None:
    sent = body(cached_content="cachedContents/x", safety_settings=[{"category": "c", "threshold": "t"}])
    assert sent["cachedContent"] == "cachedContents/x"
    assert sent["safetySettings"] == [{"category": "c", "threshold": "t"}]


@pytest.mark.parametrize(
    ("document", "param"),
    [
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"n": [1]}, "n"),
        ({"stop": [1]}, "stop"),
        ({"modalities": "text"}, "modalities"),
        ({"modalities": ["smell"]}, "modalities"),
        ({"modalities": ["audio"]}, "audio"),
        ({"modalities": ["audio"], "audio": {"voice": "Kore", "format": ["mp3"]}}, "audio.format"),
        ({"reasoning_effort": "huge"}, "reasoning_effort"),
        ({"reasoning_effort": ["low"]}, "reasoning_effort"),
        ({"thinking": {"type": "enabled", "budget_tokens": 0}}, "thinking.budget_tokens"),
        ({"thinking": "yes"}, "thinking.type"),
        ({"tools": {}}, "tools"),
        ({"tools": [{"type": "function", "function": {"name": 7}}]}, "tools[0].function.name"),
        ({"tool_choice": "always"}, "tool_choice"),
        ({"tool_choice": {"type": "function"}}, "tool_choice.function.name"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": "json"}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
    ],
)
def test_a_field_that_cannot_be_read_is_named(document: dict[str, Any], param: str) -> None:
    assert refused(**document) == ("invalid_field", param)


@pytest.mark.parametrize("field", ["logit_bias", "labels", "unheard_of"])
def test_a_field_that_gemini_lacks_is_refused_or_dropped_as_configured(field: str) -> None:
    assert refused(**{field: {"a": 1}}) == ("unsupported_parameter", field)
    assert list(encode(policy={field: "drop"}, **{field: {"a": 1}}).dropped) == [field]


def test_speech_that_is_streamed_has_no_file_around_it() -> None:
    document = {
        "messages": [{"role": "user", "content": "Hi"}],
        "modalities": ["audio"],
        "audio": {"voice": "Kore", "format": "pcm16"},
    }
    ask = Ask("chat", document, "gemini-2.5-flash-preview-tts", "m", "chatcmpl-abc", 0, stream=True)
    sent = orjson.loads(DIALECT.encode(ask).body)["generationConfig"]
    assert sent["responseModalities"] == ["AUDIO"]
    assert sent["speechConfig"]["voiceConfig"]["prebuiltVoiceConfig"] == {"voiceName": "Kore"}


def embed(**document: Any) -> dict[str, Any]:
    ask = Ask("embeddings", {"model": "m", **document}, "gemini-embedding-001", "m", "id", 0)
    sent: dict[str, Any] = orjson.loads(DIALECT.encode(ask).body)["requests"][0]
    return sent


@pytest.mark.parametrize(
    ("given", "task"), [("query", "RETRIEVAL_QUERY"), ("clustering", "CLUSTERING"), ("FACT_CHECK", "FACT_CHECK")]
)
def test_what_embeddings_are_for_has_googles_name(given: str, task: str) -> None:
    assert embed(input="x", input_type=given)["taskType"] == task


def test_embeddings_of_tokens_are_refused() -> None:
    for document in (
        {"input": [1, 2]},
        {"input": []},
        {"input": "x", "dimensions": 0},
        {"input": "x", "input_type": 7},
    ):
        with pytest.raises(Exception, match="must be") as caught:
            embed(**document)
        assert getattr(caught.value, "code", None) == "invalid_field"
