"""Recorded traffic of OpenAI and of those who speak its format, read into the canonical form.

What an answer must come out as is read from the recording by plain JSON paths here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from gateway.errors import GatewayError
from gateway.wire.dialect import Ask, Dialect
from gateway.wire.openai_dialect import OpenAIDialect
from gateway.wire.usage import Usage
from tests.wire_data import body_of, needs_recordings, place, recorded, splits

pytestmark = needs_recordings

# How many chat and embedding exchanges each has: replayed, and skipped with a reason.
COUNTS = {
    "openai": (183, 3),
    "azure_openai": (30, 0),
    "huggingface": (14, 0),
    "ollama": (4, 0),
    "groq": (58, 0),
    "mistral": (49, 0),
    "deepseek": (6, 0),
    "together": (9, 0),
    "openrouter": (29, 0),
    "cerebras": (12, 0),
    "zai": (9, 0),
    "snowflake": (10, 0),
}
_BEEAI = (
    "Arize-ai/openinference:python/instrumentation/openinference-instrumentation-beeai/tests/openinference/"
    "instrumentation/beeai/cassettes/test_instrumentor/"
)
SKIPPED = {
    f"{_BEEAI}test_instrumentor.yaml#1": "the recorder kept nothing of the stream",
    f"{_BEEAI}test_agent.yaml#1": "the recorder kept nothing of the stream",
    f"{_BEEAI}test_llm_with_tools.yaml#1": "the recorder kept nothing of the stream",
}
# Words of their own for the end of an answer.
WORDS = {"function_call": "tool_calls", "eos": "stop"}
# How many streams end with an error event, by provider.
BROKEN_OFF = {"groq": 2, "openrouter": 1}


def exchanges(provider: str) -> list[dict[str, Any]]:
    """The chat and embedding exchanges in OpenAI's format."""
    return [
        row
        for row in recorded(provider)
        if row["path"].partition("?")[0].endswith(("/chat/completions", "/embeddings"))
        and not row["path"].startswith("/api/embeddings")
    ]


def ask_for(row: dict[str, Any]) -> Ask:
    operation = "embeddings" if row["path"].partition("?")[0].endswith("/embeddings") else "chat"
    request = row["request"] if isinstance(row["request"], dict) else {}
    return Ask(operation, request, "their-name", "shown", "chatcmpl-ours", 1, stream=bool(row["stream"]))


def text_in(content: Any) -> str:
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content)
    return content or ""


def calls_in(message: dict[str, Any]) -> list[tuple[str | None, str, str]]:
    if (message.get("function_call") or {}).get("name"):
        return [(None, message["function_call"]["name"], message["function_call"]["arguments"])]
    calls = message.get("tool_calls") or []
    return [
        (call["id"], call["custom"]["name"], call["custom"]["input"])
        if call.get("type") == "custom"
        else (call["id"], call["function"]["name"], call["function"].get("arguments") or "{}")
        for call in calls
    ]


def finish_for(word: str | None, calls: Any) -> str | None:
    """The recorded finish reason; `stop` behind calls that were demanded is told as what it is."""
    return "tool_calls" if word == "stop" and calls else word and WORDS.get(word, word)


def counts_in(usage: Mapping[str, Any] | None) -> tuple[int, int, int, int] | None:
    if not usage:
        return None
    prompt = usage.get("prompt_tokens_details") or {}
    completion = usage.get("completion_tokens_details") or {}
    cached = prompt.get("cached_tokens") or usage.get("prompt_cache_hit_tokens") or 0
    return (
        usage["prompt_tokens"],
        usage.get("completion_tokens") or 0,
        cached,
        completion.get("reasoning_tokens") or 0,
    )


def counts(usage: Usage | None) -> tuple[int, int, int, int] | None:
    return None if usage is None else (usage.prompt, usage.completion, usage.cached, usage.reasoning)


