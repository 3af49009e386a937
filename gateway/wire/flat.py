"""The usual request, of which much need not be looked for. Pure."""

from __future__ import annotations

from gateway.wire.dialect import Document
from gateway.wire.duplicates import is_as_written


def is_flat(body: bytes, document: Document) -> bool:
    """Does nothing nest in `body`, which was read as `document`, but messages of a role and a text each, and does it
    read the same to everybody?

    It is written as `orjson` writes the document, so no key comes twice, at whatever depth, and none is written with
    escapes.
    """
    for name, value in document.items():
        if type(value) is dict or (type(value) is list and (name != "messages" or not _are_texts(value))):
            return False
    return is_as_written(body, document)


def _are_texts(messages: list[object]) -> bool:
    for message in messages:
        if type(message) is not dict or len(message) != 2 or "role" not in message:
            return False
        if type(message.get("content")) is not str:
            return False
    return True
