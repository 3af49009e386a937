"""The line of a finished request."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.metrics import Metrics
from gateway.server.finished import Attempt, FinishedRequest
from gateway.server.line_sink import LineSink
from gateway.server.redact import Redactor
from gateway.server.request_log import RequestLog

REQUEST_ID = "0193f0a2-1111-7000-8000-000000000000"


class Lines:
    """A request log on a pipe, and what came out of it."""

    def __init__(self) -> None:
        self.metrics = Metrics.in_memory()
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        self.sink = LineSink(self._write, self.metrics.log_lines_dropped.child())

    def log(self, *, sample: float = 1.0, readable: bool = False) -> RequestLog:
        counter = self.metrics.log_lines_sampled_out.child()
        return RequestLog(self.sink, counter, Redactor(), sample=sample, readable=readable)

    def text(self) -> str:
        self.sink.flush()
        try:
            return os.read(self._read, 1 << 20).decode()
        except BlockingIOError:
            return ""

    def close(self) -> None:
        self.sink.close()
        os.close(self._read)
        os.close(self._write)


@pytest.fixture
def lines() -> Iterator[Lines]:
    lines = Lines()
    yield lines
    lines.close()


def finished(status: int = 200, code: str | None = None, **more: object) -> FinishedRequest:
    record = FinishedRequest(REQUEST_ID, "chat", status, 1_700_000_000.25, 500.0, code=code)
    for name, value in more.items():
        setattr(record, name, value)
    return record


def test_a_finished_request_is_one_line_of_json_with_every_field(lines: Lines) -> None:
    lines.log().write(
        finished(
            client_request_id="job-7.a_b",
            model="gpt",
            provider="openai",
            target="openai/gpt-4o",
            attempts=1,
            attempts_log=[Attempt("openai", "openai/gpt-4o", "ok", 0.0, 490.0)],
            stream=True,
            prompt_tokens=3,
            completion_tokens=4,
            cost_nano_usd=12_000_000_034,
            upstream_ms=490.1239,
            ttft_ms=100.5,
            key_id="k",
            client_ip="::1",
        )
    )
    text = lines.text()
    assert text.endswith("}\n")
    assert text.count("\n") == 1
    assert orjson.loads(text) == {
        "ts": "2023-11-14T22:13:20.750Z",
        "level": "info",
        "msg": "request",
        "request_id": REQUEST_ID,
        "client_request_id": "job-7.a_b",
        "endpoint": "chat",
        "model": "gpt",
        "provider": "openai",
        "target": "openai/gpt-4o",
        "status": 200,
        "code": None,
        "attempts": 1,
        "stream": True,
        "prompt_tokens": 3,
        "completion_tokens": 4,
        "cost_usd": 12.000000034,
        "duration_ms": 500.0,
        "upstream_ms": 490.124,
        "ttft_ms": 100.5,
        "key_id": "k",
        "client_ip": "::1",
    }


def test_the_cost_is_exact_to_the_nano_dollar(lines: Lines) -> None:
    lines.log().write(finished(cost_nano_usd=1))
    assert '"cost_usd":0.000000001,' in lines.text()


def test_attempts_that_failed_are_told_in_order(lines: Lines) -> None:
    story = [Attempt("a", "a/m", "upstream_429", 0.0, 12.0), Attempt("b", "b/m", "ok", 0.0, 30.0)]
    lines.log().write(finished(attempts=2, attempts_log=story))
    assert orjson.loads(lines.text())["attempts_log"] == [
        {"provider": "a", "target": "a/m", "outcome": "upstream_429", "ms": 12.0},
        {"provider": "b", "target": "b/m", "outcome": "ok", "ms": 30.0},
    ]


@pytest.mark.parametrize(
    ("status", "code", "level"),
    [(200, None, "info"), (200, "upstream_truncated", "warning"), (404, "x", "warning"), (502, "x", "error")],
)
def test_the_level_tells_whose_failure_it_is(lines: Lines, status: int, code: str | None, level: str) -> None:
    lines.log().write(finished(status, code))
    assert orjson.loads(lines.text())["level"] == level


def test_sampling_leaves_out_an_even_share_of_successes_and_counts_them(lines: Lines) -> None:
    log = lines.log(sample=0.25)
    for _ in range(100):
        log.write(finished())
    assert lines.text().count("\n") == 25
    assert lines.metrics.total("log_lines_sampled_out_total") == 75


def test_failures_are_logged_whatever_the_sampling(lines: Lines) -> None:
    log = lines.log(sample=0.0)
    log.write(finished())
    log.write(finished(500, "internal_error"))
    log.write(finished(200, "upstream_truncated"))
    assert lines.text().count("\n") == 2
    log.set_sample(1.0)
    log.write(finished())
    assert lines.text().count("\n") == 1


@given(st.text(), st.text(), st.text())
def test_any_text_a_client_sends_stays_one_line_of_valid_json(model: str, client_id: str, code: str) -> None:
    lines = Lines()
    try:
        lines.log().write(finished(model=model, client_request_id=client_id, code=code))
        text = lines.text()
        assert text.count("\n") == 1
        assert orjson.loads(text)["model"] is not None
        lines.log(readable=True).write(finished(model=model))
        assert len(lines.text().splitlines()) == 1
    finally:
        lines.close()


def test_a_credential_sent_as_a_models_name_is_not_logged(lines: Lines) -> None:
    lines.log().write(finished(model="sk-proj-abcdefghijkl"))
    assert "abcdefghijkl" not in lines.text()


def test_what_is_kept_of_names_is_bounded(lines: Lines) -> None:
    log = lines.log()
    for n in range(5000):
        log.write(finished(model=f"m{n}", client_ip=f"ip{n}"))
        lines.text()
    assert max(len(log._names), len(log._callers)) <= 2048


def test_to_a_terminal_the_line_is_readable(lines: Lines) -> None:
    story = [Attempt("a", "a/m", "upstream_429", 0.0, 12.0), Attempt("b", "b/m", "ok", 0.0, 30.0)]
    lines.log(readable=True).write(
        finished(model="gpt\x1b[2J", provider="b", prompt_tokens=3, completion_tokens=4, attempts_log=story)
    )
    text = lines.text()
    assert re.match(r"22:13:20\.750  200 chat  gpt\?\[2J  -> b  500\.0 ms", text)
    assert "tried a upstream_429, b ok" in text
