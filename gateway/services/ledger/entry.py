"""One attempt, and how it is written down: the journal's lines are rows in PostgreSQL's COPY text format."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final, Literal
from uuid import UUID
from zlib import crc32

from gateway.wire.usage import COUNTS, Usage

Outcome = Literal["ok", "error", "client_gone", "timeout", "cancelled", "unknown"]

# The columns of the staging table that each kind of record fills, in the order of its fields.
_SCOPE: Final = (
    "key_id",
    "team_id",
    "user_id",
    "provider_id",
    "model_id",
    "provider_name",
    "model_name",
    "target_model",
    "endpoint",
)
_HEAD: Final = ("request_id", "attempt", "started_us", *_SCOPE, "streamed")
# What not every attempt has. It stands last, in records of kinds of their own; a new column goes to the end here.
_DETAILS: Final = ("budget_period_ids", "end_user", "tags")
START_COLUMNS: Final = (*_HEAD, "input_tokens", "cost_nano_usd", *_DETAILS)
END_COLUMNS: Final = (
    *_HEAD,
    "final",
    "outcome",
    "status",
    "error_code",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "audio_input_tokens",
    "audio_output_tokens",
    "image_input_tokens",
    "image_output_tokens",
    "cost_nano_usd",
    "estimated",
    "duration_ms",
    "first_byte_ms",
    "search_units",
    *_DETAILS,
)

MAX_NAME_CHARS: Final = 500
_MAX_ERROR_CODE_CHARS: Final = 100
# An end record is never longer than its start record and this: 14 figures of at most 20 characters with
# their tabs, the error code, the rest.
END_MARGIN_BYTES: Final = 14 * 21 + _MAX_ERROR_CODE_CHARS + 64

START: Final = 83  # ord("S")
END: Final = 69  # ord("E")
DETAILED_START: Final = 66  # ord("B")
DETAILED_END: Final = 68  # ord("D")
PREFIX_BYTES: Final = 9  # the type's letter and eight hex digits of the checksum
# Makes a record that was turned into one of another kind fail its checksum.
_END_MARK: Final = 0x5A5A5A5A
_DETAILED_START_MARK: Final = 0x69696969
_DETAILED_END_MARK: Final = 0x3C3C3C3C
_MARKS: Final = {
    START: 0,
    END: _END_MARK,
    DETAILED_START: _DETAILED_START_MARK,
    DETAILED_END: _DETAILED_END_MARK,
}
_NULL: Final = r"\N"
_NULL_BYTES: Final = _NULL.encode()
_NULL_FIELD: Final = b"\t" + _NULL_BYTES
_NO_DETAILS: Final = _NULL_FIELD * len(_DETAILS)
_NO_UNITS_NOR_DETAILS: Final = b"\t0" + _NO_DETAILS
_MAX_BIGINT: Final = 2**63 - 1

_SPECIAL = re.compile("[\x00-\x1f\x7f\\\\]")
_QUOTED = re.compile(r'["\\]')  # inside an array's element
_ESCAPES: Final = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\x00": ""}


def escape(text: str, most_chars: int = MAX_NAME_CHARS) -> str:
    r"""`text` as one field of a COPY text row: backslash, tab, CR and LF escaped; NUL, which no text column holds,
    left out; lone surrogates, which UTF-8 cannot carry, replaced by `?`; cut at `most_chars`."""
    if len(text) > most_chars:
        text = text[:most_chars]
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()
    if _SPECIAL.search(text) is not None:
        text = _SPECIAL.sub(_escaped, text)
    return text


def _escaped(match: re.Match[str]) -> str:
    return _ESCAPES.get(match[0], match[0])


def render_scope(
    *,
    key_id: UUID | str | None,
    team_id: UUID | str | None,
    user_id: UUID | str | None,
    provider_id: UUID | str | None,
    model_id: UUID | str | None,
    provider_name: str,
    model_name: str,
    target_model: str,
    endpoint: str,
) -> str:
    """The part of a row that is the same for all attempts of one key at one target: worth caching by the caller.

    The ids are UUIDs or None; `model_name` is what the client asked for, `target_model` what the provider was asked.
    """
    ids = (key_id, team_id, user_id, provider_id, model_id)
    names = (provider_name, model_name, target_model, endpoint)
    return "\t".join(
        [*(r"\N" if value is None else escape(str(value)) for value in ids), *(escape(name) for name in names)]
    )


class Entry:
    """One attempt at a target: made before it is sent, completed before `Ledger.end`.

    `request_id` is a UUIDv7 in its usual 36 characters; (`request_id`, `attempt`) is unique. `started_us` is
    microseconds since the epoch and becomes the row's timestamp. `expected_prompt` tokens and `cost_nano_usd` as they
    stand at `Ledger.start` are what is booked if the worker dies before the end; `usage` is set before it. `final` is
    true for the one attempt whose outcome the client saw. `error_code` is a name from `gateway.errors`, or empty.
    `first_byte_ms` is -1 where none came. `budgets` are the ids of the budget_periods that its cost is added to, as
    PostgreSQL writes an array (`{12,15}`), or empty; `end_user` and `tags` are for reports. None of these three
    changes after the start. `indispensable` is an attempt whose row may not be dropped: a hard budget pays for it.
    """

    __slots__ = (
        "attempt",
        "budgets",
        "cost_nano_usd",
        "details",
        "duration_ms",
        "end_user",
        "error_code",
        "expected_prompt",
        "final",
        "first_byte_ms",
        "head",
        "head_crc",
        "indispensable",
        "offset",
        "outcome",
        "request_id",
        "reserved_bytes",
        "scope",
        "started_us",
        "status",
        "streamed",
        "tags",
        "usage",
    )

    def __init__(
        self,
        request_id: str,
        attempt: int,
        started_us: int,
        scope: str,
        streamed: bool = False,
        expected_prompt: int = 0,
        cost_nano_usd: int = 0,
        budgets: str = "",
        end_user: str = "",
        tags: tuple[str, ...] = (),
        indispensable: bool = False,
    ) -> None:
        self.request_id = request_id
        self.attempt = attempt
        self.started_us = started_us
        self.scope = scope
        self.streamed = streamed
        self.expected_prompt = expected_prompt
        self.cost_nano_usd = cost_nano_usd
        self.budgets = budgets
        self.end_user = end_user
        self.tags = tags
        self.indispensable = indispensable
        self.usage: Usage | None = None
        self.final = True
        self.outcome: Outcome = "ok"
        self.status = 0
        self.error_code = ""
        self.duration_ms = 0
        self.first_byte_ms = -1
        # The journal's own: the rendered head, its checksum and the rendered details, where the start record lies,
        # bytes kept for the end record.
        self.head = b""
        self.head_crc = 0
        self.details = b""
        self.offset = -1
        self.reserved_bytes = 0


def start_record(entry: Entry) -> bytes:
    """The line that says an attempt is about to be sent; also sets `entry.head` and `entry.details`."""
    entry.head = head = b"%b\t%d\t%d\t%b\t%b" % (
        entry.request_id.encode(),
        entry.attempt,
        entry.started_us,
        entry.scope.encode(),
        b"t" if entry.streamed else b"f",
    )
    entry.head_crc = head_crc = crc32(head)
    tail = b"\t%d\t%d" % (entry.expected_prompt, entry.cost_nano_usd)
    if entry.budgets or entry.tags or entry.end_user:
        entry.details = _details(entry)
        tail += entry.details
        return b"B%08x%b%b\n" % (crc32(tail, head_crc) ^ _DETAILED_START_MARK, head, tail)
    return b"S%08x%b%b\n" % (crc32(tail, head_crc), head, tail)


def end_record(entry: Entry) -> bytes:
    """The line that is the attempt's row. Needs `entry.head`, so comes after `start_record`.

    One without search units and details stays as it was before there were any: a worker of that version can read it.
    """
    usage = entry.usage or Usage()
    code = entry.error_code
    first = entry.first_byte_ms
    if usage.cached or usage.reasoning or usage.cache_write or usage.audio_in or usage.audio_out or usage.image_in:
        parts = b"%d\t%d\t%d\t%d\t%d\t%d" % (
            usage.cached,
            usage.cache_write,
            usage.reasoning,
            usage.audio_in,
            usage.audio_out,
            usage.image_in,
        )
    else:
        parts = b"0\t0\t0\t0\t0\t0"
    tail = b"\t%b\t%b\t%d\t%b\t%d\t%d\t%b\t%d\t%d\t%b\t%d\t%b" % (
        b"t" if entry.final else b"f",
        entry.outcome.encode(),
        entry.status,
        _plain_code(code) if code else _NULL_BYTES,
        usage.prompt,
        usage.completion,
        parts,
        usage.image_out,
        entry.cost_nano_usd,
        b"t" if usage.estimated else b"f",
        entry.duration_ms,
        b"%d" % first if first >= 0 else _NULL_BYTES,
    )
    if entry.details or usage.search_units:
        tail += b"\t%d%b" % (usage.search_units, entry.details or _NO_DETAILS)
        return b"D%08x%b%b\n" % (crc32(tail, entry.head_crc) ^ _DETAILED_END_MARK, entry.head, tail)
    return b"E%08x%b%b\n" % (crc32(tail, entry.head_crc) ^ _END_MARK, entry.head, tail)


def whole_row(entry: Entry) -> bytes:
    """The fields of `END_COLUMNS` for an attempt that is over, of which no journal has a record; its figures are
    brought into what a column holds. A cost below zero, which gives back, is the gateway's own and kept."""
    start_record(entry)
    record = end_record(entry) if entry.cost_nano_usd < 0 else bounded_end_record(entry)
    row = end_row(record[:-1])
    assert row is not None
    return row


