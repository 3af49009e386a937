"""Parts of a message's content as Anthropic's content blocks: text, images and documents.

Formats: https://platform.claude.com/docs/en/build-with-claude/vision, .../pdf-support and .../files (read 2026-11).
"""

from __future__ import annotations

import base64
import binascii
from urllib.parse import unquote_to_bytes

from gateway.errors import GatewayError
from gateway.wire.checks import invalid
from gateway.wire.dialect import Document

FILES_BETA = "files-api-2025-04-14"
_MEDIA_TYPES = {"image/jpg": "image/jpeg"}
_PDF = "application/pdf"
# What Anthropic's document blocks know beside their source.
_DOCUMENT_FIELDS = ("title", "context", "citations")


def text_block(text: str, marker: object = None) -> Document | None:
    """A text block; None for a blank text, which the API refuses. `marker` is its cache_control."""
    if not text or text.isspace():
        return None
    block: Document = {"type": "text", "text": text}
    if isinstance(marker, dict):
        block["cache_control"] = marker
    return block


def content_blocks(content: object, place: str, *, media: bool) -> list[Document]:
    """The blocks of a message's `content`, which stands at `place`; `media` says whether it may hold more than text.

    Blank texts are left out. Raises invalid_field for what is no content, unsupported_parameter for a kind of part
    that Claude models do not read (audio, video).
    """
    if content is None:
        return []
    if isinstance(content, str):
        block = text_block(content)
        return [] if block is None else [block]
    if not isinstance(content, list):
        raise invalid(place, "must be a string or an array of parts")
    blocks: list[Document] = []
    for index, part in enumerate(content):
        made = _block(part, f"{place}[{index}]", media=media)
        if made is not None:
            blocks.append(made)
    return blocks


def _block(part: object, place: str, *, media: bool) -> Document | None:
    if isinstance(part, str):
        return text_block(part)
    if not isinstance(part, dict):
        raise invalid(place, "must be an object")
    kind = part.get("type")
    marker = part.get("cache_control")
    if kind in ("text", "refusal"):
        text = part.get(kind)
        if not isinstance(text, str):
            raise invalid(f"{place}.{kind}", "must be a string")
        return text_block(text, marker)
    if media and kind == "image_url":
        block = _image(part.get("image_url"), place)
    elif media and kind == "file":
        block = _file(part, place)
    else:
        message = f"The field '{place}.type' names a kind of content that the model does not take here."
        raise GatewayError("unsupported_parameter", message, param=f"{place}.type")
    if isinstance(marker, dict):
        block["cache_control"] = marker
    return block


def _image(image: object, place: str) -> Document:
    url = image.get("url") if isinstance(image, dict) else image
    if not isinstance(url, str) or not url:
        raise invalid(f"{place}.image_url.url", "must be a URL")
    return {"type": "image", "source": _source(url, f"{place}.image_url.url")}


def _source(url: str, place: str) -> Document:
    """A base64 or URL source."""
    if url[:5].lower() == "data:":
        media_type, data = read_data_uri(url, place)
        return {"type": "base64", "media_type": _MEDIA_TYPES.get(media_type, media_type), "data": data}
    if url[:8].lower().startswith(("https://", "http://")):
        return {"type": "url", "url": url}
    raise invalid(place, "must be an http, https or data URL")


def read_data_uri(uri: str, place: str) -> tuple[str, str]:
    """The media type (lower case, without parameters) and the base64 data of a data URI. Raises invalid_field."""
    head, comma, data = uri[5:].partition(",")
    if not comma:
        raise invalid(place, "is not a data URI")
    media_type, *parameters = head.split(";")
    if not parameters or parameters[-1].strip().lower() != "base64":
        data = base64.b64encode(unquote_to_bytes(data.encode(errors="replace"))).decode()
    return media_type.strip().lower() or "text/plain", data


def _file(part: Document, place: str) -> Document:
    file = part.get("file")
    file = file if isinstance(file, dict) else {}
    block: Document = {"type": "document", "source": _file_source({**part, **file}, place)}
    if block["source"].get("media_type", "").startswith("image/"):
        return {"type": "image", "source": block["source"]}
    name = file.get("filename")
    if isinstance(name, str) and name:
        block["title"] = name
    for field in _DOCUMENT_FIELDS:
        value = part.get(field, file.get(field))
        if value is not None:
            block[field] = value
    return block


def _file_source(file: Document, place: str) -> Document:
    given = [(name, file[name]) for name in ("file_data", "file_url", "file_id") if file.get(name) is not None]
    if len(given) != 1 or not isinstance(given[0][1], str) or not given[0][1]:
        raise invalid(f"{place}.file", "must have one of file_data, file_url and file_id")
    name, value = given[0]
    if name == "file_id":
        return {"type": "file", "file_id": value}
    if name == "file_url":
        return _source(value, f"{place}.file.file_url")
    if value[:5].lower() != "data:":
        value = f"data:{_PDF};base64,{value}"
    media_type, data = read_data_uri(value, f"{place}.file.file_data")
    if media_type == _PDF or media_type.startswith("image/"):
        return {"type": "base64", "media_type": _MEDIA_TYPES.get(media_type, media_type), "data": data}
    if media_type.startswith("text/") or media_type in ("application/json", "application/xml"):
        return {"type": "text", "media_type": "text/plain", "data": _decoded(data, f"{place}.file.file_data")}
    message = f"The field '{place}.file' holds a kind of file that the model does not read; it may be a PDF or text."
    raise GatewayError("unsupported_parameter", message, param=f"{place}.file")


def _decoded(data: str, place: str) -> str:
    try:
        return base64.b64decode(data.encode()).decode()
    except (binascii.Error, UnicodeError):
        raise invalid(place, "must be UTF-8 text in base64") from None
