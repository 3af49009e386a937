"""What the log of bodies shows of end users, and how bodies are cut for it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.pipeline.call import Call, Reply
from gateway.pipeline.reporting import Reporting
from gateway.server.body_log import MAX_BYTES, BodyLog, _text
from gateway.wire.openai import CHAT

HASHED = Reporting(max_tags=5, max_users=5, hash_key=bytes(32))


def logged(reporting: Reporting, request: bytes, answer: bytes, caplog: pytest.LogCaptureFixture) -> tuple[str, str]:
    log = BodyLog("all", reporting)
    call = Call(CHAT, {}, request, "127.0.0.1")
    log.begin(call)
    with caplog.at_level("INFO", logger="gateway.bodies"):
        log.end(call, Reply(200, answer, []))
    record: Any = caplog.records[-1]
    return record.request, record.answer


def test_end_users_are_hashed_in_both_where_that_is_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    request = b'{"user": "ann\\u00e9", "user": "ann\\u00e9", "metadata": {"user_id": "ben"}, "model": "m"}'
    shown, answer = logged(HASHED, request, '{"user":"ann\u00e9","id":1}'.encode(), caplog)
    assert "ann" not in shown + answer
    assert "ben" not in shown
    assert orjson.loads(shown)["user"] == orjson.loads(answer)["user"] == HASHED.end_user({"user": "ann\u00e9"})


@pytest.mark.parametrize("request_", [b'{"user": "ann"', b'["ann"]', b"user=ann"])
def test_a_body_that_cannot_be_read_is_not_shown_then(request_: bytes, caplog: pytest.LogCaptureFixture) -> None:
    assert "ann" not in logged(HASHED, request_, b"refused", caplog)[0]


def test_bodies_are_shown_as_they_are_otherwise(caplog: pytest.LogCaptureFixture) -> None:
    plain = Reporting(max_tags=5, max_users=5)
    assert logged(plain, b'{"user": "ann"', b"refused", caplog) == ('{"user": "ann"', "refused")


@pytest.mark.parametrize("inside", [1, 5, 29])
def test_a_secret_that_the_cut_goes_through_is_not_logged_in_part(inside: int) -> None:
    secret = "Zq7-a-secret-of-thirty-letters"
    body = b'"' + b"x" * (MAX_BYTES - inside - 2) + b'"' + secret.encode() + b'" and more'
    text = _text(body)
    assert text.endswith('x"…')
    assert len(text) <= MAX_BYTES + 1


def test_a_body_that_is_not_cut_is_logged_whole() -> None:
    assert _text(b"x" * MAX_BYTES) == "x" * MAX_BYTES