def end_row(record: bytes) -> bytes | None:
    """The fields of `END_COLUMNS` in an end record of either kind, without its newline; None for a start record."""
    kind = record[0]
    if kind == END:
        return record[PREFIX_BYTES:] + _NO_UNITS_NOR_DETAILS
    return _fitted(record[PREFIX_BYTES:], len(END_COLUMNS)) if kind == DETAILED_END else None


def start_row(record: bytes) -> bytes:
    """The fields of `START_COLUMNS` in a start record of either kind, without its newline."""
    if record[0] == START:
        return record[PREFIX_BYTES:] + _NO_DETAILS
    return _fitted(record[PREFIX_BYTES:], len(START_COLUMNS))


def _fitted(row: bytes, columns: int) -> bytes:
    """A detailed row of any version: details that it does not know are null, those unknown here are passed over."""
    missing = columns - 1 - row.count(b"\t")
    if missing < 0:
        return b"\t".join(row.split(b"\t", columns)[:columns])
    return row + _NULL_FIELD * missing


def _details(entry: Entry) -> bytes:
    budgets = entry.budgets or _NULL
    user = escape(entry.end_user) if entry.end_user else _NULL
    tags = _NULL
    if entry.tags:
        quoted = ",".join('"' + _QUOTED.sub(r"\\\g<0>", tag[:MAX_NAME_CHARS]) + '"' for tag in entry.tags)
        tags = "{" + escape(quoted, len(quoted)) + "}"
    return f"\t{budgets}\t{user}\t{tags}".encode()


