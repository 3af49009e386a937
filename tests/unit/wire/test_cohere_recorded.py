"""Every recorded chat, embedding and rerank exchange with Cohere, replayed; skipped where there are no recordings."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.wire import sse
from gateway.wire.dialect import Ask, Document
from gateway.wire.dialects import find_dialect
from gateway.wire.usage import Usage
from tests.wire_data import body_of, needs_recordings, place, recorded, splits

pytestmark = needs_recordings

COHERE = find_dialect("cohere")
FINISH = {"COMPLETE": "stop", "STOP_SEQUENCE": "stop", "MAX_TOKENS": "length", "TOOL_CALL": "tool_calls"}

_OTEL = "traceloop/openllmetry:packages/opentelemetry-instrumentation-"
_AGENT = _OTEL + "llamaindex/tests/cassettes/test_agents/test_agent_with_multiple_tools.yaml#"
_CHAT = _OTEL + "cohere/tests/cassettes/test_chat/test_cohere_chat_"
_LANGCHAIN = "langchain-ai/langchain-cohere:libs/cohere/tests/integration_tests/cassettes/test_"
_V1_CHAT = "the older chat API, which has a format of its own and is not spoken"
_INT8 = "int8 vectors, which are never asked for: OpenAI's embeddings are floats"
_ONE_MODEL = "one model's description, not the list"
_TOKENS = "the tokenizer, which is not spoken"
SKIPPED: dict[str, str] = {
    **{f"{_AGENT}{number}": _V1_CHAT for number in (0, 1, 2, 3, 4, 7, 8, 9, 10, 11)},
    **{
        f"{_CHAT}{name}.yaml#0": _V1_CHAT
        for name in (
            "legacy",
            "legacy_async",
            "legacy_with_streaming",
            "legacy_with_streaming_async",
            "with_events_with_content_async",
            "with_events_with_no_content_async",
        )
    },
    **{
        f"{_LANGCHAIN}langchain_cohere_{name}_int8_embedding_type.yaml#0": _INT8
        for name in ("aembedding_documents", "aembedding_query", "embedding_documents", "embedding_query")
    },
    f"{_LANGCHAIN}get_num_tokens_with_default_model.yaml#0": _ONE_MODEL,
    f"{_LANGCHAIN}get_num_tokens_with_default_model.yaml#1": _TOKENS,
    f"{_LANGCHAIN}get_num_tokens_with_default_model.yaml#2": _ONE_MODEL,
    f"{_LANGCHAIN}get_num_tokens_with_specified_model.yaml#2": _ONE_MODEL,
    "pydantic/pydantic-ai:tests/cassettes/test_embeddings/TestCohere.test_count_tokens.yaml#0": _TOKENS,
    f"{_OTEL}cohere/tests/cassettes/test_completion/test_cohere_completion_legacy.yaml#0": (
        "the older completions API, which is not spoken"
    ),
}


def rows(*ends: str, status: int = 200, stream: bool = False) -> list[dict[str, Any]]:
    return [
        row
        for row in recorded("cohere")
        if row["path"].endswith(ends)
        and row["status"] == status
        and bool(row["stream"]) == stream
        and place(row) not in SKIPPED
    ]


def errors() -> list[dict[str, Any]]:
    return [row for row in recorded("cohere") if row["status"] >= 400]


def ask_of(row: dict[str, Any], operation: str = "chat") -> Ask:
    """What a client would have asked for the same; the request itself need not be reproduced."""
    given = row["request"]
    document: Document = {"model": "shown", "messages": [{"role": "user", "content": "x"}]}
    if operation == "rerank":
        document = {"model": "shown", "query": given["query"], "documents": given["documents"]}
    elif operation == "embeddings":
        document = {"model": "shown", "input": given["texts"]}
    return Ask(operation, document, given["model"], "shown", "chatcmpl-x", 1, stream=bool(row["stream"]))


def billed(usage: dict[str, Any]) -> Usage | None:
    units = usage.get("billed_units") or usage.get("tokens")
    if not units:
        return None
    images = (usage.get("tokens") or {}).get("image_tokens", 0)
    return Usage(int(units["input_tokens"]), int(units["output_tokens"]), image_in=images)


def payloads(stream: str) -> list[dict[str, Any]]:
    data = (sse.event_data(event) for event in sse.split_events(stream.encode()))
    return [orjson.loads(payload) for payload in data if payload and payload != b"[DONE]"]


def joined(events: list[dict[str, Any]], *path: str) -> str:
    """All texts at one path of the events' `delta.message`."""
    found = ""
    for event in events:
        value: Any = (event.get("delta") or {}).get("message") or {}
        for name in path:
            value = value.get(name) or {}
        found += value if isinstance(value, str) else ""
    return found


