"""Changing one value inside JSON bytes without writing the rest anew: what is not ours to change stays as it was."""

from __future__ import annotations

import re

import orjson

_KEY = b'"model"'
_VALUE = re.compile(rb'"model"\s*:\s*("[^"\\]*(?:\\.[^"\\]*)*")')
# Whole strings, so that braces and keys inside them are passed over; unrolled, so that a long one costs no stack.
_TOKENS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\]]')
_OPENING = re.compile(rb"\s*\{")
# As much of an answer's end is read token by token to find out how deep the key before it stands.
_TAIL_BYTES = 8192


def replace_only_model(body: bytes, name: str) -> bytes | None:
    """`body` with the value of its one `"model"` key replaced by `name`; None unless there is exactly one."""
    start = body.find(_KEY)
    if start < 0 or body.find(_KEY, start + 1) >= 0:
        return None
    return _replaced(body, start, name)


def insert_member(body: bytes, member: bytes) -> bytes | None:
    """`body`, a non-empty JSON object, with `member` (`"key":value`) as its first; None if it does not open as one."""
    match = _OPENING.match(body)
    if match is None:
        return None
    return b"%b%b,%b" % (match.group(), member, body[match.end() :])


def replace_top_level_model(body: bytes, name: str) -> bytes:
    """`body`, a JSON object, with the value of its top-level `model` replaced by `name`, if it has one.

    The common cases are told from what stands before the key (one brace) or behind it (little); else the
    whole body is walked.
    """
    first = body.find(_KEY)
    if first < 0:
        return body
    last = body.rfind(_KEY)
    if first == last and body.count(b"{", 0, first) == 1:
        replaced = _replaced(body, first, name)
        if replaced is not None:
            return replaced
    if len(body) - last <= _TAIL_BYTES and _closes_after(body, last) == 1:
        replaced = _replaced(body, last, name)
        if replaced is not None:
            return replaced
    return _replace_by_walking(body, name)


def _replaced(body: bytes, start: int, name: str) -> bytes | None:
    # A string key that ends in `\"model"` is another key.
    match = _VALUE.match(body, start)
    if match is None or (start and body[start - 1] == 92):
        return None
    return b"".join((body[: match.start(1)], orjson.dumps(name), body[match.end(1) :]))


def _closes_after(body: bytes, start: int) -> int:
    """How many more braces and brackets close than open from `start`, a place outside strings, to the end."""
    closes = 0
    for token in _TOKENS.finditer(body, start):
        first = body[token.start()]
        if first in b"{[":
            closes -= 1
        elif first in b"}]":
            closes += 1
    return closes


def _replace_by_walking(body: bytes, name: str) -> bytes:
    depth = 0
    for token in _TOKENS.finditer(body):
        first = body[token.start()]
        if first in b"{[":
            depth += 1
        elif first in b"}]":
            depth -= 1
        elif depth == 1 and token.end() - token.start() == len(_KEY) and token.group() == _KEY:
            replaced = _replaced(body, token.start(), name)
            if replaced is not None:
                return replaced
    return body
