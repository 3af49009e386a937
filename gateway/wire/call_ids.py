"""Ids of tool calls as providers take them: of a length that they allow, and each of them once.

Who limits their length: OpenAI (40 at most) and Mistral ("must be a-z, A-Z, 0-9, with a length of 9",
https://github.com/anomalyco/opencode/issues/1680, read 2026-11), while Cohere's begin with the tool's name, and vLLM's
have 46 characters. An id that is too long or of another kind becomes one that fits, always the same for the same, so
that a conversation from elsewhere goes on however long it grows.

Claude answers 400 to a conversation in which two calls have the same id ("`tool_use` ids must be unique",
https://github.com/BerriAI/litellm/issues/23510, read 2026-11), but there are servers that begin anew with every answer
(`0`, `call_0`) or call by the tool's name.
"""

from __future__ import annotations

import hashlib
from base64 import b32encode
from collections.abc import Callable
from typing import Any

from gateway.wire.dialect import Document

# Makes of any id one that a provider takes, always the same for the same; itself where it takes that.
PlainId = Callable[[str], str]
_DIGEST_CHARACTERS = 12


def no_longer_than(most: int) -> PlainId:
    """Ids of at most `most` characters, more than a dozen: what is longer keeps its beginning."""

    def plain(given: str) -> str:
        if len(given) <= most:
            return given
        digest = hashlib.sha256(given.encode(errors="replace")).hexdigest()[:_DIGEST_CHARACTERS]
        return f"{given[: most - _DIGEST_CHARACTERS - 1]}_{digest}"

    return plain


def exactly(characters: int) -> PlainId:
    """Ids of `characters` letters and digits (at most 52); any other becomes as many of its digest's, 5 bits each."""

    def plain(given: str) -> str:
        if len(given) == characters and given.isalnum() and given.isascii():
            return given
        return b32encode(hashlib.sha256(given.encode(errors="replace")).digest()).decode()[:characters]

    return plain


def with_plain_ids(message: Document, plain: PlainId) -> Document:
    """`message` with the ids of its calls, or of the call that it answers, as `plain` has them; maybe itself."""
    answered = message.get("tool_call_id")
    if type(answered) is str and (new := plain(answered)) != answered:
        message = {**message, "tool_call_id": new}
    calls = message.get("tool_calls")
    if type(calls) is list:
        changed = [_with_plain_id(call, plain) for call in calls]
        if any(new is not old for new, old in zip(changed, calls, strict=True)):
            message = {**message, "tool_calls": changed}
    return message


def _with_plain_id(call: Any, plain: PlainId) -> Any:
    given = call.get("id") if type(call) is dict else None
    if type(given) is not str or (new := plain(given)) == given:
        return call
    return {**call, "id": new}


class CallIds:
    """Writes the ids of one conversation; `plain` makes of any id one that the provider takes, always the same.

    Only an id that was there before becomes another, and the same one however long the conversation grows.
    """

    __slots__ = ("_numbers", "_plain", "_taken", "_waiting")

    def __init__(self, plain: PlainId) -> None:
        self._plain = plain
        self._taken: set[str] = set()
        # Up to which number each id has been tried: no client can have one tried twice.
        self._numbers: dict[str, int] = {}
        # By the id given, those that were written for it in the last message with calls.
        self._waiting: dict[str, list[str]] = {}

    def begin_turn(self) -> None:
        """A message with calls begins: the results that follow are of its calls."""
        self._waiting.clear()

    def call(self, given: str) -> str:
        """The id to write for a call."""
        written = self._plain(given)
        while written in self._taken:
            number = self._numbers[given] = self._numbers.get(given, 1) + 1
            written = self._plain(f"{given}_{number}")
        self._taken.add(written)
        self._waiting.setdefault(given, []).append(written)
        return written

    def answered(self, given: str) -> str:
        """The id to write for the call that a result names; results for calls of the same id come in their order."""
        waiting = self._waiting.get(given)
        if waiting is None:
            return self._plain(given)
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]
