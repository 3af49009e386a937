"""Ordinary logging: JSON lines, readable lines, no secrets."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest

from gateway.metrics import Metrics
from gateway.server.line_sink import LineSink
from gateway.server.logs import JsonFormatter, is_terminal, set_up_logging
from gateway.server.redact import Redactor

log = logging.getLogger("gateway.test")


class Output:
    """Logging set up on a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fd = os.open(path, os.O_CREAT | os.O_WRONLY)
        self.sink = LineSink(self.fd, Metrics.in_memory().log_lines_dropped.child())

    def lines(self) -> list[dict[str, object]]:
        return [orjson.loads(line) for line in self.path.read_bytes().splitlines()]


@pytest.fixture
def output(tmp_path: Path) -> Iterator[Output]:
    output = Output(tmp_path / "log")
    yield output
    output.sink.close()
    os.close(output.fd)


@contextmanager
def json_log(output: Output) -> Iterator[Output]:
    """JSON logging while it lasts. Not a fixture: pytest puts handlers of its own on the root between phases."""
    restore = set_up_logging(output.sink, Redactor(["hunter2-secret"]))
    try:
        yield output
    finally:
        restore()


def test_a_record_is_a_line_of_json_with_its_extra_fields(output: Output) -> None:
    with json_log(output) as written:
        log.warning("worker %d died", 3, extra={"exit_code": -9, "where": Path("/x")})
        (line,) = written.lines()
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", str(line.pop("ts")))
        assert line == {
            "level": "warning",
            "logger": "gateway.test",
            "msg": "worker 3 died",
            "exit_code": -9,
            "where": "/x",
        }


def test_an_exception_is_in_the_line_without_its_secrets(output: Output) -> None:
    with json_log(output) as written:
        try:
            raise RuntimeError("the key sk-live-0123456789abcdef was refused")
        except RuntimeError:
            log.exception("no luck with hunter2-secret", extra={"url": "https://u:pw-pw-pw@host/"})
        (line,) = written.lines()
        assert "RuntimeError" in str(line["exception"])
        text = written.path.read_text()
        for secret in ("0123456789abcdef", "hunter2", "pw-pw-pw"):
            assert secret not in text


def test_a_record_whose_arguments_do_not_fit_is_still_logged(output: Output) -> None:
    with json_log(output) as written:
        record = logging.makeLogRecord({"msg": "%d and %d", "args": (1,), "name": "gateway.test"})
        assert orjson.loads(JsonFormatter(Redactor()).format(record))["msg"] == "%d and %d"
        log.warning("lone surrogate \ud800")
        assert [line["msg"] for line in written.lines()] == ["lone surrogate ?"]


def test_a_record_that_cannot_be_formatted_is_reported(output: Output) -> None:
    with json_log(output) as written:

        class Odd:
            def __str__(self) -> str:
                raise ValueError("hunter2-secret")

        log.warning("x", extra={"odd": Odd()})
        assert written.lines()[0]["msg"] == "a log record failed: ValueError"


def test_libraries_that_talk_much_are_held_at_warning(output: Output) -> None:
    with json_log(output) as written:
        logging.getLogger("aiohttp.access").info("GET /")
        logging.getLogger("aiohttp.access").warning("odd")
        log.debug("detail")
        log.info("news")
        assert [line["msg"] for line in written.lines()] == ["odd", "news"]


def test_to_a_terminal_lines_are_readable(output: Output) -> None:
    restore = set_up_logging(output.sink, Redactor(), readable=True, level="DEBUG")
    try:
        log.debug("started on port %d", 8080)
        log.error("Authorization: Bearer abc.def-ghi")
    finally:
        restore()
    first, second = output.path.read_text().splitlines()
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3}  debug    started on port 8080", first)
    assert "abc.def" not in second


def test_the_logging_of_before_comes_back(output: Output) -> None:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    set_up_logging(output.sink, Redactor())()
    assert (root.handlers[:], root.level) == before


def test_an_unknown_level_is_refused(output: Output) -> None:
    before = logging.getLogger().handlers[:]
    with pytest.raises(ValueError, match="LOUD"):
        set_up_logging(output.sink, Redactor(), level="LOUD")
    assert logging.getLogger().handlers == before


def test_a_file_is_no_terminal(output: Output) -> None:
    assert not is_terminal(output.fd)
    assert not is_terminal(987)
