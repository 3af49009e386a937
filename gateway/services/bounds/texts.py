"""What of a prompt is plain text that a provider's own tokenizer gets as it is, so that its tokens can be counted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from gateway.wire.dialect import Document

# What a tool answered is left out: providers may write it anew before they count it.
_ROLES = ("user", "assistant", "system", "developer")
_PARTS = ("text", "input_text", "output_text")
_PLAIN = ("instructions", "prompt", "system")


class Counted(NamedTuple):
    """Texts of `size` bytes that are `tokens` tokens at most."""

    size: int
    tokens: int


NOTHING_COUNTED = Counted(0, 0)


def texts_of(document: Document) -> list[tuple[str, ...]]:
    """The texts of a request to any endpoint that are counted one by one, each as the parts that it is sent in.

    Everything else (names, tools, what tools were called with and said, schemas, numbers) is not among them.
    """
    found: list[tuple[str, ...]] = []
    for name in _PLAIN:
        found += _strings(document.get(name))
    found += _strings(document.get("input"))
    for name in ("messages", "input"):
        messages = document.get(name)
        for message in messages if type(messages) is list else ():
            if type(message) is dict and message.get("role") in _ROLES:
                parts = tuple(_parts(message.get("content")))
                if parts:
                    found.append(parts)
    return found


def size_of(texts: list[tuple[str, ...]]) -> int:
    """Bytes of UTF-8, no more than these texts have in any JSON that holds them."""
    return sum(len(part.encode()) for text in texts for part in text)


def _strings(value: object) -> Iterator[tuple[str, ...]]:
    for text in value if type(value) is list else (value,):
        if type(text) is str:
            yield (text,)


def _parts(content: object) -> Iterator[str]:
    if type(content) is str:
        yield content
    for part in content if type(content) is list else ():
        if type(part) is dict and part.get("type") in _PARTS and type(text := part.get("text")) is str:
            yield text
