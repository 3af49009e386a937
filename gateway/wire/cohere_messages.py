"""Canonical messages as Cohere v2 takes them (https://docs.cohere.com/v2/reference/chat, read 2026-11).

Roles are system, user, assistant and tool. An assistant's thinking is a content part and its plan for the tools it
calls a field, `tool_plan`; both come back from a client as `reasoning_details` of our own format. A tool message
takes text alone, so images in it follow in a user message behind the last result.
"""

from __future__ import annotations

from typing import Any

from gateway.errors import GatewayError
from gateway.wire.checks import invalid
from gateway.wire.dialect import Document

# What `reasoning_details` of this dialect are marked with: `reasoning.text` is thinking, `reasoning.summary` the plan.
REASONING_FORMAT = "cohere-v2"

_IMAGES_FOLLOW = "The result is in the images that follow."
_NO_RESULT_ID = "must name the tool call that it answers"


def lacking(field: str, what: str) -> GatewayError:
    """The error for a kind of content or tool that Cohere does not take."""
    return GatewayError("unsupported_parameter", f"The field '{field}' holds {what}, which Cohere lacks.", param=field)


def encode_messages(messages: object) -> list[Document]:
    """The messages in Cohere's form. Raises invalid_field or unsupported_parameter naming the message or part."""
    if not isinstance(messages, list) or not messages:
        raise invalid("messages", "must be a non-empty array")
    return _Writer().write(messages)


class _Writer:
    """One pass over the messages; keeps the images of a run of tool results, and ids for deprecated function calls."""

    def __init__(self) -> None:
        self._out: list[Document] = []
        self._images: list[Document] = []
        self._function_ids: dict[str, str] = {}

    def write(self, messages: list[Any]) -> list[Document]:
        for index, message in enumerate(messages):
            where = f"messages[{index}]"
            if not isinstance(message, dict):
                raise invalid(where, "must be an object")
            role = message.get("role")
            if role in ("tool", "function"):
                self._out.append(self._result(message, where, is_function=role == "function"))
                continue
            self._flush_images()
            if role in ("system", "developer"):
                self._out.append({"role": "system", "content": _content(message.get("content"), where, None)})
            elif role == "user":
                images: list[Document] = []
                content = _content(message.get("content"), where, images)
                self._out.append({"role": "user", "content": content})
            elif role == "assistant":
                self._out.append(self._assistant(message, where))
            else:
                raise invalid(f"{where}.role", "must be system, developer, user, assistant, tool or function")
        self._flush_images()
        return self._out

    def _flush_images(self) -> None:
        if self._images:
            self._out.append({"role": "user", "content": self._images})
            self._images = []

    def _assistant(self, message: Document, where: str) -> Document:
        calls = _tool_calls(message.get("tool_calls"), where)
        call = message.get("function_call")
        if isinstance(call, dict):
            calls.append(_tool_call({"id": f"call_{len(self._out)}", "function": call}, f"{where}.function_call"))
            self._function_ids[calls[-1]["function"]["name"]] = calls[-1]["id"]
        thinking, plan = _own_reasoning(message.get("reasoning_details"))
        content = _content(message.get("content") or message.get("refusal") or "", where, None)
        out: Document = {"role": "assistant"}
        if thinking:
            texts = [{"type": "text", "text": content}] if isinstance(content, str) else content
            out["content"] = [{"type": "thinking", "thinking": thinking}, *(part for part in texts if part["text"])]
        elif content or not calls:
            out["content"] = content
        if calls:
            out["tool_calls"] = calls
            if plan:
                out["tool_plan"] = plan
        return out

    def _result(self, message: Document, where: str, *, is_function: bool) -> Document:
        call_id = message.get("tool_call_id")
        if is_function and call_id is None:
            name = message.get("name")
            call_id = self._function_ids.get(name) if isinstance(name, str) else None
        if not isinstance(call_id, str) or not call_id:
            raise invalid(f"{where}.{'name' if is_function else 'tool_call_id'}", _NO_RESULT_ID)
        images: list[Document] = []
        content = _content(message.get("content") or "", where, images)
        if images:
            self._images += [{"type": "text", "text": f"Images in the result of {call_id}:"}, *images]
            content = [part for part in content if part["type"] == "text"] or _IMAGES_FOLLOW
        return {"role": "tool", "tool_call_id": call_id, "content": content}


def _content(content: object, where: str, images: list[Document] | None) -> Any:
    """Text as text, parts as Cohere's parts. Images are refused where `images` is None, and noted in it otherwise."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise invalid(f"{where}.content", "must be a string or an array of parts")
    parts = []
    for index, part in enumerate(content):
        field = f"{where}.content[{index}]"
        kind = part.get("type") if isinstance(part, dict) else None
        if kind in ("text", "refusal"):
            text = part.get(kind)
            if not isinstance(text, str):
                raise invalid(f"{field}.{kind}", "must be a string")
            parts.append({"type": "text", "text": text})
        elif kind == "image_url" and images is not None:
            images.append(_image(part.get("image_url"), field))
            parts.append(images[-1])
        elif isinstance(kind, str):
            raise lacking(field, f"a part of type {ascii(kind)[:40]}")
        else:
            raise invalid(field, "must be a part with a type")
    return parts


def _image(image: object, field: str) -> Document:
    """An image by URL or data URI, with the detail asked for (https://docs.cohere.com/v2/docs/image-inputs)."""
    url = image.get("url") if isinstance(image, dict) else image
    if not isinstance(url, str) or not url:
        raise invalid(f"{field}.image_url.url", "must be a URL or a data URI")
    inner: Document = {"url": url}
    if isinstance(image, dict) and isinstance(image.get("detail"), str):
        inner["detail"] = image["detail"]
    return {"type": "image_url", "image_url": inner}


def _tool_calls(calls: object, where: str) -> list[Document]:
    if calls is None:
        return []
    if not isinstance(calls, list):
        raise invalid(f"{where}.tool_calls", "must be an array")
    return [_tool_call(call, f"{where}.tool_calls[{index}]") for index, call in enumerate(calls)]


def _tool_call(call: object, field: str) -> Document:
    if not isinstance(call, dict):
        raise invalid(field, "must be an object")
    if call.get("type", "function") != "function":
        raise lacking(f"{field}.type", "a call that is not of a function")
    function = call.get("function")
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(function, dict) or not isinstance(name, str) or not name:
        raise invalid(f"{field}.function.name", "must be a non-empty string")
    arguments = function.get("arguments") or "{}"
    if not isinstance(arguments, str):
        raise invalid(f"{field}.function.arguments", "must be a string")
    if not isinstance(call.get("id"), str) or not call["id"]:
        raise invalid(f"{field}.id", "must be a non-empty string")
    return {"id": call["id"], "type": "function", "function": {"name": name, "arguments": arguments}}


def _own_reasoning(details: object) -> tuple[str, str]:
    """The thinking and the plan that Cohere itself once gave; what others thought is left out."""
    thinking: list[str] = []
    plan: list[str] = []
    for item in details if isinstance(details, list) else ():
        if isinstance(item, dict) and item.get("format") == REASONING_FORMAT:
            text, summary = item.get("text"), item.get("summary")
            if item.get("type") == "reasoning.text" and isinstance(text, str):
                thinking.append(text)
            elif item.get("type") == "reasoning.summary" and isinstance(summary, str):
                plan.append(summary)
    return "".join(thinking), "".join(plan)
