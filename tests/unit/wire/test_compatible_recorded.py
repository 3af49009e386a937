"""Every recorded chat, completion and embedding exchange with those who speak OpenAI's format, replayed.

Text, tool calls, finish reasons and usage of what the gateway passes on are those of the record. Skipped where the
recordings are not there.
"""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.errors import GatewayError
from gateway.wire import sse
from gateway.wire.openai_answer import StreamTap, read_answer, read_error
from gateway.wire.usage import Usage
from tests.wire_data import body_of, needs_recordings, place, recorded, splits

pytestmark = needs_recordings

# provider: whole answers, streams, errors
COUNTS = {
    "mistral": (37, 12, 0),
    "together": (8, 2, 0),
    "groq": (46, 8, 4),
    "deepseek": (4, 2, 0),
    "openrouter": (20, 8, 1),
    "cerebras": (12, 0, 0),
    "zai": (8, 1, 0),
    "snowflake": (8, 2, 0),
    "writer": (5, 5, 0),
}
PATHS = ("/chat/completions", "/completions", "/embeddings", "/v1/chat")
# What the whole answers and the streams of those who are provider types here show, besides text and usage.
WHOLE = {
    "mistral": ("tools", "embeddings", "prompt caching"),
    "together": ("tools",),
    "groq": ("tools", "reasoning", "prompt caching"),
    "deepseek": ("tools", "parallel tools", "reasoning", "prompt caching"),
    "openrouter": ("tools", "reasoning", "prompt caching"),
    "cerebras": ("tools", "reasoning"),
}
STREAMED = {
    "mistral": ("tools",),
    "together": (),
    "groq": ("tools", "reasoning"),
    "deepseek": ("reasoning",),
    "openrouter": ("reasoning",),
}
_RESPONSES = "the Responses API: test_responses_recorded.py"
_WRITER = "traceloop/openllmetry:packages/opentelemetry-instrumentation-writer/tests/cassettes/"
# Not chat, completions or embeddings, or not OpenAI's format.
SKIPPED_PATHS = {
    "/responses": _RESPONSES,
    "/api/v1/responses": _RESPONSES,
    "/v1/models": "a list of models",
}
_VALUES = "Writer's own completions: bare texts or values with no choice, id or usage about them"
SKIPPED: dict[str, str] = {
    f"{_WRITER}test_completions/test_writer_async_completions_legacy.yaml#0": _VALUES,
    f"{_WRITER}test_completions/test_writer_async_streaming_completions_legacy.yaml#0": _VALUES,
}


def skipped(row: dict[str, Any]) -> str | None:
    return SKIPPED_PATHS.get(row["path"]) or SKIPPED.get(place(row))


def rows(provider: str, *, stream: bool) -> list[dict[str, Any]]:
    return [
        row
        for row in recorded(provider)
        if row["status"] == 200 and isinstance(row["response"], str) == stream and not skipped(row)
    ]


def errors(provider: str) -> list[dict[str, Any]]:
    return [row for row in recorded(provider) if row["status"] >= 400 and not skipped(row)]


def counts_of(usage: Any) -> Usage | None:
    """What a recorded usage says, by the paths at which the providers say it."""
    if not usage:
        return None
    inside = usage.get("prompt_tokens_details") or {}
    outside = usage.get("completion_tokens_details") or {}
    return Usage(
        usage.get("prompt_tokens", 0),
        usage.get("completion_tokens") or 0,
        cached=inside.get("cached_tokens") or usage.get("prompt_cache_hit_tokens") or usage.get("cached_tokens") or 0,
        cache_write=inside.get("cache_write_tokens") or 0,
        reasoning=outside.get("reasoning_tokens") or usage.get("reasoning_tokens") or 0,
        audio_in=inside.get("audio_tokens") or 0,
        audio_out=outside.get("audio_tokens") or 0,
        image_out=outside.get("image_tokens") or 0,
    )


