"""What a caller says of a request for reports: tags, and whom it is for. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from gateway.errors import GatewayError

HEADER: Final = b"x-gateway-tags"
MAX_TAGS: Final = 10
MAX_TAG_CHARS: Final = 64
# Claude Code's `user_id` is some 150 characters long; Anthropic allows 256:
# https://docs.anthropic.com/en/api/messages (read 2026-11)
MAX_USER_CHARS: Final = 256

# The first is a letter or a digit: a spreadsheet takes other beginnings for formulas.
_TAG: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@=+-]{0,63}", re.ASCII)
_ASKED: Final = "1 to 64 letters, digits and . _ : / @ = + -, the first of them a letter or digit"


def read_tags(header: bytes | None, document: Mapping[str, object]) -> tuple[str, ...]:
    """The tags in the header `x-gateway-tags` (with commas between) and in the body's `metadata.tags`, each once.

    A `metadata.tags` that is no list is the caller's own affair. Raises GatewayError(invalid_field) for a bad tag and
    for more than ten.
    """
    tags: dict[str, None] = {}
    if header:
        for piece in header.decode("latin-1").split(","):
            if text := piece.strip(" \t"):
                tags[_tag(text, HEADER.decode())] = None
    metadata = document.get("metadata")
    given = metadata.get("tags") if isinstance(metadata, dict) else None
    if isinstance(given, list):
        if len(given) > MAX_TAGS:
            raise _too_many("metadata.tags")
        for each in given:
            tags[_tag(each, "metadata.tags")] = None
    if len(tags) > MAX_TAGS:
        raise _too_many(HEADER.decode())
    return tuple(tags)


def read_user(document: Mapping[str, object]) -> str:
    """The body's `user`, or (Anthropic) `metadata.user_id`; empty where it names none.

    Raises GatewayError(invalid_field) for what is no string, is longer than 256 characters or is not printable.
    """
    name = "user"
    user = document.get("user")
    if user is None:
        metadata = document.get("metadata")
        if not isinstance(metadata, dict) or (user := metadata.get("user_id")) is None:
            return ""
        name = "metadata.user_id"
    if not isinstance(user, str) or len(user) > MAX_USER_CHARS or not user.isprintable():
        message = f"`{name}` must be a string of at most {MAX_USER_CHARS} printable characters."
        raise GatewayError("invalid_field", message, param=name)
    return user


def _tag(text: object, where: str) -> str:
    if not isinstance(text, str) or _TAG.fullmatch(text) is None:
        raise GatewayError("invalid_field", f"`{where}`: a tag is {_ASKED}.", param=where)
    return text


def _too_many(where: str) -> GatewayError:
    return GatewayError("invalid_field", f"`{where}`: at most {MAX_TAGS} tags.", param=where)
