"""A conversation as Converse wants it: system blocks apart, turns of user and assistant in alternation.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Message.html (read 2026-11).
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass, field
from typing import Any

import orjson

from gateway.wire.bedrock_content import Documents, blank, encode_part, parts_of, text_of
from gateway.wire.bedrock_models import Family
from gateway.wire.call_ids import CallIds
from gateway.wire.checks import invalid
from gateway.wire.dialect import Document

# Where a turn is needed that nobody took. White space alone is refused.
_FILLER: Document = {"text": "."}
# A request may hold five (https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Message.html).
_MAX_DOCUMENTS = 8
_TOOL_USE_ID = re.compile(r"[a-zA-Z0-9_.:-]{1,64}")


@dataclass(slots=True)
class Conversation:
    """The encoded messages; `has_tools` says whether tool calls or results are among them."""

    system: list[Document] = field(default_factory=list)
    turns: list[Document] = field(default_factory=list)
    has_tools: bool = False

    def lacks_thinking(self) -> bool:
        """Do tool results come last, for a turn of the model's that does not begin with reasoning?

        With a budget Claude refuses that ("a final assistant message must start with a thinking block"): so it is
        where another provider's model made the calls.
        https://docs.aws.amazon.com/bedrock/latest/userguide/claude-messages-extended-thinking.html (read 2026-11)
        """
        if len(self.turns) < 2 or "toolResult" not in self.turns[-1]["content"][0]:
            return False
        return "reasoningContent" not in self.turns[-2]["content"][0]


def encode_messages(messages: object, family: Family) -> Conversation:
    """System blocks and turns. Raises invalid_field naming what cannot be said to Bedrock."""
    encoder = _Encoder(family)
    for index, message in enumerate(messages if isinstance(messages, list) else ()):
        if not isinstance(message, dict):
            raise invalid(f"messages[{index}]", "must be an object")
        encoder.add(message, index)
    return encoder.finish()


class _Encoder:
    def __init__(self, family: Family) -> None:
        self._family = family
        self._documents = Documents()
        self._conversation = Conversation()
        self._calls: dict[str, str] = {}  # ids made for calls of the deprecated form, by function
        self._ids = CallIds(tool_use_id)
        self._index = 0
        self._results = False  # whether the last turn has tool results

    def add(self, message: Document, index: int) -> None:
        """The message at `index` of the request. Raises invalid_field."""
        self._index, where = index, f"messages[{index}]"
        role = message.get("role")
        if role in ("system", "developer"):
            self._add_system(message, where)
        elif role == "user":
            self._add_user(message, where)
        elif role == "assistant":
            self._add_assistant(message, where)
        elif role in ("tool", "function"):
            self._add_result(message, where)
        else:
            raise invalid(f"{where}.role", "must be system, developer, user, assistant or tool")

    def finish(self) -> Conversation:
        """All of it, with what Converse demands beside."""
        turns = self._conversation.turns
        for turn in turns:
            content = turn["content"]
            if any("document" in block for block in content) and not any("text" in block for block in content):
                content.insert(0, {"text": "See the attached document."})  # a document alone is refused
        if not turns or (turns[0]["role"] != "user" and not self._family.may_begin):
            turns.insert(0, {"role": "user", "content": [_FILLER]})
        return self._conversation

    # --- by role ----------------------------------------------------------------------------------

    def _add_system(self, message: Document, where: str) -> None:
        blocks = self._conversation.system
        for place, part in parts_of(message.get("content"), f"{where}.content"):
            if part.get("type") != "text":
                raise invalid(f"{place}.type", "must be text in a system message")
            text = text_of(part, place)
            if not blank(text):
                blocks.append({"text": text})
            self._cache(blocks, part)
        self._cache(blocks, message)

    def _add_user(self, message: Document, where: str) -> None:
        blocks: list[Document] = []
        for place, part in parts_of(message.get("content"), f"{where}.content"):
            block = encode_part(part, place, self._documents)
            if block is not None:
                blocks.append(block)
            self._cache(blocks, part)
        self._extend("user", blocks)
        if blocks:
            self._cache(self._conversation.turns[-1]["content"], message)

    def _add_assistant(self, message: Document, where: str) -> None:
        blocks = reasoning_blocks(message.get("reasoning_details"), self._family)
        for place, part in parts_of(message.get("content"), f"{where}.content"):
            kind = part.get("type")
            if kind not in ("text", "refusal"):
                raise invalid(f"{place}.type", "must be text or refusal in an assistant's message")
            text = text_of(part, place) if kind == "text" else part.get("refusal")
            if isinstance(text, str) and not blank(text):
                blocks.append({"text": text})
            self._cache(blocks, part)
        refusal = message.get("refusal")
        if isinstance(refusal, str) and not blank(refusal):
            blocks.append({"text": refusal})
        blocks += self._calls_of(message, where)
        self._extend("assistant", blocks)
        if blocks:
            self._cache(self._conversation.turns[-1]["content"], message)

    def _add_result(self, message: Document, where: str) -> None:
        name = str(message.get("name"))
        call_id = message.get("tool_call_id") if message.get("role") == "tool" else self._calls.get(name)
        if not isinstance(call_id, str) or not call_id:
            field_ = "tool_call_id" if message.get("role") == "tool" else "name"
            raise invalid(f"{where}.{field_}", "must name a tool call")
        content = [
            block
            for place, part in parts_of(message.get("content"), f"{where}.content")
            if (block := encode_part(part, place, self._documents)) is not None
        ]
        result: Document = {"toolUseId": self._ids.answered(call_id), "content": content or [{"text": "(no output)"}]}
        if message.get("is_error") is True and self._family.vendor != "writer":  # which knows no status
            result["status"] = "error"
        self._conversation.has_tools = True
        self._extend("user", [{"toolResult": result}])
        turn = self._conversation.turns[-1]["content"]
        parts = message.get("content")
        for part in parts if isinstance(parts, list) else ():
            self._cache(turn, part)
        self._cache(turn, message)

    def _calls_of(self, message: Document, where: str) -> list[Document]:
        calls = message.get("tool_calls")
        blocks = []
        if calls is not None and not isinstance(calls, list):
            raise invalid(f"{where}.tool_calls", "must be an array")
        if calls:
            self._ids.begin_turn()
        for index, call in enumerate(calls or ()):
            function = call.get("function") if isinstance(call, dict) else None
            place = f"{where}.tool_calls[{index}]"
            if not isinstance(function, dict):
                raise invalid(f"{place}.function", "must be an object")
            blocks.append(_tool_use(call.get("id"), function, place, self._ids))
        old = message.get("function_call")
        if isinstance(old, dict):
            call_id = self._calls[str(old.get("name"))] = f"function_{self._index}"
            blocks.append(_tool_use(call_id, old, f"{where}.function_call", self._ids))
        self._conversation.has_tools = self._conversation.has_tools or bool(blocks)
        return blocks

    # --- turns ------------------------------------------------------------------------------------

    def _extend(self, role: str, blocks: list[Document]) -> None:
        """Add to the last turn where that is the same side's, else begin another."""
        if not blocks:
            return
        turns = self._conversation.turns
        results = "toolResult" in blocks[0]
        if turns and turns[-1]["role"] == role:
            if role == "assistant" or self._fit(blocks):
                turns[-1]["content"].extend(blocks)
                self._results = self._results or results
                return
            turns.append({"role": "assistant", "content": [_FILLER]})
        turns.append({"role": role, "content": blocks})
        self._results = results

    def _fit(self, blocks: list[Document]) -> bool:
        """May these join the last turn? Some models want results alone in theirs, Claude no document beside them."""
        if self._family.results_stand_alone:
            return self._results == ("toolResult" in blocks[0])
        if self._results and self._family.vendor == "anthropic":
            return not any("document" in block for block in blocks)
        return True

    def _cache(self, blocks: list[Document], marked: Any) -> None:
        if self._family.caches and isinstance(marked, dict):
            control = marked.get("cache_control")
            if isinstance(control, dict):
                add_cache_point(blocks, control, self._family)


