"""A canonical request as those who speak OpenAI's format take it: its own fields, and nothing that they refuse.

https://platform.openai.com/docs/api-reference/chat/create (read 2026-11). Most who speak the format answer 400 to a
message with a field that they do not know, so what the canonical form has beyond it is left out here.
"""

from __future__ import annotations

from typing import Any

import orjson

from gateway.errors import GatewayError
from gateway.wire.call_ids import PlainId, with_plain_ids
from gateway.wire.checks import invalid
from gateway.wire.dialect import Document

# What a message, part or tool may have only in the canonical form or in answers. `reasoning` is OpenRouter's and
# Groq's word for `reasoning_content`, `images` are those that a model made.
MESSAGE_EXTENSIONS = frozenset(
    {
        "annotations",
        "cache_control",
        "images",
        "is_error",
        "native_finish_reason",
        "reasoning",
        "reasoning_content",
        "reasoning_details",
    }
)
# OpenAI answers 400 to a call's id with more (`string_above_max_length`).
# https://github.com/agno-agi/agno/issues/5382 (read 2026-11)
MAX_ID_CHARACTERS = 40
_OLD_FIELDS = frozenset({"functions", "function_call"})
_IMAGES_FOLLOW = "The result is the image in the next message."


def write_json(document: object, field: str) -> bytes:
    """The bytes of `document`. Raises invalid_field naming `field` for what JSON cannot hold or nests too deeply."""
    try:
        return orjson.dumps(document)
    except orjson.JSONEncodeError:
        raise invalid(field, "has text that is not Unicode, a number out of range, or nests too deeply") from None


def lacking_part(field: str, what: str, who: str) -> GatewayError:
    """An unsupported_parameter error for a part of a message that the provider cannot take."""
    return GatewayError("unsupported_parameter", f"{what} are not supported by {who}.", param=field)


def messages_of(document: Document) -> list[Document]:
    """The conversation. Raises invalid_field unless it is a list of objects, each with a role."""
    messages = document.get("messages")
    if type(messages) is not list:
        raise invalid("messages", "must be an array")
    for index, message in enumerate(messages):
        if type(message) is not dict or type(message.get("role")) is not str:
            raise invalid(f"messages[{index}]", "must be an object with a role")
    return messages


def tools_for_functions(document: Document) -> Document:
    """`document` with OpenAI's older `functions` written as tools; itself where there is nothing old in it.

    Calls in the conversation, which had no ids, get one by their place; a `function` message answers the last call
    of its name. https://platform.openai.com/docs/api-reference/chat/create#chat-create-functions (read 2026-11)
    """
    messages = messages_of(document)
    old = any(message["role"] == "function" or message.get("function_call") for message in messages)
    if not old and _OLD_FIELDS.isdisjoint(document):
        return document
    changed = {name: value for name, value in document.items() if name not in _OLD_FIELDS}
    functions = document.get("functions")
    if type(functions) is list and functions and not document.get("tools"):
        changed["tools"] = [{"type": "function", "function": function} for function in functions]
    choice = document.get("function_call")
    if choice is not None and document.get("tool_choice") is None:
        changed["tool_choice"] = {"type": "function", "function": choice} if type(choice) is dict else choice
    if old:
        changed["messages"] = _newer_messages(messages)
    return changed


def _newer_messages(messages: list[Document]) -> list[Document]:
    calls: dict[object, str] = {}
    newer = []
    for index, message in enumerate(messages):
        call = message.get("function_call")
        if message["role"] == "function":
            name = message.get("name")
            known = calls.get(name, f"call_{index}") if type(name) is str else f"call_{index}"
            newer.append({"role": "tool", "tool_call_id": known, "content": message.get("content")})
        elif type(call) is dict and not message.get("tool_calls"):
            rest = {key: value for key, value in message.items() if key != "function_call"}
            call_id = f"call_{index}"
            if type(call.get("name")) is str:
                calls[call["name"]] = call_id
            newer.append({**rest, "tool_calls": [{"id": call_id, "type": "function", "function": call}]})
        else:
            newer.append(message)
    return newer


