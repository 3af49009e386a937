"""A canonical conversation as Anthropic's: system prompt apart, turns merged, tool results in the user's turn.

Formats and rules: https://platform.claude.com/docs/en/api/messages, .../agents-and-tools/tool-use/handle-tool-calls
and .../build-with-claude/thinking-tool-workflows (read 2026-11).
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

import orjson

from gateway.wire.anthropic_parts import content_blocks, text_block
from gateway.wire.call_ids import CallIds
from gateway.wire.checks import invalid
from gateway.wire.dialect import Document

FORMAT = "anthropic-claude-v1"
# The API wants a user's turn first; a conversation that opens with the assistant's gets this one.
OPENING = "(The conversation begins here.)"
_TOOL_ID = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_NOT_IN_IDS = re.compile(r"[^a-zA-Z0-9_-]")


def tool_id(given: str) -> str:
    """`given` where the API takes it as the id of a call (^[a-zA-Z0-9_-]+$), else always the same one made from it."""
    if _TOOL_ID.fullmatch(given):
        return given
    digest = hashlib.sha256(given.encode(errors="replace")).hexdigest()[:12]
    return f"{_NOT_IN_IDS.sub('_', given[:64])}_{digest}"


class Conversation:
    """Reads `messages` one by one into `system` and `turns`.

    `called` are the names of the functions that were called. `thinks` says whether thinking blocks are sent with
    every assistant's turn, or only where the turn calls tools; `thought` says whether any was sent.
    """

    __slots__ = ("_ids", "_old_calls", "_results", "called", "system", "thinks", "thought", "turns")

    def __init__(self, *, thinks: bool) -> None:
        self.thinks = thinks
        self.thought = False
        self.system: list[Document] = []
        self.turns: list[Document] = []
        self.called: list[str] = []
        # How many tool results the last turn begins with: further ones go behind them, before any text.
        self._results = 0
        self._ids = CallIds(tool_id)
        # Ids for the calls of the older form, which has none, by function.
        self._old_calls: dict[str, list[str]] = {}

    def read(self, messages: object) -> None:
        """Reads them all. Raises invalid_field, unsupported_parameter naming the place."""
        if not isinstance(messages, list):
            raise invalid("messages", "must be an array")
        for index, message in enumerate(messages):
            place = f"messages[{index}]"
            if not isinstance(message, dict):
                raise invalid(place, "must be an object")
            role = message.get("role")
            if role == "user":
                blocks = content_blocks(message.get("content"), f"{place}.content", media=True)
                self._add("user", _marked(blocks, message))
            elif role == "assistant":
                self._assistant(message, place)
            elif role in ("tool", "function"):
                self._result(message, place)
            elif role in ("system", "developer"):
                blocks = content_blocks(message.get("content"), f"{place}.content", media=False)
                self.system += _marked(blocks, message)
            else:
                raise invalid(f"{place}.role", "must be system, developer, user, assistant or tool")
        self._round_off()

    def lacks_thinking(self) -> bool:
        """Do tool results come last, for a turn that has no thinking before its calls?

        With a budget the API refuses that ("a final assistant message must start with a thinking block"): so it is
        where another provider's model, or this one without thinking, made the calls.
        """
        if len(self.turns) < 2 or self.turns[-1]["content"][0]["type"] != "tool_result":
            return False
        first = self.turns[-2]["content"][0]["type"]
        return first not in ("thinking", "redacted_thinking")

    def _round_off(self) -> None:
        if not self.turns:
            if not self.system:
                raise invalid("messages", "must have some content")
            # Without a user's turn the API refuses: what stands in the system prompt is then the question.
            self._add("user", self.system)
            self.system = []
        if self.turns[0]["role"] == "assistant":
            self.turns.insert(0, {"role": "user", "content": [{"type": "text", "text": OPENING}]})
        last = self.turns[-1]
        block = last["content"][-1]
        if last["role"] == "assistant" and block["type"] == "text":
            # "final assistant content cannot end with trailing whitespace"
            block["text"] = block["text"].rstrip()

    def _add(self, role: str, blocks: list[Document]) -> None:
        if not blocks:
            return
        if self.turns and self.turns[-1]["role"] == role:
            self.turns[-1]["content"] += blocks
        else:
            self.turns.append({"role": role, "content": blocks})
            self._results = 0

    def _result(self, message: Document, place: str) -> None:
        block: Document = {"type": "tool_result", "tool_use_id": self._answered(message, place)}
        content = message.get("content")
        if isinstance(content, str) and content:
            block["content"] = content
        elif blocks := content_blocks(content, f"{place}.content", media=True):
            block["content"] = blocks
        if message.get("is_error") is True:
            block["is_error"] = True
        if isinstance(message.get("cache_control"), dict):
            block["cache_control"] = message["cache_control"]
        if self.turns and self.turns[-1]["role"] == "user":
            self.turns[-1]["content"].insert(self._results, block)
        else:
            self._add("user", [block])
        self._results += 1

    def _answered(self, message: Document, place: str) -> str:
        """The id of the call that this result answers."""
        if message["role"] == "tool":
            return self._ids.answered(_text(message.get("tool_call_id"), f"{place}.tool_call_id"))
        name = message.get("name")
        waiting = self._old_calls.get(name) if isinstance(name, str) else None
        if not waiting:
            raise invalid(f"{place}.name", "must name a function that was called before")
        return waiting.pop(0)

    def _assistant(self, message: Document, place: str) -> None:
        calls = self._calls(message, place)
        blocks: list[Document] = []
        before: dict[str, list[Document]] = {}
        if self.thinks or calls:
            blocks, before = thinking_blocks(message.get("reasoning_details"))
        texts = content_blocks(message.get("content"), f"{place}.content", media=False)
        if isinstance(message.get("refusal"), str) and not texts:
            refusal = text_block(message["refusal"])
            texts = [] if refusal is None else [refusal]
        known = {call["id"] for call in calls}
        blocks += [block for ident, those in before.items() if ident not in known for block in those]
        # Thinking alone is no turn.
        if texts or calls:
            self.thought = self.thought or bool(blocks or before)
            blocks += texts
            for call in calls:
                blocks += [*before.get(call["id"], ()), call]
            self._add("assistant", _marked(blocks, message))

    def _calls(self, message: Document, place: str) -> list[Document]:
        calls = message.get("tool_calls")
        if calls is None:
            calls = []
        if not isinstance(calls, list):
            raise invalid(f"{place}.tool_calls", "must be an array")
        if calls:
            self._ids.begin_turn()
        made = [self._call(call, f"{place}.tool_calls[{index}]") for index, call in enumerate(calls)]
        old = message.get("function_call")
        if old is not None:
            ident = f"call_{place[9:-1]}"
            one = self._call({"id": ident, "function": old}, f"{place}.function_call")
            self._old_calls.setdefault(one["name"], []).append(one["id"])
            made.append(one)
        return made

    def _call(self, call: object, place: str) -> Document:
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(call, dict) or not isinstance(function, dict):
            raise invalid(place, "must be an object with a function")
        ident = _text(call.get("id"), f"{place}.id")
        name = _text(function.get("name"), f"{place}.function.name")
        self.called.append(name)
        return {
            "type": "tool_use",
            "id": self._ids.call(ident),
            "name": name,
            "input": _arguments(function.get("arguments")),
        }


def _arguments(given: object) -> Document:
    """A call's arguments as the object that the API wants; what is none (a model's slip) is kept as text in one."""
    if isinstance(given, dict):
        return given
    if not isinstance(given, str) or not given.strip():
        return {}
    try:
        value: Any = orjson.loads(given)
    except (orjson.JSONDecodeError, UnicodeError):
        value = None
    return value if isinstance(value, dict) else {"arguments": given}


def thinking_blocks(details: object) -> tuple[list[Document], dict[str, list[Document]]]:
    """The thinking in `reasoning_details` that is Anthropic's own: what opens the turn, and what stands before a
    call, by that call's id.

    Pieces of one block (same `index`, as they come in a stream) are put together again; without its signature a
    block is worth nothing to the API and is left out.
    """
    first: list[Document] = []
    before: dict[str, list[Document]] = {}
    for detail in _joined(details):
        if detail["type"] == "reasoning.encrypted":
            block: Document = {"type": "redacted_thinking", "data": detail["data"]}
        else:
            block = {"type": "thinking", "thinking": detail["text"], "signature": detail["signature"]}
        if not (detail["data"] or detail["signature"]):
            continue
        if detail["id"]:
            before.setdefault(tool_id(detail["id"]), []).append(block)
        else:
            first.append(block)
    return first, before


def _joined(details: object) -> list[Document]:
    joined: list[Document] = []
    by_index: dict[object, Document] = {}
    for detail in details if isinstance(details, list) else ():
        if not isinstance(detail, dict) or detail.get("format") != FORMAT:
            continue
        kind = detail.get("type")
        if kind not in ("reasoning.text", "reasoning.encrypted"):
            continue
        index = detail.get("index")
        same = by_index.get(index) if type(index) is int else None
        if same is None or same["type"] != kind:
            same = {"type": kind, "text": "", "signature": "", "data": "", "id": ""}
            joined.append(same)
            if type(index) is int:
                by_index[index] = same
        for field in ("text", "data"):
            if isinstance(detail.get(field), str):
                same[field] += detail[field]
        for field in ("signature", "id"):
            if isinstance(detail.get(field), str) and detail[field]:
                same[field] = detail[field]
    return joined


def _marked(blocks: list[Document], message: Document) -> list[Document]:
    """`blocks` with the message's own cache_control at the last of them, which thinking cannot carry."""
    marker = message.get("cache_control")
    if blocks and isinstance(marker, dict) and "thinking" not in blocks[-1]["type"]:
        blocks[-1] = {**blocks[-1], "cache_control": marker}
    return blocks


def _text(value: object, place: str) -> str:
    if not isinstance(value, str) or not value:
        raise invalid(place, "must be a non-empty string")
    return value
