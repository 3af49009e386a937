"""Images and files that a canonical request names by URL: which they are, and the request with them inside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gateway.errors import GatewayError
from gateway.wire.dialect import Document

MAX_REMOTE_PARTS = 20
_REMOTE = ("http://", "https://")


def remote_urls(document: Document, *, images: bool, files: bool) -> list[str]:
    """The http URLs of a request's image parts and file parts, as asked, each once.

    Raises invalid_field for more than MAX_REMOTE_PARTS.
    """
    found: dict[str, None] = {}
    for part in _parts(document):
        url = _url(part, images=images, files=files)
        if url is not None:
            found[url] = None
    if len(found) > MAX_REMOTE_PARTS:
        raise GatewayError(
            "invalid_field",
            f"The field 'messages' names {len(found)} images and files by URL; the provider takes none by URL, and at "
            f"most {MAX_REMOTE_PARTS} are fetched for it.",
            param="messages",
        )
    return list(found)


def inlined(document: Document, fetched: Mapping[str, str]) -> Document:
    """A copy of the request with the data URIs of `fetched` (by URL) in place of those URLs."""
    messages = []
    for message in document["messages"]:
        content = message.get("content") if isinstance(message, dict) else None
        if isinstance(content, list):
            message = {**message, "content": [_inlined(part, fetched) for part in content]}
        messages.append(message)
    return {**document, "messages": messages}


def _inlined(part: object, fetched: Mapping[str, str]) -> object:
    url = _url(part, images=True, files=True)
    if url is None or url not in fetched or not isinstance(part, dict):
        return part
    if part.get("type") == "image_url":
        image = part["image_url"]
        return {**part, "image_url": {**(image if isinstance(image, dict) else {}), "url": fetched[url]}}
    file = {name: value for name, value in part["file"].items() if name != "file_url"}
    return {**part, "file": {**file, "file_data": fetched[url]}}


def _parts(document: Document) -> Iterator[object]:
    messages = document.get("messages")
    for message in messages if isinstance(messages, list) else ():
        content = message.get("content") if isinstance(message, dict) else None
        if isinstance(content, list):
            yield from content


def _url(part: object, *, images: bool, files: bool) -> str | None:
    """The http URL of an image part or a file part."""
    if not isinstance(part, dict):
        return None
    kind = part.get("type")
    url: object = None
    if images and kind == "image_url":
        image = part.get("image_url")
        url = image.get("url") if isinstance(image, dict) else image
    elif files and kind == "file":
        file = part.get("file")
        url = file.get("file_url") if isinstance(file, dict) else None
    return url if isinstance(url, str) and url[:8].lower().startswith(_REMOTE) else None