def same_calls(ours: list[Any], theirs: list[Any]) -> bool:
    """The same calls in the same order, with the recorded ids where there were any."""
    return [call[1:] for call in ours] == [call[1:] for call in theirs] and all(
        mine[0] == other[0] if other[0] else mine[0].startswith("call_ours")
        for mine, other in zip(ours, theirs, strict=True)
    )


def check_whole(dialect: Dialect, row: dict[str, Any]) -> None:
    answer, usage = dialect.decode(ask_for(row), body_of(row))
    theirs = row["response"]
    assert answer["model"] == "shown"
    assert answer["id"] == (theirs["id"] or "chatcmpl-ours")
    assert counts(usage) == counts_in(theirs.get("usage"))
    assert len(answer["choices"]) == len(theirs["choices"])
    for ours, choice in zip(answer["choices"], theirs["choices"], strict=True):
        message = choice.get("message") or {}
        assert (ours["message"]["content"] or "") == text_in(message.get("content"))
        assert same_calls(calls_in(ours["message"]), calls_in(message))
        assert ours["finish_reason"] == finish_for(choice["finish_reason"] or "stop", calls_in(message))
        assert ours["message"].get("refusal") == (message.get("refusal") or None)
        if not isinstance(message.get("content"), list):
            thought = message.get("reasoning_content") or message.get("reasoning") or None
            assert ours["message"].get("reasoning_content") == thought
        assert ours.get("logprobs") == choice.get("logprobs")


def check_embeddings(dialect: Dialect, row: dict[str, Any]) -> None:
    answer, usage = dialect.decode(ask_for(row), body_of(row))
    theirs = row["response"]
    assert [item["embedding"] for item in answer["data"]] == [item["embedding"] for item in theirs["data"]]
    assert [item["index"] for item in answer["data"]] == [item["index"] for item in theirs["data"]]
    assert usage is not None
    assert usage.prompt == theirs["usage"]["prompt_tokens"]
    assert answer["usage"]["prompt_tokens"] == theirs["usage"]["prompt_tokens"]
    assert answer["model"] == "shown"


def recorded_chunks(row: dict[str, Any]) -> list[dict[str, Any]]:
    lines = [line[5:].strip() for line in row["response"].splitlines() if line.startswith("data:")]
    return [orjson.loads(line) for line in lines if line != "[DONE]"]


