"""Ids of tool calls for providers that want each of them once.

Claude answers 400 to a conversation in which two calls have the same id ("`tool_use` ids must be unique",
https://github.com/BerriAI/litellm/issues/23510, read 2026-11), but there are servers that begin anew with every answer
(`0`, `call_0`) or call by the tool's name.
"""

from __future__ import annotations

from collections.abc import Callable


class CallIds:
    """Writes the ids of one conversation; `plain` makes of any id one that the provider takes, always the same.

    Only an id that was there before becomes another, and the same one however long the conversation grows.
    """

    __slots__ = ("_numbers", "_plain", "_taken", "_waiting")

    def __init__(self, plain: Callable[[str], str]) -> None:
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
