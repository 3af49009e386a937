"""Canonical messages as Ollama's: text, images in base64, calls with arguments as objects, results by tool name."""

from __future__ import annotations

import base64
from urllib.parse import unquote_to_bytes

import orjson

from gateway.wire.checks import invalid
from gateway.wire.dialect import Document
from gateway.wire.openai_dialect_request import lacking_part

_WHO = "Ollama"
_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool"}
_PART_NAMES = {"file": "Files", "input_audio": "Audio parts", "video_url": "Videos"}


def write_messages(messages: list[Document]) -> list[Document]:
    """The messages to send. Raises unsupported_parameter or invalid_field naming the place."""
    names: dict[str, str] = {}
    return [_message(message, f"messages[{index}]", names) for index, message in enumerate(messages)]


def _message(message: Document, field: str, names: dict[str, str]) -> Document:
    role = _ROLES.get(message["role"])
    if role is None:
        raise invalid(f"{field}.role", "must be system, developer, user, assistant or tool")
    text, images = _content(message.get("content"), f"{field}.content")
    written: Document = {"role": role, "content": text}
    if images:
        written["images"] = images
    if role == "assistant":
        _add_answer(message, written, field, names)
    elif role == "tool":
        call = message.get("tool_call_id")
        if type(call) is str:
            # Ids are known since Ollama 0.12.10; before, a result was told only by its tool's name.
            written["tool_call_id"] = call
            if call in names:
                written["tool_name"] = names[call]
        if "tool_name" not in written and type(message.get("name")) is str:
            written["tool_name"] = message["name"]
    return written


def _add_answer(message: Document, written: Document, field: str, names: dict[str, str]) -> None:
    """What an assistant's message has beside text. Thoughts signed by another provider are nothing to a model here."""
    thought = message.get("reasoning_content")
    if type(thought) is str and thought and not message.get("reasoning_details"):
        written["thinking"] = thought
    if not written["content"] and type(message.get("refusal")) is str:
        written["content"] = message["refusal"]
    calls = message.get("tool_calls")
    if not calls:
        return
    if type(calls) is not list:
        raise invalid(f"{field}.tool_calls", "must be an array")
    written["tool_calls"] = [_call(call, f"{field}.tool_calls[{index}]", names) for index, call in enumerate(calls)]


def _call(call: object, field: str, names: dict[str, str]) -> Document:
    if type(call) is not dict:
        raise invalid(field, "must be an object")
    function = call.get("function")
    custom = call.get("custom")
    if type(function) is dict:
        name, arguments = function.get("name"), _arguments(function.get("arguments"))
    elif type(custom) is dict:
        name, arguments = custom.get("name"), {"input": custom.get("input")}
    else:
        raise invalid(f"{field}.function", "must be an object")
    if type(name) is not str:
        raise invalid(f"{field}.function.name", "must be a string")
    written: Document = {"function": {"name": name, "arguments": arguments}}
    own = call.get("id")
    if type(own) is str:
        names[own] = name
        written["id"] = own
    return written


def _arguments(arguments: object) -> Document:
    """The arguments as an object. A model may have written what is none: that is kept as text under `arguments`."""
    if type(arguments) is dict:
        return arguments
    if type(arguments) is not str or not arguments.strip():
        return {}
    try:
        read = orjson.loads(arguments)
    except (orjson.JSONDecodeError, UnicodeEncodeError):
        read = None
    return read if type(read) is dict else {"arguments": arguments}


def _content(content: object, field: str) -> tuple[str, list[str]]:
    """The text and the images, in base64, of a message's content."""
    if type(content) is str:
        return content, []
    if content is None:
        return "", []
    if type(content) is not list:
        raise invalid(field, "must be a string or an array")
    texts: list[str] = []
    images: list[str] = []
    for index, part in enumerate(content):
        place = f"{field}[{index}]"
        if type(part) is not dict:
            raise invalid(place, "must be an object")
        kind = part.get("type")
        if kind == "text" or kind == "refusal":
            text = part.get(kind)
            if type(text) is not str:
                raise invalid(f"{place}.{kind}", "must be a string")
            texts.append(text)
        elif kind == "image_url":
            images.append(_image(part.get("image_url"), f"{place}.image_url"))
        else:
            raise lacking_part(place, _PART_NAMES.get(str(kind), "Parts of this type"), _WHO)
    return "\n".join(texts), images


def _image(holder: object, field: str) -> str:
    """The image's bytes in base64, out of its data URI."""
    url = holder.get("url") if type(holder) is dict else holder
    if type(url) is not str:
        raise invalid(f"{field}.url", "must be a string")
    if not url.startswith("data:"):
        raise lacking_part(f"{field}.url", "Images by URL", _WHO)
    head, comma, data = url.partition(",")
    if not comma:
        raise invalid(f"{field}.url", "is not a data URI")
    if head.endswith(";base64"):
        return data
    try:
        return base64.b64encode(unquote_to_bytes(data)).decode()
    except UnicodeEncodeError:
        raise invalid(f"{field}.url", "is not a data URI") from None
