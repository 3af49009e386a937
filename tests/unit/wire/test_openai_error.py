"""What an upstream's refusal means."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.wire.openai_error import error_event, read_error, redact


def _body(**detail: Any) -> bytes:
    return orjson.dumps({"error": detail})


@pytest.mark.parametrize(
    ("status", "body", "code", "shown_status"),
    [
        (400, _body(message="m", code="x"), "upstream_4xx", 400),
        (400, _body(message="This model's maximum context length is 10"), "context_length_exceeded", 400),
        (400, _body(message="Try more.", code=400, type="exceed_context_size_error"), "context_length_exceeded", 400),
        (400, _body(message="m", code="content_filter"), "content_policy_violation", 400),
        (403, _body(message="m", code="moderation_blocked"), "content_policy_violation", 403),
        (401, _body(message="m"), "upstream_auth", 502),
        (403, b"", "upstream_auth", 502),
        (402, b"", "upstream_quota", 429),
        (404, b"not json", "upstream_4xx", 404),
        (408, b"", "upstream_408", 408),
        (409, b"", "upstream_409", 409),
        (429, _body(message="m"), "upstream_429", 429),
        (429, _body(message="m", code="insufficient_quota"), "upstream_quota", 429),
        (500, b"<html>", "upstream_5xx", 502),
        (500, _body(message="m", code="context_length_exceeded"), "upstream_5xx", 502),
        (503, b"", "upstream_overloaded", 503),
        (529, b"", "upstream_overloaded", 503),
        (302, b"", "upstream_bad_answer", 502),
    ],
)
def test_each_status_has_its_meaning(status: int, body: bytes, code: str, shown_status: int) -> None:
    error = read_error("p", status, body)
    assert (error.code, error.status) == (code, shown_status)
    rendered = orjson.loads(error.body("id"))["error"]
    assert rendered["message"]


def test_a_client_error_in_openais_shape_keeps_its_bytes() -> None:
    body = b'{ "error": {"message":"api_key_invalid: pk_value key_not_found sk-learn", "extra":[1.0]} }'
    assert read_error("p", 400, body).body("id") == body


def test_a_client_error_in_another_shape_is_brought_into_openais() -> None:
    error = read_error("p", 422, b'{"object":"error","message":"bad field"}')
    assert orjson.loads(error.body("id"))["error"]["message"] == "bad field"


@pytest.mark.parametrize(
    "secret",
    [b"sk-proj-abc123def456", b"sk-************7890", b"gsk_12345678abcdef", b"xai-a1b2c3d4e5", b"Bearer ab12cd34ef"],
)
def test_what_looks_like_a_credential_is_never_shown(secret: bytes) -> None:
    assert redact(b"wrong key: " + secret + b" given") == b"wrong key: [redacted] given"
    error = read_error("p", 400, b'{"error":{"message":"wrong key: ' + secret + b'"}}')
    assert secret not in error.body("id")


def test_the_event_that_ends_a_stream_is_one_line_with_the_requests_id() -> None:
    error = read_error("p", 400, b'{"error":\n{"message":"a\\nb"}}')
    event = error_event(error, "the-id")
    assert event.count(b"\n") == 2
    assert orjson.loads(event[6:])["error"]["request_id"] == "the-id"


@given(st.integers(300, 599), st.binary(max_size=100) | st.just(b'{"error":{"message":{"a":[1]},"code":["x"]}}'))
def test_no_body_raises_anything(status: int, body: bytes) -> None:
    error = read_error("p", status, body)
    assert isinstance(error, GatewayError)
    assert 400 <= error.status < 600