def said(choices: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Of each choice of a whole answer: text, reasoning, calls, finish reason."""
    found = []
    for choice in choices:
        message = choice.get("message") or {"content": choice.get("text")}
        calls = [
            (call.get("id"), call["function"]["name"], call["function"].get("arguments"))
            for call in message.get("tool_calls") or ()
        ]
        reasoning = message.get("reasoning") or message.get("reasoning_content")
        found.append((message.get("content"), reasoning, calls, choice.get("finish_reason")))
    return found


def events_of(stream: bytes) -> list[dict[str, Any]]:
    payloads = (sse.event_data(event) for event in sse.split_events(stream))
    return [orjson.loads(payload) for payload in payloads if payload and payload.strip() != b"[DONE]"]


def assembled(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a client puts together from the chunks of a stream, one for each choice."""
    found: dict[int, dict[str, Any]] = {}
    for choice in (choice for event in events for choice in event.get("choices", ())):
        kept = found.setdefault(choice["index"], {"text": "", "reasoning": "", "calls": {}, "end": None})
        delta = choice.get("delta") or {}
        content = delta.get("content")
        for part in content if isinstance(content, list) else [{"text": content or ""}]:
            kept["text"] += part.get("text", "")
        kept["reasoning"] += delta.get("reasoning") or delta.get("reasoning_content") or ""
        for place_, call in enumerate(delta.get("tool_calls") or ()):
            into = kept["calls"].setdefault(call.get("index") or place_, [None, None, ""])
            into[0] = call.get("id") or into[0]
            into[1] = (call.get("function") or {}).get("name") or into[1]
            into[2] += (call.get("function") or {}).get("arguments") or ""
        kept["end"] = choice.get("finish_reason") or kept["end"]
    return [found[index] for index in sorted(found)]


def usage_in(events: list[dict[str, Any]]) -> Usage | None:
    """The last usage that a recorded stream told, at its top or one level down (Groq's `x_groq`)."""
    found = None
    for event in events:
        holders = [event, *(value for value in event.values() if isinstance(value, dict))]
        told = next((holder["usage"] for holder in holders if isinstance(holder.get("usage"), dict)), None)
        found = counts_of(told) or found
    return found


def marked(shown: dict[str, tuple[str, ...]], *always: str, stream: bool) -> list[Any]:
    """The providers that have such recordings, each with the marks of the features that they show."""
    found = []
    for provider, counts in COUNTS.items():
        features = (*always, *shown[provider]) if provider in shown else ()
        if counts[stream]:
            found.append(pytest.param(provider, marks=[pytest.mark.shows(provider, name) for name in features]))
    return found


def features_in(provider: str) -> set[str]:
    """What the whole answers of a provider hold, judged by the records alone."""
    answers = [row["response"] for row in rows(provider, stream=False)]
    choices = [choice for answer in answers for choice in said(answer.get("choices", []))]
    usages = [counts_of(answer.get("usage")) or Usage() for answer in answers]
    evidence = {
        "tools": any(calls for _, _, calls, _ in choices),
        "parallel tools": any(len(calls) > 1 for _, _, calls, _ in choices),
        "reasoning": any(reasoning for _, reasoning, _, _ in choices),
        "embeddings": any(answer.get("data") for answer in answers),
        "prompt caching": any(usage.cached for usage in usages),
    }
    return {name for name, is_there in evidence.items() if is_there}


def streamed_features_in(provider: str) -> set[str]:
    """The same of its streams."""
    streams = [row["response"].encode() for row in rows(provider, stream=True)]
    choices = [choice for stream in streams for choice in assembled(events_of(stream))]
    evidence = {
        "tools": any(choice["calls"] for choice in choices),
        "reasoning": any(choice["reasoning"] for choice in choices),
    }
    return {name for name, is_there in evidence.items() if is_there}


def test_features_are_claimed_only_where_the_recordings_hold_them() -> None:
    for provider, features in WHOLE.items():
        assert features_in(provider) == set(features), provider
    for provider, features in STREAMED.items():
        assert streamed_features_in(provider) == set(features), provider


def test_every_recording_is_replayed_or_skipped_for_a_reason() -> None:
    for provider, counts in COUNTS.items():
        replayed = [*rows(provider, stream=False), *rows(provider, stream=True), *errors(provider)]
        assert all(row["path"].endswith(PATHS) for row in replayed)
        places = [place(row) for row in replayed]
        rest = {place(row) for row in recorded(provider) if skipped(row)}
        assert {*places, *rest} == {place(row) for row in recorded(provider)}
        found = len(rows(provider, stream=False)), len(rows(provider, stream=True)), len(errors(provider))
        assert found == counts, provider


@pytest.mark.parametrize("provider", marked(WHOLE, "chat", "usage", stream=False))
def test_whole_answers_say_what_they_said(provider: str) -> None:
    for row in rows(provider, stream=False):
        theirs = row["response"]
        passed, usage = read_answer(body_of(row), "alias")
        ours = orjson.loads(passed)
        assert ours.get("model", "alias") == "alias"
        assert said(ours.get("choices", [])) == said(theirs.get("choices", []))
        assert ours.get("data") == theirs.get("data")
        assert usage == counts_of(theirs.get("usage"))


@pytest.mark.parametrize("provider", marked(STREAMED, "streaming", "usage", stream=True))
def test_streams_say_what_they_said_however_they_are_split(provider: str) -> None:
    for number, row in enumerate(rows(provider, stream=True)):
        stream = row["response"].encode()
        events = events_of(stream)
        broken = [event for event in events if event.get("error")]
        whole = events[: events.index(broken[0])] if broken else events
        for pieces in splits(stream, seed=number):
            tap = StreamTap(rename_to="alias", withhold_usage=False)
            passed = b"".join(map(tap.feed, pieces))
            tap.finish()
            assert assembled(events_of(passed)) == assembled(whole)
            assert tap.usage == usage_in(whole + broken[:1])
            assert (tap.error is not None) == bool(broken)
            assert tap.done == (not broken and b"[DONE]" in stream)


@pytest.mark.parametrize(
    "provider",
    [pytest.param(provider, marks=pytest.mark.shows(provider, "errors")) for provider in COUNTS if COUNTS[provider][2]],
)
def test_errors_are_told_apart(provider: str) -> None:
    for row in errors(provider):
        error = read_error(provider, row["status"], body_of(row))
        assert error.code == ("upstream_429" if row["status"] == 429 else "upstream_4xx")
        assert row["response"]["error"]["message"] in error.message
        assert isinstance(error, GatewayError)
        assert error.status == row["status"]
