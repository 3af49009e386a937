"""Recorded traffic of OpenAI and of those who speak like it, replayed; skipped where the recordings are not there.

`GATEWAY_WIRE_DATA` names their folder; the default is shared/data/wire beside the repository.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.errors import Again, GatewayError
from gateway.wire import sse
from gateway.wire.openai import CHAT, EMBEDDINGS, Variations, encode_request, read_request, read_usage
from gateway.wire.openai_answer import StreamTap, read_answer, read_error

_BESIDE = Path(__file__).parents[3].parent / "shared" / "data" / "wire"
DATA = Path(os.environ.get("GATEWAY_WIRE_DATA", _BESIDE))
PROVIDERS = (
    "openai",
    "azure_openai",
    "groq",
    "deepseek",
    "mistral",
    "together",
    "openrouter",
    "cerebras",
    "huggingface",
    "ollama",
    "zai",
    "snowflake",
)

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the recordings are not here")


@cache
def _rows(provider: str) -> list[dict[str, Any]]:
    path = DATA / f"{provider}.jsonl.gz"
    if not path.exists():
        return []
    with gzip.open(path) as lines:
        return [
            row
            for row in map(orjson.loads, lines)
            if row["path"].partition("?")[0].endswith(("/chat/completions", "/embeddings", "/v1/completions"))
            and not row["path"].startswith("/api/embeddings")  # Ollama's own dialect
        ]


def _streams(provider: str) -> Iterator[bytes]:
    for row in _rows(provider):
        if row["status"] == 200 and row["stream"] and isinstance(row["response"], str) and row["response"]:
            yield row["response"].encode()


def _payloads(stream: bytes) -> list[bytes]:
    return [payload for payload in map(sse.event_data, sse.split_events(stream)) if payload]


def _recorded_usage(stream: bytes) -> object:
    found: object = None
    for payload in _payloads(stream):
        if payload == b"[DONE]":
            break
        chunk = orjson.loads(payload)
        for holder in (chunk, *[value for value in chunk.values() if isinstance(value, dict)]):
            if isinstance(holder.get("usage"), dict):
                found = holder["usage"]
                break
    return found


def _has_error(stream: bytes) -> bool:
    return any(payload != b"[DONE]" and orjson.loads(payload).get("error") for payload in _payloads(stream))


def test_the_recordings_hold_what_these_tests_are_about() -> None:
    assert sum(len(list(_streams(provider))) for provider in PROVIDERS) >= 40
    assert sum(len(_rows(provider)) for provider in PROVIDERS) >= 200


@pytest.mark.parametrize("provider", PROVIDERS)
def test_recorded_streams_pass_with_their_bytes_and_usage(provider: str) -> None:
    for stream in _streams(provider):
        tap = StreamTap(rename_to=None, withhold_usage=False)
        passed = b"".join(tap.feed(stream[at : at + 777]) for at in range(0, len(stream), 777))
        tap.finish()
        assert tap.usage == read_usage(_recorded_usage(stream))
        if _has_error(stream):
            assert tap.error is not None
            assert stream.startswith(passed)
        else:
            assert tap.done
            end = stream.index(b"data: [DONE]")
            assert passed == stream[:end]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_recorded_streams_estimate_is_of_the_size_of_its_usage(provider: str) -> None:
    for stream in _streams(provider):
        tap = StreamTap(rename_to=None, withhold_usage=False)
        for event in sse.split_events(stream):
            tap.feed(event)
        if tap.usage is None or tap.error is not None:
            continue
        visible = tap.usage.completion - tap.usage.reasoning
        if visible >= 50:
            # Far too high only where chunks carry more than text: results of tools that the provider ran itself.
            assert visible / 2 <= tap.estimate_completion_tokens() <= visible * 30


@pytest.mark.parametrize("provider", PROVIDERS)
def test_an_alias_changes_nothing_but_the_name_in_recorded_streams(provider: str) -> None:
    for stream in _streams(provider):
        tap = StreamTap(rename_to="alias", withhold_usage=False)
        passed = b"".join(tap.feed(stream[at : at + 777]) for at in range(0, len(stream), 777))
        for ours, theirs in zip(_payloads(passed), _payloads(stream), strict=False):
            expected = orjson.loads(theirs)
            if isinstance(expected.get("model"), str):
                expected["model"] = "alias"
            assert orjson.loads(ours) == expected


@pytest.mark.parametrize("provider", PROVIDERS)
def test_recorded_whole_answers_pass_with_their_bytes_and_usage(provider: str) -> None:
    for row in _rows(provider):
        if row["status"] != 200 or not isinstance(row["response"], dict):
            continue
        body = orjson.dumps(row["response"])
        if "error" in row["response"]:
            with pytest.raises(GatewayError) as caught:
                read_answer(body, None)
            assert caught.value.code == "content_policy_violation"
            continue
        passed, usage = read_answer(body, None)
        assert passed == body
        assert usage == read_usage(row["response"].get("usage"))
        renamed, _ = read_answer(body, "alias")
        expected = row["response"]
        if isinstance(expected.get("model"), str):
            expected = {**expected, "model": "alias"}
        assert orjson.loads(renamed) == expected


@pytest.mark.parametrize("provider", PROVIDERS)
def test_recorded_errors_are_told_apart(provider: str) -> None:
    for row in _rows(provider):
        if row["status"] < 400:
            continue
        raw = row["response"]
        body = orjson.dumps(raw) if isinstance(raw, dict) else str(raw).encode()
        error = read_error("p", row["status"], body)
        if row["status"] in (401, 403):
            assert error.code in ("upstream_auth", "content_policy_violation")
        elif row["status"] == 429:
            assert error.code in ("upstream_429", "upstream_quota")
        elif row["status"] < 500:
            assert error.failure.again in (Again.NEVER, Again.SPECIAL)
            assert error.status == row["status"]
            if isinstance(raw, dict) and isinstance(raw.get("error"), dict):
                assert orjson.loads(error.body("id")) == raw
        else:
            assert error.failure.again in (Again.SAME, Again.NEXT)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_recorded_requests_go_out_as_they_came_but_for_the_alias(provider: str) -> None:
    for row in _rows(provider):
        request = row["request"]
        if row["status"] != 200 or not isinstance(request, dict) or not isinstance(request.get("model"), str):
            continue
        endpoint = EMBEDDINGS if row["path"].partition("?")[0].endswith("/embeddings") else CHAT
        if endpoint is CHAT and "messages" not in request:
            continue
        body = orjson.dumps(request)
        document = read_request(endpoint, body)
        sent = orjson.loads(encode_request(body, document, "other", Variations()))
        expected = {**request, "model": "other"}
        if request.get("stream"):
            expected["stream_options"] = {**(request.get("stream_options") or {}), "include_usage": True}
        assert sent == expected
