"""Content parts of the Responses API as those of chat, which go to the model. Pure.

https://platform.openai.com/docs/api-reference/responses/create and …/chat/create (read 2026-11).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.wire.checks import as_object, invalid, missing, optional_text, required_text, unsupported
from gateway.wire.dialect import Document

_DETAILS = {"auto": "auto", "low": "low", "high": "high", "original": "high"}  # chat has no `original`


def text_part(part: Document, where: str) -> Document:
    """`input_text`, `output_text`: annotations and logprobs are not for the model."""
    return {"type": "text", "text": required_text(part, "text", where)}


def refusal_part(part: Document, where: str) -> Document:
    """`refusal`, which both APIs write alike."""
    return {"type": "refusal", "refusal": required_text(part, "refusal", where)}


def _image_part(part: Document, where: str) -> Document:
    url = optional_text(part, "image_url", where)
    if url is None:
        if part.get("file_id") is not None:
            raise unsupported(f"{where}.file_id", "an image of this model is given by its image_url")
        raise missing(f"{where}.image_url")
    image: Document = {"url": url}
    detail = part.get("detail")
    if detail is not None:
        if not isinstance(detail, str) or detail not in _DETAILS:
            raise invalid(f"{where}.detail", "must be auto, low, high or original")
        image["detail"] = _DETAILS[detail]
    return {"type": "image_url", "image_url": image}


def _file_part(part: Document, where: str) -> Document:
    given = {name: optional_text(part, name, where) for name in ("filename", "file_data", "file_id", "file_url")}
    file = {name: value for name, value in given.items() if value is not None}
    if not file.keys() - {"filename"}:
        raise missing(f"{where}.file_data")
    return {"type": "file", "file": file}


def _audio_part(part: Document, where: str) -> Document:
    place = f"{where}.input_audio"
    if part.get("input_audio") is None:
        raise missing(place)
    audio = as_object(part["input_audio"], place)
    return {
        "type": "input_audio",
        "input_audio": {"data": required_text(audio, "data", place), "format": required_text(audio, "format", place)},
    }


Reader = Callable[[Document, str], Document]

# What a person, a system message or a tool may say, and what the model may have said.
INPUT: dict[str, Reader] = {
    "input_text": text_part,
    "output_text": text_part,
    "text": text_part,
    "input_image": _image_part,
    "input_file": _file_part,
    "input_audio": _audio_part,
}
OUTPUT: dict[str, Reader] = {
    "output_text": text_part,
    "input_text": text_part,
    "text": text_part,
    "refusal": refusal_part,
}


def read_parts(given: list[Any], readers: dict[str, Reader], where: str) -> list[Document]:
    """The parts as chat has them. Raises missing_field, invalid_field or unsupported_parameter, naming the part."""
    parts = []
    for index, value in enumerate(given):
        place = f"{where}[{index}]"
        part = as_object(value, place)
        kind = required_text(part, "type", place)
        reader = readers.get(kind)
        if reader is None:
            raise invalid(f"{place}.type", f"must be one of {', '.join(sorted(readers))}")
        read = reader(part, place)
        mark = _cache_mark(part, place)
        if mark is not None:
            read["cache_control"] = mark
        parts.append(read)
    return parts


def _cache_mark(part: Document, where: str) -> Document | None:
    """The end of a prefix to cache: the canonical form's own mark, or OpenAI's, whose lifetimes nobody shares."""
    mark = part.get("cache_control")
    if mark is not None:
        return as_object(mark, f"{where}.cache_control")
    return {"type": "ephemeral"} if part.get("prompt_cache_breakpoint") is not None else None


def plain(parts: list[Document]) -> str | list[Document]:
    """`parts`, or the text alone where that is all they are: every provider takes a string."""
    if len(parts) == 1 and parts[0].keys() == {"type", "text"}:
        text: str = parts[0]["text"]
        return text
    return parts