def add_cache_point(blocks: list[Document], control: Document, family: Family) -> None:
    """End a cached prefix behind `blocks`, before documents that end them: behind those it is refused."""
    at = len(blocks)
    while at and "document" in blocks[at - 1] and len(blocks) - at < _MAX_DOCUMENTS:
        at -= 1
    if not at or "cachePoint" in blocks[at - 1]:
        return
    point: Document = {"type": "default"}
    if control.get("ttl") in ("5m", "1h") and not family.nova:
        point["ttl"] = control["ttl"]
    blocks.insert(at, {"cachePoint": point})


def _tool_use(call_id: object, function: Document, where: str, ids: CallIds) -> Document:
    name = function.get("name")
    if not isinstance(name, str) or not name:
        raise invalid(f"{where}.name", "must be a non-empty string")
    if not isinstance(call_id, str) or not call_id:
        raise invalid(f"{where}.id", "must be a non-empty string")
    return {"toolUse": {"toolUseId": ids.call(call_id), "name": name, "input": _arguments(function.get("arguments"))}}


def _arguments(given: object) -> Document:
    """A call's arguments as an object: what a model wrote that is none is kept under a name."""
    if isinstance(given, str):
        try:
            value = orjson.loads(given) if not blank(given) else {}
        except (orjson.JSONDecodeError, UnicodeEncodeError):
            value = given
    else:
        value = {} if given is None else given
    return value if isinstance(value, dict) else {"arguments": value}


