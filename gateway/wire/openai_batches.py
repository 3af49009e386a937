"""Batches as their providers tell of them: whether one has ended, and what it used. Pure.

Fields as in https://platform.openai.com/docs/api-reference/batch (read 2026-11).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gateway.wire.dialect import Document
from gateway.wire.openai import read_usage
from gateway.wire.openai_error import parse_object
from gateway.wire.usage import COUNTS, Usage

_ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
_MAX_NAME_CHARS = 256
_MAX_SHARES = 100
_MAX_COUNT = 2**53
# A line is one request's answer; only pictures come near this.
MAX_LINE_BYTES = 16_777_216

# The price tier of a prompt of so many tokens to a model: the tokens above which it begins, 0 for the plain price.
Tier = Callable[[str, int], int]


@dataclass(frozen=True, slots=True)
class BatchState:
    """What a batch object says: `model` is empty and `usage` None where it does not tell them.

    `answered` is the number of requests that were carried out.
    """

    ended: bool
    model: str
    usage: Usage | None
    output_file_id: str | None
    answered: int


@dataclass(frozen=True, slots=True)
class Share:
    """What a batch used of one model, in requests of one price tier (see `Tier`)."""

    model: str
    tier: int
    usage: Usage


def read_batch(document: Document) -> BatchState:
    """The state that a batch object tells of; what cannot be read counts as not said."""
    status = document.get("status")
    output = document.get("output_file_id")
    counts = document.get("request_counts")
    answered = counts.get("completed") if isinstance(counts, dict) else None
    usage = read_usage(document.get("usage"))
    return BatchState(
        # Others who offer this API write the words in capitals.
        ended=isinstance(status, str) and status.lower() in _ENDED,
        model=_name(document.get("model")),
        # It is filled in when the batch has ended, and all zero until then.
        usage=usage if usage is not None and (usage.prompt or usage.completion) else None,
        output_file_id=output if isinstance(output, str) and output else None,
        answered=answered if type(answered) is int else 0,
    )


class OutputReader:
    """Adds up what the lines of a batch's output file used, by model and price tier: `feed` its bytes, then `finish`.

    No more than a line is held. A line of a request that failed costs nothing; one that does not say what it used, or
    cannot be read, marks its model's share as estimated.
    """

    def __init__(self, tier: Tier) -> None:
        self._tier = tier
        self._line = bytearray()
        self._too_long = False
        self._used: dict[tuple[str, int], Usage] = {}

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the file, cut anywhere."""
        *whole, rest = data.split(b"\n")
        for piece in whole:
            self._append(piece)
            self._end_line()
        self._append(rest)

    def finish(self) -> list[Share]:
        """The shares, in the order in which the file first names them."""
        self._end_line()
        return [Share(model, tier, usage) for (model, tier), usage in self._used.items()]

    def _append(self, piece: bytes) -> None:
        if len(self._line) + len(piece) > MAX_LINE_BYTES:
            self._too_long = True
            self._line.clear()
        elif not self._too_long:
            self._line += piece

    def _end_line(self) -> None:
        line, too_long = bytes(self._line), self._too_long
        self._line.clear()
        self._too_long = False
        if too_long:
            self._add("", Usage(estimated=True))
        elif line.strip():
            self._read(line)

    def _read(self, line: bytes) -> None:
        document = parse_object(line) or {}
        response = document.get("response")
        response = response if isinstance(response, dict) else {}
        body = response.get("body")
        body = body if isinstance(body, dict) else {}
        status = response.get("status_code")
        usage = read_usage(body.get("usage"))
        if usage is not None:
            self._add(_name(body.get("model")), usage)
        elif not document.get("error") and not (isinstance(status, int) and status >= 300):
            self._add(_name(body.get("model")), Usage(estimated=True))

    def _add(self, model: str, usage: Usage) -> None:
        key = (model, self._tier(model, usage.prompt))
        if key not in self._used and len(self._used) >= _MAX_SHARES:
            key = ("", 0)
        total = self._used.setdefault(key, Usage())
        for count in COUNTS:
            setattr(total, count, min(getattr(total, count) + getattr(usage, count), _MAX_COUNT))
        total.estimated = total.estimated or usage.estimated


def _name(value: object) -> str:
    return value if isinstance(value, str) and len(value) <= _MAX_NAME_CHARS and value.isprintable() else ""