def _plain_code(code: str) -> bytes:
    return (code if code.isidentifier() else escape(code[: _MAX_ERROR_CODE_CHARS // 2])).encode()


def bounded_end_record(entry: Entry) -> bytes:
    """`end_record` for an entry whose figures are out of all bounds: each is brought into what a BIGINT holds."""
    usage = entry.usage = replace(entry.usage) if entry.usage is not None else Usage()
    for name in COUNTS:
        setattr(usage, name, _clamp(getattr(usage, name)))
    entry.cost_nano_usd = _clamp(entry.cost_nano_usd)
    entry.duration_ms = min(_clamp(entry.duration_ms), 2**31 - 1)
    entry.first_byte_ms = min(entry.first_byte_ms, 2**31 - 1)
    entry.status = min(_clamp(entry.status), 2**15 - 1)
    entry.error_code = entry.error_code[: _MAX_ERROR_CODE_CHARS // 2]
    return end_record(entry)


def _clamp(figure: int) -> int:
    return min(max(figure, 0), _MAX_BIGINT)


def is_intact(line: bytes) -> bool:
    """Is `line` (without its newline) a whole record, as its checksum says?"""
    if len(line) <= PREFIX_BYTES or (mark := _MARKS.get(line[0])) is None:
        return False
    return line[1:PREFIX_BYTES] == b"%08x" % (crc32(line[PREFIX_BYTES:]) ^ mark)
