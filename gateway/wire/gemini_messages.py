"""Canonical messages as Gemini's `contents` and `systemInstruction`.

Two roles, user and model; calls and their results are parts, matched by id where the API has ids and by order where it
has not. A signature of a thought goes back on the part it came with; a call that another model made has none, and
the third generation then wants a fixed value on the first call of the turn
(https://ai.google.dev/gemini-api/docs/thought-signatures, read 2026-11).
"""

from __future__ import annotations

import base64
from typing import Any

import orjson

from gateway.wire.checks import invalid
from gateway.wire.gemini_model import THIRD, generation
from gateway.wire.gemini_parts import content_part, content_parts, inline_data, lacks, text_of

Document = dict[str, Any]

FORMAT = "google-gemini-v1"
# `thoughtSignature` is bytes, which JSON carries as base64.
NO_SIGNATURE = base64.b64encode(b"skip_thought_signature_validator").decode()
# What a function response may hold beside its text, from the third generation on:
# https://ai.google.dev/gemini-api/docs/function-calling#multimodal (read 2026-11).
_IN_RESPONSES = frozenset({"image/png", "image/jpeg", "image/webp", "application/pdf", "text/plain"})


class Conversation:
    """Builds `contents` and the parts of `systemInstruction`; `cache_marks` says whether any part asked for caching."""

    __slots__ = (
        "_call_ids",
        "_calls",
        "_media",
        "_names",
        "_order",
        "_results",
        "_third",
        "cache_marks",
        "contents",
        "system",
    )

    def __init__(self, model: str, *, call_ids: bool) -> None:
        self._third = generation(model) >= THIRD
        self._call_ids = call_ids
        self._calls = 0
        self._names: dict[str, str] = {}
        self._order: dict[str, int] = {}
        self._results: list[tuple[int, Document]] = []
        self._media: list[Document] = []
        self.contents: list[Document] = []
        self.system: list[Document] = []
        self.cache_marks = False

    def add(self, message: object, where: str) -> None:
        """The next message. Raises invalid_field or unsupported_parameter naming what cannot be sent."""
        if not isinstance(message, dict):
            raise invalid(where, "must be an object")
        role = message.get("role")
        content = message.get("content")
        self._note_marks(message, content)
        if role in ("tool", "function"):
            self._add_result(message, where)
            return
        self._flush()
        if role == "user":
            self._append("user", content_parts(content, f"{where}.content"))
        elif role == "assistant":
            self._append("model", self._model_parts(message, where))
        elif role in ("system", "developer"):
            self.system += self._system_parts(content, f"{where}.content")
        else:
            raise invalid(f"{where}.role", "must be system, developer, user, assistant, tool or function")

    def finish(self) -> None:
        """No more messages. A conversation of instructions only is asked as a user's."""
        self._flush()
        if not self.contents and self.system:
            self.contents, self.system = [{"role": "user", "parts": self.system}], []
        if self._third:
            for content in self.contents:
                if content["role"] == "model":
                    _sign_first_call(content["parts"])

    def _note_marks(self, message: Document, content: object) -> None:
        if "cache_control" in message:
            self.cache_marks = True
        elif not self.cache_marks and isinstance(content, list):
            self.cache_marks = any(isinstance(part, dict) and "cache_control" in part for part in content)

    def _append(self, role: str, parts: list[Document]) -> None:
        if not parts:
            return
        last = self.contents[-1] if self.contents else None
        if last is not None and last["role"] == role and "functionResponse" not in last["parts"][0]:
            last["parts"] += parts
        else:
            self.contents.append({"role": role, "parts": parts})

    def _system_parts(self, content: object, where: str) -> list[Document]:
        parts = content_parts(content, where)
        for index, part in enumerate(parts):
            if "text" not in part:
                raise lacks(f"{where}[{index}]", "something other than text, which instructions cannot have")
        return [part for part in parts if part["text"]]

    def _model_parts(self, message: Document, where: str) -> list[Document]:
        thoughts, unnamed, by_id = _signatures(message.get("reasoning_details"))
        parts = [part for part in content_parts(message.get("content"), f"{where}.content") if part.get("text") != ""]
        refusal = message.get("refusal")
        if not parts and isinstance(refusal, str) and refusal:
            parts.append({"text": refusal})
        if unnamed is not None:
            if not parts:
                parts.append({"text": ""})
            parts[-1]["thoughtSignature"] = unnamed
        parts = [*thoughts, *parts, *_images(message.get("images"), by_id, f"{where}.images")]
        for call_id, name, arguments in _calls(message, where):
            self._calls += 1
            call: Document = {"name": name, "args": arguments}
            part: Document = {"functionCall": call}
            if call_id:
                self._names[call_id] = name
                self._order[call_id] = self._calls
                if self._call_ids:
                    call["id"] = call_id
                if call_id in by_id:
                    part["thoughtSignature"] = by_id[call_id]
            parts.append(part)
        return parts

    def _add_result(self, message: Document, where: str) -> None:
        call_id = message.get("tool_call_id")
        call_id = call_id if isinstance(call_id, str) else ""
        name = self._names.get(call_id) or message.get("name") or call_id
        if not isinstance(name, str) or not name:
            raise invalid(f"{where}.tool_call_id", "must name the call that this is the result of")
        text, media = _read_result(message.get("content"), f"{where}.content")
        response: Document = {"name": name, "response": _response(text, failed=message.get("is_error") is True)}
        if self._call_ids and call_id:
            response["id"] = call_id
        for part in media:
            held = part.get("inlineData") or part["fileData"]
            if self._third and held["mimeType"] in _IN_RESPONSES:
                response.setdefault("parts", []).append(part)
            else:
                self._media.append(part)
        order = self._order.get(call_id, self._calls + 1)
        self._results.append((order, {"functionResponse": response}))

    def _flush(self) -> None:
        """The results so far, in the order of their calls: without ids that is what they are matched by."""
        if not self._results:
            return
        self._results.sort(key=lambda result: result[0])
        self.contents.append({"role": "user", "parts": [part for _, part in self._results]})
        if self._media:
            self.contents.append({"role": "user", "parts": self._media})
        self._results, self._media = [], []