def streamed(stream: str, pieces: list[bytes], row: dict[str, Any]) -> tuple[list[Document], Any]:
    decoder = COHERE.decoder(ask_of(row))
    chunks = [chunk for piece in pieces for chunk in decoder.feed(piece)]
    return chunks + decoder.finish(), decoder


def assembled(chunks: list[Document]) -> dict[str, Any]:
    """What a client puts together from chunks: text, reasoning, calls, the end."""
    text = reasoning = ""
    calls: list[dict[str, str]] = []
    end = None
    for chunk in chunks:
        (choice,) = chunk["choices"]
        delta = choice["delta"]
        text += delta.get("content") or ""
        reasoning += delta.get("reasoning_content") or ""
        for call in delta.get("tool_calls", ()):
            if call["index"] == len(calls):
                calls.append({"id": call["id"], "name": call["function"]["name"], "arguments": ""})
            calls[call["index"]]["arguments"] += call["function"].get("arguments", "")
        end = choice["finish_reason"] or end
    return {"text": text, "reasoning": reasoning, "calls": calls, "end": end}


def test_every_recording_is_replayed_or_listed_with_its_reason() -> None:
    replayed = [
        *rows("/v2/chat"),
        *rows("/v2/chat", stream=True),
        *rows("/embed"),
        *rows("/rerank"),
        *errors(),
    ]
    places = [place(row) for row in replayed]
    assert {*places, *SKIPPED} == {place(row) for row in recorded("cohere")}
    assert not set(places) & set(SKIPPED)
    assert (len(rows("/v2/chat")), len(rows("/v2/chat", stream=True))) == (42, 18)
    assert (len(rows("/embed")), len(rows("/rerank")), len(errors())) == (12, 7, 3)
    assert (len(places), len(SKIPPED)) == (82, 26)


@pytest.mark.shows("cohere", "chat")
@pytest.mark.shows("cohere", "tools")
@pytest.mark.shows("cohere", "parallel tools")
@pytest.mark.shows("cohere", "reasoning")
@pytest.mark.shows("cohere", "usage")
def test_recorded_answers_say_in_our_form_what_they_said() -> None:
    calls_seen = 0
    for row in rows("/v2/chat"):
        answer, usage = COHERE.decode(ask_of(row), body_of(row))
        theirs = row["response"]
        message = theirs["message"]
        parts = message.get("content") or []
        (choice,) = answer["choices"]
        text = "".join(part.get("text", "") for part in parts)
        thinking = "".join(part.get("thinking", "") for part in parts)
        assert (choice["message"]["content"] or "") == text
        reasoning = "\n\n".join(filter(None, (thinking, message.get("tool_plan"))))
        assert choice["message"].get("reasoning_content", "") == reasoning
        assert choice["message"].get("tool_calls", []) == message.get("tool_calls", [])
        calls_seen += len(message.get("tool_calls", ()))
        assert choice["finish_reason"] == FINISH[theirs["finish_reason"]]
        assert choice["native_finish_reason"] == theirs["finish_reason"]
        assert usage == billed(theirs["usage"])
        assert usage is not None
        assert answer["usage"]["total_tokens"] == usage.prompt + usage.completion
        assert (answer["id"], answer["model"]) == (theirs["id"], "shown")
    assert calls_seen == 13


