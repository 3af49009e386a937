"""Recorded traffic of Ollama's own API; what must come out is read from the recording by plain JSON paths here."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.wire.dialect import Ask
from gateway.wire.ollama import DIALECT
from gateway.wire.usage import Usage
from tests.wire_data import body_of, needs_recordings, place, recorded, splits

pytestmark = needs_recordings

REPLAYED = 14
_OPENLLMETRY = "traceloop/openllmetry:packages/opentelemetry-instrumentation-ollama/tests/cassettes/"
_PYDANTIC = "pydantic/pydantic-ai:tests/models/cassettes/test_ollama/"
_OPENAI = "OpenAI's format: replayed in test_openai_dialect_recorded"
_GENERATE = "/api/generate takes a bare prompt and is never asked"
SKIPPED = {
    f"{_PYDANTIC}test_ollama_cloud_prompted_output.yaml#0": _OPENAI,
    f"{_PYDANTIC}test_ollama_cloud_tool_output.yaml#0": _OPENAI,
    f"{_PYDANTIC}test_ollama_cloud_tool_output.yaml#1": _OPENAI,
    f"{_PYDANTIC}test_ollama_local_native_output_uses_json_schema.yaml#0": _OPENAI,
    f"{_OPENLLMETRY}test_generation/test_ollama_generation_legacy.yaml#0": _GENERATE,
    f"{_OPENLLMETRY}test_generation/test_ollama_async_generation_legacy.yaml#0": _GENERATE,
    f"{_OPENLLMETRY}test_generation/test_ollama_streaming_generation_legacy.yaml#0": _GENERATE,
    f"{_OPENLLMETRY}test_generation/test_ollama_async_streaming_generation_legacy.yaml#0": _GENERATE,
    f"{_OPENLLMETRY}test_ollama_metrics/test_ollama_streaming_metrics.yaml#0": _GENERATE,
    f"{_OPENLLMETRY}test_embeddings/test_ollama_embeddings_legacy.yaml#0": "/api/embeddings: /api/embed is asked now",
}


def ask_for(row: dict[str, Any]) -> Ask:
    document = {"model": "shown", "messages": row["request"]["messages"]}
    return Ask("chat", document, row["request"]["model"], "shown", "chatcmpl-ours", 1, stream=bool(row["stream"]))


def recorded_usage(last: dict[str, Any]) -> Usage:
    return Usage(prompt=last.get("prompt_eval_count", 0), completion=last["eval_count"])


def check_calls(calls: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    assert [(call["id"], call["function"]["name"]) for call in calls] == [
        (call["id"], call["function"]["name"]) for call in theirs
    ]
    assert [orjson.loads(call["function"]["arguments"]) for call in calls] == [
        call["function"]["arguments"] for call in theirs
    ]


def check_whole(row: dict[str, Any]) -> None:
    answer, usage = DIALECT.decode(ask_for(row), body_of(row))
    theirs = row["response"]
    (choice,) = answer["choices"]
    assert choice["message"]["content"] == theirs["message"]["content"]
    assert choice["message"].get("reasoning_content") == theirs["message"].get("thinking")
    calls = theirs["message"].get("tool_calls", [])
    check_calls(choice["message"].get("tool_calls", []), calls)
    assert choice["finish_reason"] == ("tool_calls" if calls else theirs["done_reason"])
    assert usage == recorded_usage(theirs)
    assert answer["model"] == "shown"


def check_stream(row: dict[str, Any]) -> None:
    lines = [orjson.loads(line) for line in row["response"].splitlines() if line]
    for pieces in splits(body_of(row)):
        decoder = DIALECT.decoder(ask_for(row))
        chunks = [chunk for piece in pieces for chunk in decoder.feed(piece)]
        chunks += decoder.finish()
        assert decoder.done
        assert decoder.error is None
        assert decoder.usage == recorded_usage(lines[-1])
        choices = [chunk["choices"][0] for chunk in chunks]
        text = "".join(choice["delta"].get("content", "") for choice in choices)
        assert text == "".join(line["message"]["content"] for line in lines)
        assert [choice["delta"]["role"] for choice in choices if "role" in choice["delta"]] == ["assistant"]
        assert [choice["finish_reason"] for choice in choices if choice["finish_reason"]] == [lines[-1]["done_reason"]]


def replay(row: dict[str, Any]) -> None:
    if row["status"] >= 400:
        error = DIALECT.read_error("p", row["status"], body_of(row))
        assert (error.code, error.status, error.message) == ("upstream_4xx", row["status"], row["response"]["error"])
    elif isinstance(row["response"], str):
        check_stream(row)
    else:
        check_whole(row)


@pytest.mark.shows("ollama", "chat")
@pytest.mark.shows("ollama", "streaming")
@pytest.mark.shows("ollama", "tools")
@pytest.mark.shows("ollama", "reasoning")
@pytest.mark.shows("ollama", "usage")
@pytest.mark.shows("ollama", "errors")
def test_every_recorded_exchange_comes_out_as_it_was_recorded() -> None:
    replayed = 0
    for row in recorded("ollama"):
        if place(row) not in SKIPPED:
            replay(row)
            replayed += 1
    assert replayed == REPLAYED


def test_every_skipped_recording_is_one_of_these() -> None:
    assert SKIPPED.keys() <= {place(row) for row in recorded("ollama")}
    assert len(recorded("ollama")) == REPLAYED + len(SKIPPED)
