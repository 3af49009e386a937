"""Recorded traffic with the Gemini API, replayed; skipped where the recordings are not there."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.wire.dialect import Ask, Dialect
from gateway.wire.gemini import DIALECT
from gateway.wire.usage import Usage
from tests.wire_data import body_of, needs_recordings, place, recorded, splits

pytestmark = needs_recordings

CHAT = ("generateContent", "streamGenerateContent")
EMBEDDING = ("batchEmbedContents", "embedContent", "predict")
WORDS = {"STOP": "stop", 1: "stop", "MAX_TOKENS": "length", 2: "length", "SAFETY": "content_filter"}
WORDS |= {"MODEL_ARMOR": "content_filter", "UNEXPECTED_TOOL_CALL": "stop"}
# Status and Google's word for it, to our code.
ERRORS = {(404, "NOT_FOUND"): "upstream_4xx", (400, "INVALID_ARGUMENT"): "upstream_4xx"}
OTHERS = {
    "cachedContents": "keeps prompts and answers nothing",
    "fileSearchStores": "keeps files and answers nothing",
    "uploadToFileSearchStore": "takes files and answers nothing",
    "interactions": "the Interactions API, another format, which no client of ours speaks",
    "openai": "the OpenAI-compatible address, replayed with OpenAI's dialect",
    "models": "the list of models, replayed below",
    "countTokens": "counts tokens and answers nothing",
}


def method(row: dict[str, Any]) -> str:
    """What a recorded path asks for: the method behind its colon, else the collection."""
    path: str = row["path"]
    return path.rpartition(":")[2] if ":" in path else path.split("/")[2]


def reason(row: dict[str, Any]) -> str | None:
    """Why a recording is neither a chat nor an embedding nor an error; None where it is one."""
    if row["status"] >= 400 or method(row) in CHAT + EMBEDDING:
        return None
    return OTHERS[method(row)]


def sort(rows: tuple[dict[str, Any], ...]) -> tuple[list[dict[str, Any]], ...]:
    """Whole chats, streamed chats, embeddings and errors."""
    good = [row for row in rows if row["status"] == 200]
    return (
        [row for row in good if method(row) == "generateContent"],
        [row for row in good if method(row) == "streamGenerateContent"],
        [row for row in good if method(row) in EMBEDDING],
        [row for row in rows if row["status"] >= 400],
    )


ROWS = recorded("gemini")
SKIPPED = {place(row): why for row in ROWS if (why := reason(row)) is not None}
WHOLE, STREAMS, EMBEDDINGS, FAILED = sort(ROWS)


def ask_for(row: dict[str, Any], operation: str = "chat") -> Ask:
    """As for a client that asked for an alias; of the request nothing matters to an answer without a form."""
    model = row["path"].rpartition("/")[2].partition(":")[0]
    stream = method(row) == "streamGenerateContent"
    return Ask(operation, {"messages": []}, model, "alias", "chatcmpl-0", 0, stream=stream)


def events_of(row: dict[str, Any]) -> list[dict[str, Any]]:
    response = row["response"]
    if isinstance(response, str):
        return [orjson.loads(line[5:]) for line in response.splitlines() if line.startswith("data:")]
    return response if isinstance(response, list) else [response]


def parts_of(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    candidates = [event["candidates"][0] for event in events if event.get("candidates")]
    return [part for candidate in candidates for part in candidate.get("content", {}).get("parts", [])]


def recorded_texts(parts: list[dict[str, Any]]) -> tuple[list[str], str]:
    """What the candidate says, piece by piece (code and its results among them), and what it thought."""
    pieces = []
    for part in parts:
        if "executableCode" in part:
            pieces.append(part["executableCode"]["code"].rstrip())
        elif "codeExecutionResult" in part:
            pieces.append(part["codeExecutionResult"]["output"].rstrip())
        elif part.get("text") and not part.get("thought"):
            pieces.append(part["text"])
    return pieces, "".join(part["text"] for part in parts if part.get("thought"))


def recorded_calls(parts: list[dict[str, Any]]) -> list[tuple[str, Any, str | None]]:
    calls = [part["functionCall"] for part in parts if "functionCall" in part]
    return [(call["name"], call["args"], call.get("id")) for call in calls]


def recorded_signatures(parts: list[dict[str, Any]]) -> list[str]:
    kept = [part for part in parts if "text" in part or "functionCall" in part]
    return [part["thoughtSignature"] for part in kept if "thoughtSignature" in part]


def recorded_usage(events: list[dict[str, Any]]) -> Usage | None:
    """The last word on usage that counts anything."""
    counts = {"promptTokenCount", "candidatesTokenCount"}
    told = [event["usageMetadata"] for event in events if counts & event.get("usageMetadata", {}).keys()]
    if not told:
        return None
    last = told[-1]
    details = [(item["modality"], item["tokenCount"]) for item in last.get("promptTokensDetails", [])]
    return Usage(
        prompt=last.get("promptTokenCount", 0) + last.get("toolUsePromptTokenCount", 0),
        completion=last.get("candidatesTokenCount", 0) + last.get("thoughtsTokenCount", 0),
        cached=last.get("cachedContentTokenCount", 0),
        reasoning=last.get("thoughtsTokenCount", 0),
        audio_in=sum(count for kind, count in details if kind == "AUDIO"),
        image_in=sum(count for kind, count in details if kind == "IMAGE"),
    )


def check_answer(events: list[dict[str, Any]], message: dict[str, Any], finish: str, usage: Usage | None) -> None:
    """The message says what was recorded: text, thoughts, calls with their signatures, reason and counts."""
    parts = parts_of(events)
    pieces, thought = recorded_texts(parts)
    content = message["content"] or ""
    if any("executableCode" in part for part in parts):
        assert "```" in content
        for piece in pieces:
            assert piece in content
    else:
        assert content == "".join(pieces)
    assert message.get("reasoning_content", "") == thought
    calls = message.get("tool_calls", [])
    expected = recorded_calls(parts)
    assert [(call["function"]["name"], orjson.loads(call["function"]["arguments"])) for call in calls] == [
        call[:2] for call in expected
    ]
    assert all(given is None or given == call["id"] for call, (_, _, given) in zip(calls, expected, strict=True))
    assert len({call["id"] for call in calls}) == len(calls)
    details = message.get("reasoning_details", [])
    signatures = [item.get("data") or item.get("signature") for item in details]
    assert [given for given in signatures if given] == recorded_signatures(parts)
    reasons = [event["candidates"][0].get("finishReason") for event in events if event.get("candidates")]
    word = next(reason for reason in reversed(reasons) if reason is not None)
    assert finish == ("tool_calls" if expected and WORDS[word] == "stop" else WORDS[word])
    assert usage == recorded_usage(events)


def check_whole(dialect: Dialect, row: dict[str, Any]) -> None:
    answer, usage = dialect.decode(ask_for(row), body_of(row))
    assert answer["id"] == row["response"].get("responseId", "chatcmpl-0")
    assert answer["model"] == "alias"
    (choice,) = answer["choices"]
    assert choice["message"]["role"] == "assistant"
    check_answer([row["response"]], choice["message"], choice["finish_reason"], usage)
    told = row["response"]["usageMetadata"]
    if "totalTokenCount" in told:
        assert answer["usage"]["total_tokens"] == told["totalTokenCount"]


def add_up(chunks: list[dict[str, Any]]) -> tuple[dict[str, Any], str]:
    """The message that a client's SDK would put together, and its finish reason."""
    message: dict[str, Any] = {"content": "", "tool_calls": [], "reasoning_content": "", "reasoning_details": []}
    finish = ""
    for chunk in chunks:
        (choice,) = chunk["choices"]
        delta = choice["delta"]
        message["content"] += delta.get("content") or ""
        message["reasoning_content"] += delta.get("reasoning_content") or ""
        message["reasoning_details"] += delta.get("reasoning_details", [])
        for call in delta.get("tool_calls", []):
            assert call["index"] == len(message["tool_calls"])
            message["tool_calls"].append(call)
        finish = choice["finish_reason"] or finish
    return message, finish


