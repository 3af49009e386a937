"""What of a prompt is no text: images that count by the piece, sound, and what has no bound at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from gateway.wire.dialect import Document

_TEXTS = frozenset(
    {
        "text",
        "input_text",
        "output_text",
        "summary_text",
        "reasoning_text",
        "refusal",
        "thinking",
        "redacted_thinking",
        "tool_use",
    }
)
# Items of a Responses request that are text all through, or hold parts in `content` or `output`.
_ITEMS = frozenset(
    {
        "message",
        "function_call",
        "function_call_output",
        "custom_tool_call",
        "custom_tool_call_output",
        "reasoning",
    }
)
_IMAGES = ("data:image/png;", "data:image/jpeg;", "data:image/jpg;", "data:image/gif;", "data:image/webp;")
_IMAGE_TYPES = ("image/png", "image/jpeg", "image/jpg", "image/gif", "image/webp")
_REMOTE = ("http://", "https://")
_TEXT_FILE = "data:text/"
_MAX_LEVELS = 4


@dataclass(slots=True)
class Content:
    """`images` of them, whose `image_bytes` are part of the body; `sound` says that there is sound in the prompt, whose
    bytes count as they are. `unbounded` is the path of the first part that nobody can bound."""

    images: int = 0
    image_bytes: int = 0
    sound: bool = False
    unbounded: str = ""


PLAIN: Final = Content()


def read_content(document: Document, *, images: bool, image_urls: bool) -> Content:
    """What a request to any endpoint holds beside text.

    `images` says that the largest image's tokens are known, `image_urls` that this goes for images by URL.
    """
    plain = True
    messages = document.get("messages")
    if type(messages) is list:
        for message in messages:
            if type(message) is dict and (type(message.get("content")) is list or "audio" in message):
                plain = False
                break
    if plain and type(document.get("input")) is not list and type(document.get("system")) is not list:
        return PLAIN
    reader = _Reader(images, image_urls)
    reader.messages(messages, "messages")
    reader.parts(document.get("system"), "system", 0)
    reader.items(document.get("input"), "input")
    return reader.found


class _Reader:
    """Goes through a prompt until something unbounded is met."""

    __slots__ = ("_image_urls", "_images", "found")

    def __init__(self, images: bool, image_urls: bool) -> None:
        self._images = images
        self._image_urls = image_urls
        self.found = Content()

    def messages(self, messages: object, path: str) -> None:
        for index, message in enumerate(messages if type(messages) is list else ()):
            if type(message) is not dict:
                continue
            if message.get("audio"):  # what was said earlier, kept by the provider under an id
                self._give_up(f"{path}[{index}].audio")
            self.parts(message.get("content"), f"{path}[{index}].content", 0)

    def items(self, items: object, path: str) -> None:
        """The input of a Responses request, or the texts of an embeddings request."""
        for index, item in enumerate(items if type(items) is list else ()):
            if type(item) is not dict:
                if type(item) is not int:
                    continue
                return  # a list of token numbers
            where = f"{path}[{index}]"
            kind = item.get("type")
            if (type(kind) is str and kind in _ITEMS) or (kind is None and "role" in item):
                self.parts(item.get("content"), f"{where}.content", 0)
                self.parts(item.get("output"), f"{where}.output", 0)
            else:
                self._part(item, where, 0)

    def parts(self, parts: object, path: str, level: int) -> None:
        if type(parts) is not list:
            return
        if level > _MAX_LEVELS:
            self._give_up(path)
            return
        for index, part in enumerate(parts):
            if type(part) is dict:
                self._part(part, f"{path}[{index}]", level)

    def _part(self, part: Document, path: str, level: int) -> None:
        kind = part.get("type")
        if type(kind) is str and kind in _TEXTS:
            return
        if kind in ("image_url", "input_image"):
            image = part.get("image_url")
            self._image(image.get("url") if type(image) is dict else image, path)
        elif kind == "image":
            self._source(part.get("source"), path)
        elif kind == "input_audio":
            self.found.sound = True
        elif kind in ("file", "input_file"):
            self._file(part if kind == "input_file" else part.get("file"), path)
        elif kind == "tool_result":
            self.parts(part.get("content"), f"{path}.content", level + 1)
        elif kind == "document":
            self._document(part.get("source"), path, level)
        else:
            self._give_up(path)

    def _image(self, url: object, path: str) -> None:
        """An image as a data URI, or by URL; anything else (a file's id) is out of sight."""
        if not self._images or type(url) is not str:
            self._give_up(path)
        elif url.startswith(_IMAGES):
            self.found.images += 1
            self.found.image_bytes += len(url)
        elif self._image_urls and url[:8].lower().startswith(_REMOTE):
            self.found.images += 1
        else:
            self._give_up(path)

    def _source(self, source: Any, path: str) -> None:
        """Where an Anthropic image is."""
        if type(source) is not dict:
            self._give_up(path)
            return
        data = source.get("data")
        if self._images and source.get("type") == "base64" and type(data) is str:
            if source.get("media_type") in _IMAGE_TYPES:
                self.found.images += 1
                self.found.image_bytes += len(data)
                return
        elif source.get("type") == "url":
            self._image(source.get("url"), path)
            return
        self._give_up(path)

    def _file(self, file: Any, path: str) -> None:
        """A text file's bytes count as text; a page of a PDF may take few bytes and many tokens."""
        data = file.get("file_data") if type(file) is dict else None
        named = type(file) is dict and (file.get("file_id") or file.get("file_url"))
        if named or type(data) is not str or not data.startswith(_TEXT_FILE):
            self._give_up(path)

    def _document(self, source: Any, path: str, level: int) -> None:
        kind = source.get("type") if type(source) is dict else None
        if kind == "content":
            self.parts(source.get("content"), f"{path}.source.content", level + 1)
        elif kind != "text":
            self._give_up(path)

    def _give_up(self, path: str) -> None:
        self.found.unbounded = self.found.unbounded or path