@pytest.mark.shows("cohere", "citations")
def test_recorded_citations_become_annotations() -> None:
    seen = 0
    for row in rows("/v2/chat"):
        answer, _ = COHERE.decode(ask_of(row), body_of(row))
        notes = answer["choices"][0]["message"].get("annotations", [])
        citations = row["response"]["message"].get("citations", [])
        expected = [(cited, source) for cited in citations for source in cited["sources"]]
        assert len(notes) == len(expected)
        for note, (cited, source) in zip(notes, expected, strict=True):
            inner = note["file_citation"]
            assert inner["file_id"] == source["id"]
            assert (inner["text"], inner["start_index"], inner["end_index"]) == (
                cited["text"],
                cited["start"],
                cited["end"],
            )
            seen += 1
    assert seen >= 10


@pytest.mark.shows("cohere", "streaming")
@pytest.mark.shows("cohere", "tools")
def test_recorded_streams_say_in_our_form_what_they_said_however_they_are_split() -> None:
    broken = 0
    for number, row in enumerate(rows("/v2/chat", stream=True)):
        events = payloads(row["response"])
        starts = [event for event in events if event["type"] == "tool-call-start"]
        end = events[-1]["delta"]
        first: list[Document] | None = None
        for pieces in splits(row["response"].encode(), seed=number):
            chunks, decoder = streamed(row["response"], pieces, row)
            first = chunks if first is None else first
            assert chunks == first
            said = assembled(chunks)
            assert said["text"] == joined(events, "content", "text")
            assert said["reasoning"] == joined(events, "tool_plan")
            assert "".join(call["arguments"] for call in said["calls"]) == joined(
                events, "tool_calls", "function", "arguments"
            )
            named = [event["delta"]["message"]["tool_calls"] for event in starts]
            assert [call["id"] for call in said["calls"]] == [call["id"] for call in named]
            assert [call["name"] for call in said["calls"]] == [call["function"]["name"] for call in named]
            assert decoder.usage == billed(end["usage"])
            assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
            assert {chunk["id"] for chunk in chunks} == {events[0]["id"]}
            assert {chunk["model"] for chunk in chunks} == {"shown"}
            if end["finish_reason"] == "ERROR":
                assert decoder.error is not None
                assert not decoder.done
                assert end["error"] in decoder.error.message
            else:
                assert (decoder.done, decoder.error) == (True, None)
                assert said["end"] == FINISH[end["finish_reason"]]
        broken += end["finish_reason"] == "ERROR"
    assert broken == 2


def test_a_recorded_stream_that_is_cut_short_is_not_done() -> None:
    for row in rows("/v2/chat", stream=True):
        stream = row["response"].encode()
        for size in (len(stream) // 3, stream.index(b"event: message-end")):
            _, decoder = streamed("", [stream[:size]], row)
            assert not decoder.done
            assert decoder.error is None


@pytest.mark.shows("cohere", "embeddings")
@pytest.mark.shows("cohere", "usage")
def test_recorded_embeddings_come_out_as_openais() -> None:
    for row in rows("/embed"):
        answer, usage = COHERE.decode(ask_of(row, "embeddings"), body_of(row))
        theirs = row["response"]
        vectors = theirs["embeddings"]["float"]
        assert [item["embedding"] for item in answer["data"]] == vectors
        assert [item["index"] for item in answer["data"]] == list(range(len(vectors)))
        tokens = theirs["meta"]["billed_units"]["input_tokens"]
        assert usage == Usage(tokens)
        assert answer["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}


@pytest.mark.shows("cohere", "rerank")
def test_recorded_reranks_come_out_as_they_were() -> None:
    for row in rows("/rerank"):
        answer, usage = COHERE.decode(ask_of(row, "rerank"), body_of(row))
        theirs = row["response"]
        assert answer == {name: theirs[name] for name in ("id", "results", "meta")}
        assert usage == Usage(search_units=theirs["meta"]["billed_units"]["search_units"])


@pytest.mark.shows("cohere", "errors")
def test_recorded_errors_keep_status_and_message() -> None:
    for row in errors():
        error = COHERE.read_error("p", row["status"], body_of(row))
        assert (error.code, error.status) == ("upstream_4xx", row["status"])
        assert error.message == row["response"]["message"]
