"""Ollama's answers, streams, errors, embeddings and models."""

from __future__ import annotations

import orjson
import pytest

from gateway.errors import GatewayError
from gateway.wire.ollama import DIALECT
from tests.unit.wire.test_ollama import ask, chat, decoded, line, sent, whole


@pytest.mark.parametrize(
    ("word", "reason"), [("stop", "stop"), ("length", "length"), ("load", "stop"), ("new", "stop"), (None, "stop")]
)
def test_words_for_the_end_are_told_in_openais(word: object, reason: str) -> None:
    choice = whole(chat(), {"content": "a"}, done_reason=word)
    assert choice["finish_reason"] == reason
    assert choice.get("native_finish_reason") == (word if word not in (reason, None) else None)


@pytest.mark.shows("ollama", "prompt caching")
@pytest.mark.shows("ollama", "usage")
def test_cached_tokens_are_part_of_the_prompt() -> None:
    counted = {"prompt_eval_count": 9, "prompt_eval_cached_count": 4, "eval_count": 2}
    answer, usage = DIALECT.decode(ask(chat()), line({"content": "a"}, done=True, **counted))
    assert usage is not None
    assert (usage.prompt, usage.cached, usage.completion) == (9, 4, 2)
    assert answer["usage"]["prompt_tokens_details"] == {"cached_tokens": 4}


@pytest.mark.parametrize("written", ["2026-03-04T05:06:07.123456789+01:00", "2026-03-04T04:06:07Z"])
def test_an_answer_was_made_when_it_says(written: str) -> None:
    answer, _ = DIALECT.decode(ask(chat()), line({"content": "a"}, done=True, created_at=written))
    assert answer["created"] == 1_772_597_167


@pytest.mark.parametrize("written", ["yesterday", "2026-03-04T05:06:07", 3, None])
def test_an_answer_that_does_not_say_when_it_was_made_has_the_askers_time(written: object) -> None:
    answer, _ = DIALECT.decode(ask(chat()), line({"content": "a"}, done=True, created_at=written))
    assert answer["created"] == 7


@pytest.mark.shows("ollama", "logprobs")
def test_log_probabilities_come_with_the_pieces_of_a_stream() -> None:
    told = [{"token": "a", "logprob": -0.5, "top_logprobs": [{"token": "b", "logprob": -2, "bytes": [98]}]}]
    _, choices = decoded(chat(logprobs=True), line({"content": "a"}, logprobs=told), line({}, done=True))
    assert choices[0]["logprobs"]["content"] == [
        {
            "token": "a",
            "logprob": -0.5,
            "bytes": [97],
            "top_logprobs": [{"token": "b", "logprob": -2, "bytes": [98]}],
        }
    ]


# --- errors, models and embeddings --------------------------------------------------------------


@pytest.mark.shows("ollama", "errors")
@pytest.mark.parametrize(
    ("status", "text", "code"),
    [
        (400, "registry.ollama.ai/library/llama3 does not support tools", "upstream_4xx"),
        (400, "input exceeds maximum context length", "context_length_exceeded"),
        (500, "the prompt is too long; it exceeds the context window", "context_length_exceeded"),
        (401, "unauthorized", "upstream_auth"),
        (429, "you have reached your weekly usage limit, please upgrade to continue", "upstream_quota"),
        (429, "too many concurrent requests", "upstream_429"),
        (500, "model requires more system memory (9.1 GiB) than is available (4 GiB)", "upstream_overloaded"),
        (500, "llama runner process has terminated: exit status 2", "upstream_5xx"),
        (502, "upstream error", "upstream_5xx"),
    ],
)
def test_errors_are_told_apart_by_what_they_say(status: int, text: str, code: str) -> None:
    error = DIALECT.read_error("p", status, orjson.dumps({"error": text}))
    assert error.code == code
    for within in (line({"content": "a"}), b""):
        decoder = DIALECT.decoder(ask(chat(), stream=True))
        decoder.feed(within + orjson.dumps({"error": text}) + b"\n" + line({"content": "b"}, done=True))
        assert decoder.error is not None
        assert not decoder.done


def test_an_error_within_a_good_answer_is_an_error() -> None:
    for operation in ("chat", "embeddings"):
        with pytest.raises(GatewayError) as caught:
            DIALECT.decode(ask(chat(input="a"), operation), b'{"error":"unauthorized"}')
        assert caught.value.code == "upstream_auth"


def test_a_stream_that_was_cut_short_is_not_done() -> None:
    decoder, choices = decoded(chat(), line({"content": "a"}), line({}, done=True)[:-9])
    assert len(choices) == 1
    assert not decoder.done
    assert decoder.error is None
    decoder, _ = decoded(chat(), line({"content": "a"}), line({}, done=True).rstrip())
    assert decoder.done


def test_nothing_is_read_behind_the_end() -> None:
    decoder, choices = decoded(chat(), line({"content": "a"}, done=True), line({"content": "b"}))
    assert [choice["delta"].get("content") for choice in choices] == ["a"]
    assert decoder.feed(line({"content": "c"})) == []


@pytest.mark.parametrize(
    "data", [b"<html>\n", b"[]\n", b'{"status":"pulling"}\n', b'{"a":' * 300 + b"1" + b"}" * 300 + b"\n"]
)
def test_a_line_that_is_no_answer_ends_a_stream(data: bytes) -> None:
    decoder, _ = decoded(chat(), data)
    assert decoder.error.code == "upstream_bad_answer"


def test_a_line_without_end_is_given_up() -> None:
    decoder = DIALECT.decoder(ask(chat(), stream=True))
    for _ in range(17):
        decoder.feed(b"a" * 1024 * 1024)
    assert decoder.error is not None
    assert decoder.error.code == "upstream_bad_answer"


@pytest.mark.shows("ollama", "models")
def test_models_are_listed_with_their_tags() -> None:
    listed = {"models": [{"name": "a:1b", "model": "a:1b"}, {"name": "b"}, {"model": 3}, None]}
    assert DIALECT.read_models(orjson.dumps(listed)) == ["a:1b", "b"]
    with pytest.raises(GatewayError):
        DIALECT.read_models(b"[]")


@pytest.mark.shows("ollama", "embeddings")
def test_embeddings_take_texts_only() -> None:
    assert sent({"input": ["a", "b"], "truncate": "END", "num_ctx": 4}, operation="embeddings") == {
        "model": "qwen3",
        "input": ["a", "b"],
        "truncate": True,
        "options": {"num_ctx": 4},
    }
    for given_input, code in (
        ([1, 2], "unsupported_parameter"),
        ([[1]], "unsupported_parameter"),
        ([], "invalid_field"),
    ):
        with pytest.raises(GatewayError) as caught:
            sent({"input": given_input}, operation="embeddings")
        assert caught.value.code == code
    with pytest.raises(GatewayError):
        sent({"input": "a", "truncate": "START"}, operation="embeddings")


def test_an_operation_that_it_lacks_is_refused() -> None:
    with pytest.raises(GatewayError):
        DIALECT.encode(ask({}, "rerank"))
