"""Changing one value inside JSON bytes without writing the rest anew."""

from __future__ import annotations

import re

import orjson

# A key cannot stand inside a JSON string: its quotes would be escaped there.
_MODEL = re.compile(rb'"model"\s*:\s*"((?:[^"\\]|\\.)*)"')
_FIRST_KEY_MODEL = re.compile(rb'\s*\{\s*"model"\s*:\s*"((?:[^"\\]|\\.)*)"')
_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\]]')


def replace_leading_model(body: bytes, name: str) -> bytes | None:
    """`body` with the value of its first key replaced by `name`, if that key is `model`; else None.

    Only the first key is certain to be at the top level without reading the rest.
    """
    match = _FIRST_KEY_MODEL.match(body)
    if match is None:
        return None
    return b"".join((body[: match.start(1) - 1], orjson.dumps(name), body[match.end() :]))


def replace_top_level_model(body: bytes, name: str) -> bytes:
    """`body`, a JSON object, with the value of its top-level `model` replaced by `name`, if it has one."""
    if body.count(b'"model"') == 1:
        match = _MODEL.search(body)
        depth_known = match is not None and body.count(b"{", 0, match.start()) == 1
        if match is not None and depth_known:
            return b"".join((body[: match.start(1) - 1], orjson.dumps(name), body[match.end() :]))
    return _replace_by_walking(body, name)


def _replace_by_walking(body: bytes, name: str) -> bytes:
    depth = 0
    for token in _TOKENS.finditer(body):
        first = body[token.start()]
        if first in b"{[":
            depth += 1
        elif first in b"}]":
            depth -= 1
        elif depth == 1 and token.group() == b'"model"':
            match = _MODEL.match(body, token.start())
            if match is not None:
                return b"".join((body[: match.start(1) - 1], orjson.dumps(name), body[match.end() :]))
    return body