def tool_use_id(call_id: str) -> str:
    """The id of a call as Bedrock takes it; another one, always the same, for what it would refuse."""
    if _TOOL_USE_ID.fullmatch(call_id):
        return call_id
    return "call_" + hashlib.sha256(call_id.encode(errors="replace")).hexdigest()[:32]


# --- reasoning ------------------------------------------------------------------------------------


def reasoning_blocks(details: object, family: Family) -> list[Document]:
    """What the model itself thought earlier, signed as it was; everything else is left out."""
    found: list[Document | _Thought] = []
    thoughts: dict[int, _Thought] = {}  # a client may send a stream's pieces as they came
    for item in details if isinstance(details, list) else ():
        if not isinstance(item, dict) or item.get("format") != family.reasoning_format:
            continue
        data, text, signature, index = (item.get(name) for name in ("data", "text", "signature", "index"))
        if item.get("type") == "reasoning.encrypted" and isinstance(data, str):
            found.append({"redactedContent": _redacted(data, family)})
        elif item.get("type") == "reasoning.text":
            thought = thoughts.get(index) if isinstance(index, int) else None
            if thought is None:
                thought = _Thought()
                found.append(thought)
                if isinstance(index, int):
                    thoughts[index] = thought
            thought.texts += [text] if isinstance(text, str) else []
            thought.signature = signature if isinstance(signature, str) and signature else thought.signature
    blocks = [content.block() if isinstance(content, _Thought) else content for content in found]
    return [{"reasoningContent": content} for content in blocks if content is not None]


class _Thought:
    __slots__ = ("signature", "texts")

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.signature = ""

    def block(self) -> Document | None:
        """None without a signature: unsigned thoughts are never asked for, and some models refuse them."""
        if not self.signature:
            return None
        return {"reasoningText": {"text": "".join(self.texts), "signature": self.signature}}


def _redacted(data: str, family: Family) -> str:
    # Claude's own API gives what Bedrock encodes once more; of other models nothing but Bedrock's form is known.
    return base64.b64encode(data.encode(errors="replace")).decode() if family.vendor == "anthropic" else data
