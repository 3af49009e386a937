"""llmock's verdict on the gateway as a client: faults of every kind, through unmodified calls."""

from __future__ import annotations

import itertools
from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.acceptance.served import Served, call

_numbers = itertools.count()


def _ask(served: Served, *, stream: bool) -> str:
    """One call with a body of its own, so that llmock can tell it from others; 'failed' where an error came."""
    prompt = f"Question {next(_numbers)}: what is a container network, please?"
    with OpenAI(base_url=served.v1, api_key=served.key, max_retries=2) as client:
        try:
            if not stream:
                answer = client.chat.completions.create(model="small", messages=[{"role": "user", "content": prompt}])
                return answer.choices[0].message.content or ""
            chunks = client.chat.completions.create(
                model="small", messages=[{"role": "user", "content": prompt}], stream=True
            )
            return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        except (openai.APIError, ValueError):  # ValueError: an event that is no JSON, passed on as it came
            return "failed"


def _errors(served: Served, *, but: str = "") -> list[dict[str, Any]]:
    _, _, verdict = call("GET", served.mock.url + "/_llmock/verdict")
    return [found for found in verdict["findings"] if found["severity"] == "error" and found["code"] != but]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_short_outage_is_bridged_unseen(served: Served, status: int, stream: bool) -> None:
    for behavior in (
        {"type": "fail", "status": status, "times": 2},
        {"type": "fail", "status": status, "retry_after": 0.3, "times": 1},
    ):
        served.script(behavior)
        assert _ask(served, stream=stream) not in ("", "failed")
        assert _errors(served) == []


@pytest.mark.parametrize("stream", [False, True])
def test_a_long_outage_is_not_made_worse(served: Served, stream: bool) -> None:
    for behavior in (
        {"type": "fail", "status": 503, "times": None},
        {"type": "fail", "status": 429, "retry_after": 600, "times": None},
        {"type": "fail", "status": 400, "times": None},
    ):
        served.script(behavior)
        assert [_ask(served, stream=stream) for _ in range(3)] == ["failed"] * 3
        assert _errors(served) == []
        _, _, seen = call("GET", served.mock.url + "/_llmock/requests")
        assert seen["count"] <= 9


@pytest.mark.parametrize("kind", ["stall", "disconnect", "truncate"])
def test_a_stream_that_breaks_is_an_error_to_the_client_and_never_sent_again(served: Served, kind: str) -> None:
    served.script({"type": "stream_fault", "kind": kind, "after_chunks": 3, "stall_seconds": 5})
    assert _ask(served, stream=True) == "failed"
    assert _errors(served, but="truncated_stream_accepted") == []
    _, _, seen = call("GET", served.mock.url + "/_llmock/requests")
    assert seen["count"] == 1


@pytest.mark.parametrize("kind", ["disconnect", "truncate"])
def test_a_stream_that_breaks_before_its_first_event_is_sent_again_unseen(served: Served, kind: str) -> None:
    served.script({"type": "stream_fault", "kind": kind, "after_chunks": 0})
    assert _ask(served, stream=True) not in ("", "failed")
    assert _errors(served) == []


def test_a_stream_whose_first_event_is_malformed_is_refused_before_anything_is_shown(served: Served) -> None:
    served.script({"type": "stream_fault", "kind": "malformed", "after_chunks": 0})
    body = {"model": "small", "stream": True, "messages": [{"role": "user", "content": "x"}]}
    status, _, answer = call("POST", served.v1 + "/chat/completions", body, served.key)
    assert status == 502
    assert answer["error"]["code"] == "upstream_bad_answer"
    assert _errors(served) == []


def test_a_malformed_event_is_never_taken_for_a_good_stream(served: Served) -> None:
    served.script({"type": "stream_fault", "kind": "malformed", "after_chunks": 3})
    assert _ask(served, stream=True) == "failed"
    assert _errors(served, but="truncated_stream_accepted") == []


def test_the_last_event_of_a_broken_stream_is_an_error_with_the_requests_id(served: Served) -> None:
    served.script({"type": "stream_fault", "kind": "disconnect", "after_chunks": 2})
    body = {"model": "small", "stream": True, "messages": [{"role": "user", "content": "x"}]}
    status, headers, text = call("POST", served.v1 + "/chat/completions", body, served.key)
    assert status == 200
    events = text.strip().split(b"\n\n")
    assert b'"error"' in events[-1]
    assert headers["x-request-id"].encode() in events[-1]
    assert b"[DONE]" not in text
