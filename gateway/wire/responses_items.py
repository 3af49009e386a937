"""The items of a Responses request as chat messages. Pure.

What a model said in one turn is one item after another there (reasoning, message, function calls) and one message
here; https://platform.openai.com/docs/guides/migrate-to-responses (read 2026-11).
"""

from __future__ import annotations

from typing import Any

from gateway.wire.checks import as_list, as_object, invalid, missing, required_text, unsupported
from gateway.wire.dialect import Document
from gateway.wire.responses_parts import INPUT, OUTPUT, plain, read_parts
from gateway.wire.responses_reasoning import Details, read_reasoning

_ROLES = frozenset({"user", "system", "developer"})


def messages_of(items: list[Any], field: str = "input") -> list[Document]:
    """The chat messages that `items`, oldest first, amount to.

    Raises missing_field, invalid_field or unsupported_parameter, naming the item as `field[index]`.
    """
    gathering = _Gathering()
    for index, value in enumerate(items):
        where = f"{field}[{index}]"
        gathering.add(as_object(value, where), where)
    gathering.end_turn()
    return gathering.messages


class _Thoughts:
    """What the model thought, as text and as details."""

    __slots__ = ("details", "texts")

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.details = Details()

    def add(self, texts: list[str], details: list[Document]) -> None:
        """More of it."""
        self.texts += texts
        for detail in details:
            self.details.add_whole(detail)


class _Said:
    """What the model said in one turn, as far as it has been read. `late` is what it thought after it had spoken."""

    __slots__ = ("calls", "late", "parts", "spoke", "thoughts")

    def __init__(self, thoughts: _Thoughts) -> None:
        self.thoughts = thoughts
        self.late = _Thoughts()
        self.parts: list[Document] = []
        self.calls: list[Document] = []
        self.spoke = False

    def take_late(self) -> None:
        """What it thought last belongs to this message, too."""
        self.thoughts.add(self.late.texts, self.late.details.all)
        self.late = _Thoughts()

    def message(self) -> Document:
        """The one message."""
        texts = [part for part in self.parts if part.get("text") != ""]
        content = plain(texts) if texts else None if self.calls else ""
        message: Document = {"role": "assistant", "content": content}
        if self.thoughts.texts:
            message["reasoning_content"] = "\n\n".join(self.thoughts.texts)
        if self.thoughts.details.all:
            message["reasoning_details"] = self.thoughts.details.all
        if self.calls:
            message["tool_calls"] = self.calls
        return message


class _Gathering:
    """Puts items together as messages."""

    def __init__(self) -> None:
        self.messages: list[Document] = []
        self._said: _Said | None = None
        self._call_ids: set[str] = set()

    def add(self, item: Document, where: str) -> None:
        """One more item. Raises missing_field, invalid_field or unsupported_parameter."""
        kind = item.get("type")
        if kind is None and "role" in item:
            kind = "message"
        if kind == "message":
            self._message(item, where)
        elif kind == "function_call":
            self._call(item, where)
        elif kind == "function_call_output":
            self._output(item, where)
        elif kind == "reasoning":
            text, details = read_reasoning(item, where)
            said = self._turn()
            thoughts = said.late if said.spoke and not said.calls else said.thoughts
            thoughts.add([text] if text else [], details)
        elif kind == "item_reference" or (kind is None and "id" in item):
            raise invalid(where, "refers to an item that is not stored here")
        elif kind is None:
            raise missing(f"{where}.type")
        elif not isinstance(kind, str):
            raise invalid(f"{where}.type", "must be a string")
        elif kind != "web_search_call":  # what it found is in the text that follows
            raise unsupported(where, f"items of the type '{kind[:64]}' cannot be given to this model")

    def end_turn(self) -> None:
        """What the model said is complete; what it only thought led to nothing."""
        said, self._said = self._said, None
        if said is not None and (said.spoke or said.calls):
            said.take_late()
            self.messages.append(said.message())

    def _turn(self) -> _Said:
        if self._said is None:
            self._said = _Said(_Thoughts())
        return self._said

    def _turn_of_message(self) -> _Said:
        """Where a message goes: another one stays apart, but for one with calls, which nothing may part from them."""
        said = self._turn()
        if said.spoke and not said.calls:
            late, said.late = said.late, _Thoughts()
            self.end_turn()
            said = self._said = _Said(late)
        said.spoke = True
        return said

    def _say(self, message: Document) -> None:
        self.end_turn()
        self.messages.append(message)

    def _message(self, item: Document, where: str) -> None:
        role = required_text(item, "role", where)
        if role != "assistant" and role not in _ROLES:
            raise invalid(f"{where}.role", "must be user, assistant, system or developer")
        given = item.get("content")
        if given is None:
            raise missing(f"{where}.content")
        place = f"{where}.content"
        if role == "assistant":
            parts = [{"type": "text", "text": given}]
            if type(given) is not str:
                parts = read_parts(as_list(given, place), OUTPUT, place)
            self._turn_of_message().parts += parts
        elif type(given) is str:
            self._say({"role": role, "content": given})
        else:
            parts = read_parts(as_list(given, place), INPUT, place)
            if not parts:
                raise invalid(place, "must not be empty")
            self._say({"role": role, "content": plain(parts)})

    def _call(self, item: Document, where: str) -> None:
        call_id = required_text(item, "call_id", where)
        function = {"name": required_text(item, "name", where), "arguments": required_text(item, "arguments", where)}
        said = self._turn()
        said.take_late()
        said.calls.append({"id": call_id, "type": "function", "function": function})
        self._call_ids.add(call_id)

    def _output(self, item: Document, where: str) -> None:
        call_id = required_text(item, "call_id", where)
        if call_id not in self._call_ids:
            raise invalid(f"{where}.call_id", f"belongs to no function_call before it: '{call_id[:64]}'")
        given = item.get("output")
        if given is None:
            raise missing(f"{where}.output")
        if type(given) is str:
            content: str | list[Document] = given
        else:
            place = f"{where}.output"
            content = plain(read_parts(as_list(given, place), INPUT, place)) or ""
        self._say({"role": "tool", "tool_call_id": call_id, "content": content})
