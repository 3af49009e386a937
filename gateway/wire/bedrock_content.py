"""Content parts as Converse's blocks: text, images, documents, sound. Bytes travel in the body as base64.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ContentBlock.html (read 2026-11). S3 addresses
are not taken: the gateway's own rights would fetch them, not the caller's.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

from gateway.wire.checks import invalid
from gateway.wire.dialect import Document

_IMAGE_FORMATS = {
    "image/png": "png",
    "image/jpeg": "jpeg",
    "image/jpg": "jpeg",
    "image/gif": "gif",
    "image/webp": "webp",
}
_DOCUMENT_FORMATS = {
    "application/pdf": "pdf",
    "text/csv": "csv",
    "application/csv": "csv",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "text/html": "html",
    "text/plain": "txt",
    "text/markdown": "md",
    "text/x-markdown": "md",
}
_EXTENSIONS = frozenset({*_DOCUMENT_FORMATS.values(), "htm", "markdown", "text"})
_EXTENSION_FORMATS = {"htm": "html", "markdown": "md", "text": "txt"}
_SOUND_FORMATS = frozenset({"aac", "flac", "m4a", "mp3", "mp4", "mpeg", "ogg", "opus", "pcm", "wav", "webm"})
# A document's name: letters, digits, single spaces, hyphens, parentheses and square brackets, 200 at most
# (https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_DocumentBlock.html, read 2026-11).
_NOT_IN_NAMES = re.compile(r"[^0-9A-Za-z\-()\[\]]+")
_NAME_CHARACTERS = 150


class Documents:
    """Names for the documents of one request: allowed characters only, and no name twice."""

    __slots__ = ("_taken",)

    def __init__(self) -> None:
        self._taken: dict[str, int] = {}  # how often each was wanted

    def name(self, filename: object) -> str:
        """A name for the next document, close to its file's."""
        stem = filename.rpartition("/")[2] if isinstance(filename, str) else ""
        dot = stem.rfind(".")
        stem = _NOT_IN_NAMES.sub(" ", (stem[:dot] if dot > 0 else stem)[:_NAME_CHARACTERS]).strip() or "Document"
        name = stem
        while name in self._taken:
            self._taken[stem] += 1
            name = f"{stem} ({self._taken[stem]})"
        self._taken[name] = 1
        return name


def blank(text: str) -> bool:
    """Converse refuses blocks of nothing but white space."""
    return not text or text.isspace()


def parts_of(content: object, where: str) -> Iterable[tuple[str, Document]]:
    """Each part of a message's content with its place in the request; a string is one text part."""
    if content is None:
        return
    if isinstance(content, str):
        yield where, {"type": "text", "text": content}
        return
    if not isinstance(content, list):
        raise invalid(where, "must be a string or an array")
    for index, part in enumerate(content):
        place = f"{where}[{index}]"
        if isinstance(part, str):
            yield place, {"type": "text", "text": part}
        elif isinstance(part, dict):
            yield place, part
        else:
            raise invalid(place, "must be an object")


def text_of(part: Document, where: str) -> str:
    """The text of a text part. Raises invalid_field."""
    text = part.get("text")
    if not isinstance(text, str):
        raise invalid(f"{where}.text", "must be a string")
    return text


def encode_part(part: Document, where: str, documents: Documents) -> Document | None:
    """One block; None for a blank text. Raises invalid_field for what Converse has no block for."""
    kind = part.get("type")
    if kind == "text":
        text = text_of(part, where)
        return None if blank(text) else {"text": text}
    if kind == "image_url":
        return _image(part, where)
    if kind == "file":
        return _file(part, where, documents)
    if kind == "input_audio":
        return _sound(part, where)
    raise invalid(f"{where}.type", "names a kind of content that Bedrock does not take")


def _image(part: Document, where: str) -> Document:
    given = part.get("image_url")
    url = given.get("url") if isinstance(given, dict) else given
    media_type, data = read_data_uri(url, f"{where}.image_url.url")
    return _image_block(media_type, data, f"{where}.image_url.url")


def _image_block(media_type: str, data: str, where: str) -> Document:
    form = _IMAGE_FORMATS.get(media_type)
    if form is None:
        raise invalid(where, "must be a PNG, JPEG, GIF or WebP image")
    return {"image": {"format": form, "source": {"bytes": data}}}


def _file(part: Document, where: str, documents: Documents) -> Document:
    given = part.get("file")
    if not isinstance(given, dict):
        raise invalid(f"{where}.file", "must be an object")
    filename = given.get("filename")
    content = given.get("file_data")
    if content is None:
        content = given.get("file_url") or part.get("file_url")
    place = f"{where}.file.file_data"
    if content is None:
        raise invalid(place, "is required: Bedrock keeps no uploaded files")
    if isinstance(content, str) and ":" not in content[:8]:
        media_type, data = "", content  # bare base64: its name must tell what it is
    else:
        media_type, data = read_data_uri(content, place)
    if media_type.startswith("image/"):
        return _image_block(media_type, data, place)
    form = _DOCUMENT_FORMATS.get(media_type) or _by_extension(filename)
    if form is None:
        raise invalid(place, "must be a PDF, Word, Excel, CSV, HTML, Markdown or text file")
    return {"document": {"name": documents.name(filename), "format": form, "source": {"bytes": data}}}


def _by_extension(filename: object) -> str | None:
    if not isinstance(filename, str):
        return None
    extension = filename[-16:].rpartition(".")[2].lower()
    return _EXTENSION_FORMATS.get(extension, extension) if extension in _EXTENSIONS else None


def _sound(part: Document, where: str) -> Document:
    given = part.get("input_audio")
    given = given if isinstance(given, dict) else {}
    form, data = given.get("format"), given.get("data")
    if not isinstance(data, str) or not data:
        raise invalid(f"{where}.input_audio.data", "must be base64")
    if not isinstance(form, str) or form not in _SOUND_FORMATS:
        raise invalid(f"{where}.input_audio.format", "is not one that Bedrock takes")
    return {"audio": {"format": form, "source": {"bytes": data}}}


def read_data_uri(uri: object, where: str) -> tuple[str, str]:
    """Media type (lower case) and base64 of a data URI (RFC 2397). Raises invalid_field for anything else."""
    if not isinstance(uri, str) or uri[:5].lower() != "data:":
        raise invalid(where, "must be a data URI")
    head, comma, data = uri.partition(",")
    if not comma or len(head) > 256:
        raise invalid(where, "must be a data URI")
    media_type, *attributes = head[5:].lower().split(";")
    if "base64" in attributes:
        return media_type, data
    try:
        return media_type, base64.b64encode(unquote_to_bytes(data)).decode()
    except UnicodeEncodeError:
        raise invalid(where, "must be a data URI") from None


def document_names(document: Document) -> list[str]:
    """The file names of a request's documents in the order that `documentIndex` counts them by."""
    names: list[str] = []
    messages = document.get("messages")
    for message in messages if isinstance(messages, list) else ():
        content = message.get("content") if isinstance(message, dict) else None
        for part in content if isinstance(content, list) else ():
            file = part.get("file") if isinstance(part, dict) and part.get("type") == "file" else None
            if isinstance(file, dict) and not _is_image(file, part):
                filename = file.get("filename")
                names.append(filename if isinstance(filename, str) else "")
    return names


def _is_image(file: Document, part: Document) -> bool:
    content = file.get("file_data") or file.get("file_url") or part.get("file_url")
    return isinstance(content, str) and content[:11].lower() == "data:image/"
