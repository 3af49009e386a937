"""The tool calls of an answer as their pieces come in. Pure."""

from __future__ import annotations

import orjson

from gateway.wire.dialect import Document
from gateway.wire.responses_stream_items import CallItem


class Call:
    """A tool call on its way. It becomes an item once its name is known."""

    __slots__ = ("_pieces", "call_id", "item", "name")

    def __init__(self) -> None:
        self.call_id = ""
        self.name = ""
        self.item: CallItem | None = None
        self._pieces: list[str] = []

    def add(self, call_id: str, name: str, arguments: str) -> None:
        """What one piece says of it; empty is what it does not say."""
        self.call_id = call_id or self.call_id
        self.name = self.name or name
        if arguments:
            self._pieces.append(arguments)

    def take_arguments(self) -> str:
        """The arguments that have come since they were last taken."""
        pieces, self._pieces = self._pieces, []
        return "".join(pieces)

    def is_whole(self) -> bool:
        """Can nothing come behind its arguments?"""
        if self.item is None or not self.item.ends_object:
            return False
        try:
            orjson.loads(self.item.arguments)
        except ValueError:
            return False
        return True


class Calls:
    """The tool calls of one answer, told apart by their index; a piece with another id begins another call."""

    __slots__ = ("_by_index", "all")

    def __init__(self) -> None:
        self.all: list[Call] = []
        self._by_index: dict[int, Call] = {}

    def take(self, piece: Document) -> Call:
        """The call that a `tool_calls` entry of a chunk belongs to, with what it says put in."""
        function = piece.get("function")
        function = function if isinstance(function, dict) else {}
        call_id = _text(piece.get("id"))
        call = self._find(piece.get("index"), call_id)
        call.add(call_id, _text(function.get("name")), _text(function.get("arguments")))
        return call

    def _find(self, index: object, call_id: str) -> Call:
        call = self.all[-1] if self.all else None
        if type(index) is int:  # some leave it out
            call = self._by_index.get(index)
        if call is not None and (not call_id or call.call_id in ("", call_id)):
            return call
        call = Call()
        self.all.append(call)
        if type(index) is int:
            self._by_index[index] = call
        return call


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