class MessageWriter:
    """Writes messages for one kind of upstream; what need not change is passed on as it is.

    `stripped` are the fields to leave out of messages and parts; `developer_role` says whether that role is known,
    else such messages are `system` ones. `plain_id` makes the ids of calls such as the upstream takes, None where it
    takes any. `who` names the upstream in errors.
    """

    def __init__(
        self, stripped: frozenset[str], *, developer_role: bool, who: str, plain_id: PlainId | None = None
    ) -> None:
        self._stripped = stripped
        self._developer_role = developer_role
        self._plain_id = plain_id
        self._who = who

    def write(self, messages: list[Document]) -> list[Document]:
        """The messages to send. Images in tool results follow the results in a user message of their own.

        Raises invalid_field, and unsupported_parameter for a file by URL.
        """
        written: list[Document] = []
        images: list[Document] = []
        for index, message in enumerate(messages):
            role = message["role"]
            if images and role != "tool":
                written.append({"role": "user", "content": images})
                images = []
            content = message.get("content")
            if role == "tool" and type(content) is list:
                message = {**message, "content": self._result_text(content, images)}
            elif type(content) is list:
                parts = self._parts(content, f"messages[{index}].content")
                if parts is not content:
                    message = {**message, "content": parts}
            if self._plain_id is not None:
                message = with_plain_ids(message, self._plain_id)
            written.append(self._message(message, role))
        if images:
            written.append({"role": "user", "content": images})
        return written

    def _message(self, message: Document, role: str) -> Document:
        if not self._stripped.isdisjoint(message) or (len(message) > 2 and None in message.values()):
            message = {
                name: value
                for name, value in message.items()
                if name not in self._stripped and (value is not None or name == "content")
            }
        if role == "developer" and not self._developer_role:
            return {**message, "role": "system"}
        return message

    def _parts(self, parts: list[Any], field: str) -> list[Any]:
        changed: list[Any] | None = None
        for index, part in enumerate(parts):
            if type(part) is not dict:
                raise invalid(f"{field}[{index}]", "must be an object")
            new = part
            if not self._stripped.isdisjoint(part):
                new = {name: value for name, value in part.items() if name not in self._stripped}
            if part.get("type") == "file":
                new = self._file(new, f"{field}[{index}]")
            if new is not part:
                changed = list(parts) if changed is None else changed
                changed[index] = new
        return parts if changed is None else changed

    def _file(self, part: Document, field: str) -> Document:
        """A file part without `file_url`: a data URI there is the file itself, anything else cannot be sent."""
        holder = part.get("file")
        if type(holder) is not dict:
            if "file_url" not in part:
                return part
            holder, part = {"file_url": part["file_url"]}, {"type": "file"}
        url = holder.get("file_url")
        if "file_url" not in holder:
            return part
        rest = {name: value for name, value in holder.items() if name != "file_url"}
        if type(url) is str and url.startswith("data:"):
            rest.setdefault("file_data", url)
        elif not (rest.get("file_data") or rest.get("file_id")):
            raise lacking_part(field, "Files by URL", self._who)
        return {**part, "file": rest}

    def _result_text(self, parts: list[Any], images: list[Document]) -> str:
        """The text of a tool's result; its images are added to `images`: OpenAI takes only text from a tool."""
        texts = []
        found = False
        for part in parts:
            if type(part) is not dict:
                continue
            if type(part.get("text")) is str:
                texts.append(part["text"])
            elif part.get("type") == "image_url":
                found = True
                images.append({name: value for name, value in part.items() if name not in self._stripped})
        return "\n".join(texts) or (_IMAGES_FOLLOW if found else "")


def plain_tools(tools: object, stripped: frozenset[str]) -> object:
    """`tools` without the fields in `stripped`; itself where none has any."""
    if type(tools) is not list or all(type(tool) is not dict or stripped.isdisjoint(tool) for tool in tools):
        return tools
    return [
        {name: value for name, value in tool.items() if name not in stripped} if type(tool) is dict else tool
        for tool in tools
    ]
