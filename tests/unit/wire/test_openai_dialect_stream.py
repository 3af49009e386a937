"""Streams in OpenAI's format as canonical chunks, whatever those who speak it do in their own manner."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.wire.openai_dialect import OpenAIDialect
from tests.unit.wire.test_openai_dialect import DIALECT, ask, chat, read


def event(document: Any) -> bytes:
    return b"data: " + orjson.dumps(document) + b"\n\n"


def chunk(delta: Any, finish: Any = None, **choice: Any) -> dict[str, Any]:
    return {"id": "x", "created": 9, "choices": [{"index": 0, "delta": delta, "finish_reason": finish, **choice}]}


def stream(*documents: Any, dialect: OpenAIDialect = DIALECT, done: bool = True) -> Any:
    decoder = dialect.decoder(ask(chat(), stream=True))
    data = b"".join(map(event, documents)) + (b"data: [DONE]\n\n" if done else b"")
    return decoder, decoder.feed(data) + decoder.finish()


def deltas(chunks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [found["choices"][0]["delta"] for found in chunks]


@pytest.mark.shows("openai", "streaming")
@pytest.mark.shows("openai", "parallel tools")
def test_pieces_of_calls_are_told_apart_whatever_the_provider_repeats() -> None:
    decoder, chunks = stream(
        chunk(
            {"role": "assistant", "tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": ""}}]}
        ),
        chunk({"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": "{"}}]}),
        chunk({"tool_calls": [{"index": 0, "id": "", "function": {"name": None, "arguments": "}"}}]}),
        chunk({"tool_calls": [{"index": 0, "id": "b", "function": {"name": "g", "arguments": {"x": 1}}}]}),
        chunk({"tool_calls": {"function": {"arguments": " "}}}),
        chunk({}, "stop"),
    )
    pieces = [piece for delta in deltas(chunks) for piece in delta.get("tool_calls", [])]
    assert pieces == [
        {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}},
        {"index": 0, "function": {"arguments": "{"}},
        {"index": 0, "function": {"arguments": "}"}},
        {"index": 1, "id": "b", "type": "function", "function": {"name": "g", "arguments": '{"x":1}'}},
        {"index": 1, "function": {"arguments": " "}},
    ]
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"
    assert decoder.done


def test_calls_without_ids_get_the_same_ones_in_a_stream_and_in_a_whole_answer() -> None:
    _, chunks = stream(chunk({"function_call": {"name": "f", "arguments": "{}"}}), chunk({}, "function_call"))
    message = {"content": None, "function_call": {"name": "f", "arguments": "{}"}}
    whole = read({"index": 0, "message": message, "finish_reason": "function_call"})["choices"][0]
    streamed = deltas(chunks)[0]["tool_calls"][0]
    assert streamed["id"] == whole["message"]["tool_calls"][0]["id"] == "call_abc_0"
    assert whole["finish_reason"] == chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_each_choice_begins_with_its_role_once() -> None:
    second = {"id": "x", "choices": [{"index": 1, "delta": {"content": "b"}, "finish_reason": None}]}
    _, chunks = stream(
        chunk({"role": "assistant", "content": "a"}), second, chunk({"role": "assistant", "content": "c"})
    )
    assert deltas(chunks) == [
        {"role": "assistant", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"content": "c"},
    ]


def test_the_first_event_is_out_as_soon_as_it_is_in() -> None:
    decoder = DIALECT.decoder(ask(chat(), stream=True))
    assert deltas(decoder.feed(event(chunk({"role": "assistant", "content": ""})))) == [
        {"role": "assistant", "content": ""}
    ]


@pytest.mark.shows("openai", "usage")
def test_usage_is_kept_and_its_chunk_is_not() -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}}
    decoder, chunks = stream(chunk({"content": "a"}, "stop"), {"id": "x", "choices": [], "usage": usage})
    assert len(chunks) == 1
    assert (decoder.usage.prompt, decoder.usage.completion, decoder.usage.cached) == (5, 2, 4)
    decoder, _ = stream({**chunk({}, "stop"), "x_groq": {"usage": usage}})
    assert decoder.usage.prompt == 5


def test_a_stream_that_was_cut_short_is_not_done() -> None:
    decoder, _ = stream(chunk({"content": "a"}), done=False)
    assert not decoder.done
    assert decoder.error is None
    decoder, _ = stream(chunk({"content": "a"}, "stop"), done=False)
    assert not decoder.done
    decoder, _ = stream(chunk({"content": "a"}, "stop"), done=False, dialect=OpenAIDialect(marked=False))
    assert decoder.done
    decoder, _ = stream(done=False, dialect=OpenAIDialect(marked=False))
    assert not decoder.done


@pytest.mark.shows("openai", "errors")
@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b'data: {"error":{"message":"no","code":"rate_limit_exceeded"}}\n\n', "upstream_429"),
        (b'event: error\ndata: {"message":"no"}\n\n', "upstream_bad_answer"),
        (b"data: <html>\n\n", "upstream_bad_answer"),
        (b"data: " + b"[" * 300 + b"]" * 300 + b"\n\n", "upstream_bad_answer"),
    ],
)
def test_an_error_in_a_stream_ends_it(data: bytes, code: str) -> None:
    decoder = DIALECT.decoder(ask(chat(), stream=True))
    decoder.feed(event(chunk({"content": "a"})))
    assert decoder.feed(data + event(chunk({"content": "b"}))) == []
    assert decoder.error is not None
    assert decoder.error.code == code
    assert decoder.feed(event(chunk({"content": "c"}))) == []
    assert decoder.finish() == []
    assert not decoder.done


def test_a_last_event_without_its_empty_line_counts_if_it_is_whole() -> None:
    decoder = DIALECT.decoder(ask(chat(), stream=True))
    decoder.feed(event(chunk({"content": "a"}, "stop")) + b"data: [DONE]")
    assert decoder.finish() == []
    assert decoder.done
    decoder = DIALECT.decoder(ask(chat(), stream=True))
    decoder.feed(event(chunk({"content": "a"})) + b'data: {"id":"x","cho')
    assert decoder.finish() == []
    assert decoder.error is None


@pytest.mark.shows("openai", "citations")
def test_sources_beside_the_choices_come_with_the_end() -> None:
    results = [{"url": "https://a.test", "title": "A"}]
    _, chunks = stream({**chunk({"content": "a"}), "search_results": results}, chunk({}, "stop"))
    assert deltas(chunks)[-1] == {"annotations": [{"type": "url_citation", "url_citation": results[0]}]}