def gathered(chunks: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """What a stream says, by choice: text, reasoning, calls and the last word."""
    said: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        for choice in chunk.get("choices") or []:
            delta = choice.get("delta") or {}
            so_far = said.setdefault(
                choice["index"], {"text": "", "reasoning": "", "refusal": "", "calls": {}, "finish": None, "roles": []}
            )
            so_far["text"] += text_in(delta.get("content"))
            so_far["reasoning"] += delta.get("reasoning_content") or delta.get("reasoning") or ""
            so_far["refusal"] += delta.get("refusal") or ""
            so_far["roles"] += [delta["role"]] if delta.get("role") else []
            so_far["finish"] = choice.get("finish_reason") or so_far["finish"]
            if delta.get("function_call"):
                add_piece(so_far["calls"], {"index": 0, "function": delta["function_call"]})
            for piece in delta.get("tool_calls") or []:
                add_piece(so_far["calls"], piece)
    return said


def add_piece(calls: dict[Any, list[Any]], piece: dict[str, Any]) -> None:
    call = calls.setdefault(piece.get("index", piece.get("id")), [None, "", ""])
    call[0] = call[0] or piece.get("id")
    call[1] = call[1] or piece["function"].get("name") or ""
    call[2] += piece["function"].get("arguments") or ""


def usage_within(chunks: list[dict[str, Any]]) -> tuple[int, int, int, int] | None:
    found = None
    for chunk in chunks:
        for holder in (chunk, chunk.get("x_groq") or {}):
            found = counts_in(holder.get("usage")) or found
    return found


def check_stream(dialect: Dialect, row: dict[str, Any]) -> bool:
    """Compares the stream in all its splits with the recording; did it end as it should?"""
    theirs = recorded_chunks(row)
    broken = any(chunk.get("error") for chunk in theirs)
    expected = gathered([chunk for chunk in theirs if not chunk.get("error")])
    first: list[Any] | None = None
    for pieces in splits(body_of(row)):
        decoder = dialect.decoder(ask_for(row))
        chunks = [chunk for piece in pieces for chunk in decoder.feed(piece)]
        chunks += decoder.finish()
        assert (decoder.error is not None) == broken
        assert decoder.done == (not broken)
        assert counts(decoder.usage) == usage_within(theirs)
        assert first is None or chunks == first
        first = chunks
    assert first is not None
    ours = gathered(first)
    assert ours.keys() == expected.keys()
    for index, said in expected.items():
        mine = ours[index]
        assert mine["roles"] == ["assistant"]
        assert mine["text"] == said["text"]
        assert mine["refusal"] == said["refusal"]
        assert mine["finish"] == finish_for(said["finish"], said["calls"])
        if said["reasoning"]:
            assert mine["reasoning"] == said["reasoning"]
        assert same_calls(list(mine["calls"].values()), list(said["calls"].values()))
    assert all(chunk["model"] == "shown" for chunk in first)
    own_id = next((chunk["id"] for chunk in theirs if chunk["id"]), "chatcmpl-ours")
    assert all(chunk["id"] == own_id for chunk in first)
    return not broken


def check_error(dialect: Dialect, row: dict[str, Any]) -> None:
    error = dialect.read_error("p", row["status"], body_of(row))
    detail = row["response"]["error"] if isinstance(row["response"], dict) else {}
    detail = detail if isinstance(detail, dict) else {"message": detail}
    if row["status"] in (401, 403):
        assert error.code == "upstream_auth"
    elif row["status"] == 429:
        assert error.code in ("upstream_429", "upstream_quota")
    elif detail.get("code") in ("content_filter", "context_length_exceeded"):
        assert error.code == {"content_filter": "content_policy_violation"}.get(detail["code"], detail["code"])
    elif "context length" in (detail.get("message") or ""):
        assert error.code == "context_length_exceeded"
    elif row["status"] < 500:
        assert error.code == "upstream_4xx"
        assert error.status == row["status"]
        assert error.message == detail["message"]
    else:
        assert error.code in ("upstream_5xx", "upstream_overloaded")


def replay(dialect: Dialect, row: dict[str, Any]) -> str:
    """Compares one exchange with the recording; what kind it was."""
    if row["status"] >= 400:
        check_error(dialect, row)
        return "error"
    if ask_for(row).operation == "embeddings":
        check_embeddings(dialect, row)
        return "embeddings"
    if isinstance(row["response"], str):
        return "stream" if check_stream(dialect, row) else "broken off"
    if "choices" not in row["response"]:
        with pytest.raises(GatewayError) as caught:
            dialect.decode(ask_for(row), body_of(row))
        assert caught.value.code == "content_policy_violation"
        return "error"
    check_whole(dialect, row)
    return "whole"


@pytest.mark.shows("openai", "chat")
@pytest.mark.shows("openai", "streaming")
@pytest.mark.shows("openai", "tools")
@pytest.mark.shows("openai", "embeddings")
@pytest.mark.shows("openai", "usage")
@pytest.mark.shows("openai", "errors")
@pytest.mark.parametrize("provider", COUNTS)
def test_every_recorded_exchange_comes_out_as_it_was_recorded(provider: str) -> None:
    dialect = OpenAIDialect()
    rows = exchanges(provider)
    kinds = [replay(dialect, row) for row in rows if place(row) not in SKIPPED]
    assert (len(kinds), len(rows) - len(kinds)) == COUNTS[provider]
    assert kinds.count("broken off") == BROKEN_OFF.get(provider, 0)


def test_every_skipped_recording_is_one_of_these() -> None:
    assert SKIPPED.keys() <= {place(row) for row in exchanges("openai")}