def _sign_first_call(parts: list[Document]) -> None:
    for part in parts:
        if "functionCall" in part:
            part.setdefault("thoughtSignature", NO_SIGNATURE)
            return


def _signatures(details: object) -> tuple[list[Document], str | None, dict[str, str]]:
    """Of our own format: signed thoughts, the signature of the text, and those of calls and images by id."""
    thoughts: list[Document] = []
    unnamed: str | None = None
    by_id: dict[str, str] = {}
    for detail in details if isinstance(details, list) else ():
        if not isinstance(detail, dict) or detail.get("format") != FORMAT:
            continue
        kind, data, owner = detail.get("type"), detail.get("data"), detail.get("id")
        text, signature = detail.get("text"), detail.get("signature")
        if kind == "reasoning.encrypted" and isinstance(data, str) and data:
            if isinstance(owner, str) and owner:
                by_id[owner] = data
            else:
                unnamed = data
        elif kind == "reasoning.text" and isinstance(text, str) and isinstance(signature, str) and signature:
            thoughts.append({"text": text, "thought": True, "thoughtSignature": signature})
    return thoughts, unnamed, by_id


def _images(images: object, by_id: dict[str, str], where: str) -> list[Document]:
    """Images that a model made earlier, for it to go on with; only by value, and never a reason to refuse."""
    parts: list[Document] = []
    for index, image in enumerate(images if isinstance(images, list) else ()):
        given = image.get("image_url") if isinstance(image, dict) else None
        url = given.get("url") if isinstance(given, dict) else None
        if isinstance(url, str) and url.startswith("data:"):
            part = inline_data(url, f"{where}[{index}]")
            if f"image_{index}" in by_id:
                part["thoughtSignature"] = by_id[f"image_{index}"]
            parts.append(part)
    return parts


def _calls(message: Document, where: str) -> list[tuple[str, str, Document]]:
    """Id (maybe empty), name and arguments of each call that the message makes, in the newer form or the older."""
    calls = message.get("tool_calls")
    if calls is None:
        old = message.get("function_call")
        return [] if old is None else [("", *_called(old, f"{where}.function_call"))]
    if not isinstance(calls, list):
        raise invalid(f"{where}.tool_calls", "must be an array")
    found = []
    for index, call in enumerate(calls):
        at = f"{where}.tool_calls[{index}]"
        if not isinstance(call, dict):
            raise invalid(at, "must be an object")
        call_id = call.get("id")
        custom = call.get("custom")
        if isinstance(custom, dict):
            called = text_of(custom.get("name"), f"{at}.custom.name"), {"input": custom.get("input")}
        else:
            called = _called(call.get("function"), f"{at}.function")
        found.append((call_id if isinstance(call_id, str) else "", *called))
    return found


def _called(function: object, where: str) -> tuple[str, Document]:
    if not isinstance(function, dict):
        raise invalid(where, "must be an object")
    name = text_of(function.get("name"), f"{where}.name")
    arguments = function.get("arguments")
    if isinstance(arguments, dict):
        return name, arguments
    if not isinstance(arguments, str) or not arguments.strip():
        return name, {}
    read = _object_in(arguments)
    # What another model wrote wrongly must not end the conversation here.
    return name, {"arguments": arguments} if read is None else read


def _read_result(content: object, where: str) -> tuple[str, list[Document]]:
    if isinstance(content, str):
        return content, []
    if content is None:
        return "", []
    if not isinstance(content, list):
        raise invalid(where, "must be a string or an array of parts")
    parts = [content_part(part, f"{where}[{index}]") for index, part in enumerate(content)]
    return "".join(part["text"] for part in parts if "text" in part), [part for part in parts if "text" not in part]


def _response(text: str, *, failed: bool) -> Document:
    """A result as the object that Gemini wants; `output` and `error` are its own words for those that are none."""
    read = _object_in(text)
    if failed:
        return {"error": text if read is None else read}
    return {"output": text} if read is None else read


def _object_in(text: str) -> Document | None:
    if text.lstrip()[:1] != "{":
        return None
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return found if type(found) is dict else None
