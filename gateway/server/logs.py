"""The set-up of ordinary logging: JSON lines on stderr, readable ones to a terminal, secrets masked."""

from __future__ import annotations

import logging
import os
import time
import traceback
from collections.abc import Callable
from typing import Final

import orjson

from gateway.server.line_sink import LineSink

# What a LogRecord always has: anything else came from the caller's `extra`.
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}

_NOISY: Final = ("aiohttp.access", "asyncio", "opentelemetry")


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON: ts, level, logger, msg, the caller's `extra`, exception."""

    def __init__(self, redact: Callable[[str], str]) -> None:
        super().__init__()
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        """The line without its newline, every text redacted."""
        line: dict[str, object] = {
            "ts": _rfc3339(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": self._clean(_message(record)),
        }
        for name, value in record.__dict__.items():
            if name not in _STANDARD:
                line[name] = value if isinstance(value, (int, float, bool)) else self._clean(str(value))
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = self._clean("".join(traceback.format_exception(*record.exc_info)))
        return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()

    def _clean(self, text: str) -> str:
        return self._redact(text).encode("utf-8", "replace").decode()


class TextFormatter(logging.Formatter):
    """A record as a person reads it: time, level, message, exception."""

    def __init__(self, redact: Callable[[str], str]) -> None:
        super().__init__()
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        """The text without its last newline, redacted."""
        text = f"{_rfc3339(record.created)[11:23]}  {record.levelname.lower():7}  {_message(record)}"
        if record.exc_info and record.exc_info[0] is not None:
            text += "\n" + "".join(traceback.format_exception(*record.exc_info)).rstrip()
        return self._redact(text).encode("utf-8", "replace").decode()


class SinkHandler(logging.Handler):
    """Hands records to the sink that the request log writes to as well, so that lines never mix."""

    def __init__(self, sink: LineSink, formatter: logging.Formatter) -> None:
        super().__init__()
        self._sink = sink
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record's line; a record that cannot be formatted is reported as such, never raised."""
        try:
            line = self.format(record)
        except Exception as error:
            line = f'{{"level":"error","logger":"gateway.logs","msg":"a log record failed: {type(error).__name__}"}}'
        self._sink.write_now(line.encode() + b"\n")


def set_up_logging(
    sink: LineSink, redact: Callable[[str], str], *, level: str = "INFO", readable: bool = False
) -> Callable[[], None]:
    """Send all of `logging` to `sink`; returns what restores the state before.

    Replaces the root logger's handlers. `level` is a name of the logging module; libraries that talk
    much are held at WARNING at least. Raises ValueError for an unknown level.
    """
    root = logging.getLogger()
    before = root.handlers[:], root.level, {name: logging.getLogger(name).level for name in _NOISY}
    formatter = TextFormatter(redact) if readable else JsonFormatter(redact)
    root.setLevel(level)
    root.handlers[:] = [SinkHandler(sink, formatter)]
    for name in _NOISY:
        logging.getLogger(name).setLevel(max(root.level, logging.WARNING))

    def restore() -> None:
        root.handlers[:], level_before, noisy = before
        root.setLevel(level_before)
        for name, value in noisy.items():
            logging.getLogger(name).setLevel(value)

    return restore


def is_terminal(fd: int) -> bool:
    """Does a person read this descriptor? Then lines are readable instead of JSON."""
    try:
        return os.isatty(fd)
    except OSError:
        return False


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # arguments that do not fit: the line must still come
        return str(record.msg)


def _rfc3339(at: float) -> str:
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(at))}.{int(at % 1 * 1000):03d}Z"
