"""Gemini's streams, as events and as an array."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire import gemini_stream
from gateway.wire.dialect import Ask
from gateway.wire.gemini import DIALECT
from gateway.wire.gemini_stream import GeminiDecoder, ObjectCutter
from gateway.wire.usage import Usage

ASK = Ask("chat", {"messages": []}, "gemini-2.5-flash", "alias", "chatcmpl-1", 0, stream=True)


def event(text: str = "", **candidate: Any) -> dict[str, Any]:
    return {"candidates": [{"content": {"parts": [{"text": text}]}, **candidate}]}


def sse(*events: Any) -> bytes:
    return b"".join(b"data: " + orjson.dumps(item) + b"\r\n\r\n" for item in events)


def read(*pieces: bytes) -> tuple[list[dict[str, Any]], GeminiDecoder]:
    decoder = DIALECT.decoder(ASK)
    chunks = [chunk for piece in pieces for chunk in decoder.feed(piece)]
    return chunks + decoder.finish(), decoder


def text_of(chunks: list[dict[str, Any]]) -> str:
    return "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)


# Text with all that can end a string or an object too early; escaped quotes and backslashes among it.
TEXTS = st.lists(st.text(alphabet='a"\\{}[]\n\r ,:ä€', max_size=12), min_size=1, max_size=4)


@given(texts=TEXTS, array=st.booleans(), indent=st.booleans(), cuts=st.lists(st.integers(0, 2000), max_size=12))
def test_however_a_stream_is_split_the_chunks_are_the_same(
    texts: list[str], array: bool, indent: bool, cuts: list[int]
) -> None:
    events = [event(text, index=0) for text in texts]
    events[-1]["candidates"][0]["finishReason"] = "STOP"
    data = orjson.dumps(events, option=orjson.OPT_INDENT_2 if indent else None) if array else sse(*events)
    whole, decoder = read(data)
    assert text_of(whole) == "".join(texts)
    assert decoder.done
    borders = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    pieces = [data[start:end] for start, end in pairwise(borders)]
    again, decoder = read(*pieces)
    assert again == whole
    assert decoder.done


@pytest.mark.shows("gemini", "streaming")
def test_the_first_event_gives_a_chunk_at_once() -> None:
    decoder = DIALECT.decoder(ASK)
    (chunk,) = decoder.feed(sse(event("Hel")))
    assert chunk["choices"] == [{"index": 0, "delta": {"role": "assistant", "content": "Hel"}, "finish_reason": None}]
    assert not decoder.done
    array = DIALECT.decoder(ASK)
    assert array.feed(b" \n[" + orjson.dumps(event("Hel")))[0]["choices"] == chunk["choices"]


def test_an_end_that_every_event_claims_is_said_once() -> None:
    chunks, decoder = read(sse(event("a", finishReason="STOP"), event("b", finishReason="STOP")))
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, None, "stop"]
    assert decoder.done


def test_a_stream_that_is_cut_short_is_neither_done_nor_an_error() -> None:
    full = sse(event("a"), event("b", finishReason="STOP"))
    for data in (b"", sse(event("a")), full[:-40], b"[" + orjson.dumps(event("a")) + b",\n{", b": ping\n\n"):
        _, decoder = read(data)
        assert not decoder.done
        assert decoder.error is None


def test_the_last_event_counts_without_the_line_behind_it() -> None:
    chunks, decoder = read(sse(event("a", finishReason="STOP")).rstrip())
    assert text_of(chunks) == "a"
    assert decoder.done


def test_one_choice_without_its_end_leaves_the_stream_open() -> None:
    two = {"candidates": [{"index": 0, "finishReason": "STOP"}, {"index": 1, "content": {"parts": [{"text": "b"}]}}]}
    _, decoder = read(sse(two))
    assert not decoder.done
    chunks, decoder = read(sse(two, event(index=1, finishReason="MAX_TOKENS")))
    assert decoder.done
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks[-2:]] == ["stop", "length"]


def test_usage_is_the_last_that_counts_anything() -> None:
    _, decoder = read(
        sse(
            {**event("a"), "usageMetadata": {"promptTokenCount": 3, "totalTokenCount": 3}},
            {**event("b", finishReason="STOP"), "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2}},
            {"usageMetadata": {"trafficType": "ON_DEMAND"}},
        )
    )
    assert decoder.usage == Usage(prompt=3, completion=2)


@pytest.mark.shows("gemini", "errors")
@pytest.mark.parametrize(
    ("data", "code"),
    [
        (sse(event("a"), {"error": {"code": 503, "status": "UNAVAILABLE", "message": "m"}}), "upstream_overloaded"),
        (sse(event("a"), {"error": {"status": "RESOURCE_EXHAUSTED", "message": "m"}}), "upstream_429"),
        (b'[{"error":{"code":401,"status":"UNAUTHENTICATED","message":"m"}}]', "upstream_auth"),
        (sse({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}), "content_policy_violation"),
        (b"data: {not json}\n\n", "upstream_bad_answer"),
        (b"data: [1]\n\n", "upstream_bad_answer"),
    ],
)
def test_an_error_in_a_stream_ends_it(data: bytes, code: str) -> None:
    chunks, decoder = read(data, sse(event("late", finishReason="STOP")))
    assert decoder.error is not None
    assert decoder.error.code == code
    assert not decoder.done
    assert "late" not in text_of(chunks)


def test_an_error_counts_without_the_line_behind_it() -> None:
    _, decoder = read(b'data: {"error":{"code":500,"message":"m"}}')
    assert decoder.error is not None
    assert decoder.error.code == "upstream_5xx"


def test_an_end_mark_of_a_proxy_is_passed_over() -> None:
    _, decoder = read(sse(event("a", finishReason="STOP")) + b"data: [DONE]\n\n")
    assert decoder.done
    assert decoder.finish() == []


def test_an_object_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gemini_stream.sse, "MAX_EVENT_BYTES", 100)
    _, decoder = read(b"[{" + b" " * 200)
    assert decoder.error is not None
    assert decoder.error.code == "upstream_bad_answer"


def test_objects_are_cut_out_of_whatever_stands_between_them() -> None:
    cutter = ObjectCutter()
    assert cutter.feed(b'[ {"a": "}\\"{"} , "x{" } {') == [b'{"a": "}\\"{"}']
    assert cutter.open
    assert cutter.feed(b'"b": {}} ]') == [b'{"b": {}}']
    assert not cutter.open
