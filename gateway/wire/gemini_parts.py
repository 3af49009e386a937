"""Content parts of a request as Gemini's parts: text, and media by value or by reference.

https://ai.google.dev/api/caching#Part (read 2026-11).
"""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import unquote_to_bytes

from gateway.errors import GatewayError
from gateway.wire.checks import invalid

Document = dict[str, Any]

# https://ai.google.dev/gemini-api/docs/audio#supported-formats (read 2026-11).
_AUDIO = {"mp3": "audio/mp3", "wav": "audio/wav", "pcm16": "audio/pcm;rate=24000", "m4a": "audio/m4a"}
_AUDIO |= {name: f"audio/{name}" for name in ("aac", "aiff", "flac", "ogg", "opus")}
_BY_SUFFIX = {
    "avi": "video/avi",
    "csv": "text/csv",
    "gif": "image/gif",
    "heic": "image/heic",
    "heif": "image/heif",
    "html": "text/html",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "json": "application/json",
    "md": "text/markdown",
    "mov": "video/quicktime",
    "mp4": "video/mp4",
    "mpeg": "video/mpeg",
    "pdf": "application/pdf",
    "png": "image/png",
    "txt": "text/plain",
    "webm": "video/webm",
    "webp": "image/webp",
    **_AUDIO,
}
_ANY = "application/octet-stream"
_MAX_SUFFIX_CHARS = 8


def lacks(field: str, what: str) -> GatewayError:
    """The error for a part of the request that the provider has nothing for."""
    return GatewayError("unsupported_parameter", f"The field '{field}' holds {what}.", param=field)


def content_parts(content: object, where: str) -> list[Document]:
    """The parts of a message's content, which is text, a list of parts or nothing. Raises invalid_field."""
    if isinstance(content, str):
        return [{"text": content}]
    if content is None:
        return []
    if not isinstance(content, list):
        raise invalid(where, "must be a string or an array of parts")
    return [content_part(part, f"{where}[{index}]") for index, part in enumerate(content)]


def content_part(part: object, where: str) -> Document:
    """One part. Raises invalid_field naming it, or unsupported_parameter for a kind that Gemini has not."""
    if isinstance(part, str):
        return {"text": part}
    if not isinstance(part, dict):
        raise invalid(where, "must be an object")
    kind = part.get("type")
    if kind in ("text", "refusal"):
        return {"text": text_of(part.get(kind), f"{where}.{kind}")}
    if kind in ("image_url", "video_url"):
        given = part.get(kind)
        url = given.get("url") if isinstance(given, dict) else given
        return _by_url(url, f"{where}.{kind}.url", "image/jpeg" if kind == "image_url" else "video/mp4")
    if kind == "input_audio":
        return _audio(part.get("input_audio"), f"{where}.input_audio")
    if kind == "file":
        return _file(part.get("file"), part.get("file_url"), f"{where}.file")
    raise lacks(where, f"a part of a kind that is not supported: {str(kind)[:40]}")


def text_of(value: object, where: str) -> str:
    """`value`, which must be text. Raises invalid_field."""
    if not isinstance(value, str):
        raise invalid(where, "must be a string")
    return value


def inline_data(uri: str, where: str) -> Document:
    """The bytes of a data URI (RFC 2397) as `inlineData`. Raises invalid_field."""
    head, comma, data = uri.partition(",")
    if not comma:
        raise invalid(where, "is not a data URI")
    kind, *flags = head[5:].split(";")
    if "base64" not in flags:
        data = base64.b64encode(unquote_to_bytes(data.encode(errors="replace"))).decode()
    return {"inlineData": {"mimeType": kind or "text/plain", "data": data}}


def _by_url(url: object, where: str, usual: str) -> Document:
    """By value for a data URI; by reference for what Google itself fetches: gs://, its Files API, YouTube, the web."""
    if not isinstance(url, str) or not url:
        raise invalid(where, "must be a URL")
    if url[:5].lower() == "data:":
        return inline_data(url, where)
    return {"fileData": {"mimeType": _type_of(url) or usual, "fileUri": url}}


def _type_of(name: str) -> str | None:
    suffix = name.partition("?")[0].rpartition(".")[2]
    return _BY_SUFFIX.get(suffix.lower()) if len(suffix) <= _MAX_SUFFIX_CHARS else None


def _audio(given: object, where: str) -> Document:
    data = given.get("data") if isinstance(given, dict) else None
    kind = given.get("format") if isinstance(given, dict) else None
    if not isinstance(data, str) or not isinstance(kind, str):
        raise invalid(where, "must have data and format")
    if kind not in _AUDIO:
        raise invalid(f"{where}.format", f"must be one of {', '.join(sorted(_AUDIO))}")
    return {"inlineData": {"mimeType": _AUDIO[kind], "data": data}}


def _file(given: object, file_url: object, where: str) -> Document:
    if not isinstance(given, dict):
        given = {}
    name = given.get("filename")
    usual = (_type_of(name) if isinstance(name, str) else None) or "application/pdf"
    data = given.get("file_data")
    if isinstance(data, str):
        if data[:5].lower() == "data:":
            part = inline_data(data, f"{where}.file_data")
            if part["inlineData"]["mimeType"] == _ANY:
                part["inlineData"]["mimeType"] = usual
            return part
        return {"inlineData": {"mimeType": usual, "data": data}}
    url = given.get("file_url") or file_url
    if url is not None:
        return _by_url(url, f"{where}.file_url", usual)
    if given.get("file_id") is not None:
        raise lacks(f"{where}.file_id", "a file of another provider; give it as file_data or file_url")
    raise invalid(where, "must have file_data or file_url")