def check_stream(dialect: Dialect, row: dict[str, Any]) -> None:
    data = body_of(row)
    expected: list[dict[str, Any]] | None = None
    for pieces in splits(data):
        decoder = dialect.decoder(ask_for(row))
        chunks = [chunk for piece in pieces for chunk in decoder.feed(piece)]
        chunks += decoder.finish()
        assert decoder.error is None
        assert decoder.done
        expected = chunks if expected is None else expected
        assert chunks == expected
        assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
        message, finish = add_up(chunks)
        check_answer(events_of(row), message, finish, decoder.usage)


@pytest.mark.shows("gemini", "chat")
@pytest.mark.shows("gemini", "tools")
@pytest.mark.shows("gemini", "reasoning")
@pytest.mark.shows("gemini", "usage")
@pytest.mark.parametrize("row", WHOLE, ids=place)
def test_a_recorded_answer_says_what_it_said(row: dict[str, Any]) -> None:
    check_whole(DIALECT, row)


@pytest.mark.shows("gemini", "streaming")
@pytest.mark.shows("gemini", "parallel tools")
@pytest.mark.parametrize("row", STREAMS, ids=place)
def test_a_recorded_stream_says_what_it_said_however_it_was_split(row: dict[str, Any]) -> None:
    check_stream(DIALECT, row)


@pytest.mark.shows("gemini", "embeddings")
@pytest.mark.parametrize("row", EMBEDDINGS, ids=place)
def test_a_recorded_embedding_keeps_its_numbers(row: dict[str, Any]) -> None:
    answer, usage = DIALECT.decode(ask_for(row, "embeddings"), body_of(row))
    assert [item["embedding"] for item in answer["data"]] == [item["values"] for item in row["response"]["embeddings"]]
    assert [item["index"] for item in answer["data"]] == list(range(len(answer["data"])))
    told = row["response"].get("usageMetadata")
    assert usage == (Usage(prompt=told["promptTokenCount"]) if told else None)


@pytest.mark.shows("gemini", "errors")
@pytest.mark.parametrize("row", FAILED, ids=place)
def test_a_recorded_error_has_the_right_code(row: dict[str, Any]) -> None:
    error = DIALECT.read_error("gemini", row["status"], body_of(row))
    told = row["response"]["error"]
    assert (error.code, error.status) == (ERRORS[row["status"], told["status"]], row["status"])
    assert error.message == told["message"]


@pytest.mark.shows("gemini", "models")
def test_the_recorded_list_of_models_is_read() -> None:
    (row,) = [row for row in ROWS if method(row) == "models"]
    names = DIALECT.read_models(body_of(row))
    assert names == [model["name"].partition("/")[2] for model in row["response"]["models"]]
    assert "gemini-2.5-flash" in names


def test_every_recording_is_replayed_or_has_its_reason() -> None:
    assert (len(WHOLE), len(STREAMS), len(EMBEDDINGS), len(FAILED)) == (101, 41, 7, 3)
    assert len(SKIPPED) == 34
    assert len(ROWS) == 186 == 101 + 41 + 7 + 3 + len(SKIPPED)
