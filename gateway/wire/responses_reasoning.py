"""Reasoning between the canonical form and the items of the Responses API. Pure.

An item's `encrypted_content` is opaque to clients, who send it back as it is. Ours holds the canonical
`reasoning_details`, so that what the model thought reaches its own provider again; one that OpenAI made becomes a
`reasoning.encrypted` detail, as OpenRouter has it (https://openrouter.ai/docs/use-cases/reasoning-tokens and
https://platform.openai.com/docs/guides/reasoning, read 2026-11).
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any

import orjson

from gateway.wire.checks import as_list, as_object, invalid, optional_text, required_text
from gateway.wire.dialect import Document
from gateway.wire.plain_json import to_json

# Whose details these are: OpenRouter's name for OpenAI's Responses API.
OPENAI_FORMAT = "openai-responses-v1"

# Fifteen bytes are twenty characters of base64: what is ours is known by how it begins.
_MARK = b"gw-reasoning-1:"
_OURS = b64encode(_MARK).decode()
# Pieces of these are put together where the same detail comes in many chunks.
_GROWING = ("text", "summary")


def pack(details: list[Document]) -> str:
    """`details` as one opaque text, which `unpack` reads again."""
    return b64encode(_MARK + to_json(details)).decode()


def unpack(text: str) -> list[Document] | None:
    """The details in a text that `pack` made; None for what it did not make, or what somebody changed."""
    if not text.startswith(_OURS):
        return None
    try:
        details = orjson.loads(b64decode(text, validate=True)[len(_MARK) :])
    except ValueError:
        return None
    if type(details) is not list or not _is_shallow(details):
        return None
    return [detail for detail in details if type(detail) is dict]


def _is_shallow(value: Any) -> bool:
    """Can it be written in a request? orjson reads 1,024 levels and writes 254."""
    try:
        orjson.dumps([[[[[[[[value]]]]]]]])
    except orjson.JSONEncodeError:
        return False
    return True


def read_reasoning(item: Document, where: str) -> tuple[str, list[Document]]:
    """A reasoning item's text, maybe empty, and its details, maybe none. Raises missing_field or invalid_field."""
    thoughts = _texts(item, "content", where)
    summaries = _texts(item, "summary", where)
    text = "\n\n".join(thoughts or summaries)
    sealed = optional_text(item, "encrypted_content", where)
    if not sealed:
        return text, []
    details = unpack(sealed)
    if details is not None:
        return text, details
    if sealed.startswith(_OURS):
        raise invalid(f"{where}.encrypted_content", "is not as the gateway gave it")
    item_id = optional_text(item, "id", where)
    theirs: Document = {"format": OPENAI_FORMAT, **({"id": item_id} if item_id else {})}
    found: list[Document] = [{"type": "reasoning.summary", "summary": said, **theirs} for said in summaries]
    found.append({"type": "reasoning.encrypted", "data": sealed, **theirs})
    return text, found


def _texts(item: Document, name: str, where: str) -> list[str]:
    given = item.get(name)
    if given is None:
        return []
    parts = as_list(given, f"{where}.{name}")
    places = [f"{where}.{name}[{index}]" for index in range(len(parts))]
    texts = [required_text(as_object(part, place), "text", place) for part, place in zip(parts, places, strict=True)]
    return [text for text in texts if text]


def detail_text(detail: Document) -> str:
    """What of a detail can be read."""
    for name in _GROWING:
        value = detail.get(name)
        if isinstance(value, str):
            return value
    return ""


class Details:
    """Reasoning details as they come, maybe each in many pieces. Pieces of one have its type and index."""

    __slots__ = ("_by_place", "all")

    def __init__(self) -> None:
        self.all: list[Document] = []
        self._by_place: dict[tuple[str, int], Document] = {}

    def add(self, piece: Document) -> None:
        """Put `piece` behind what has come of its detail; `piece` itself is never changed.

        One without text may come late, with a signature or the call that the detail belongs to.
        """
        known = self._known(piece) or (self.all[-1] if self.all else None)
        if known is not None and _continues(known, piece):
            _join(known, piece)
        else:
            self._append(piece)

    def add_whole(self, detail: Document) -> None:
        """Put in a detail that is no piece, but for one that only says more of another."""
        known = self._known(detail)
        if known is not None and (_is_bare(known) or _is_bare(detail)) and _continues(known, detail):
            _join(known, detail)
        else:
            self._append(detail)

    def _append(self, detail: Document) -> None:
        own = dict(detail)
        self.all.append(own)
        place = _place(detail)
        if place is not None:
            self._by_place[place] = own

    def _known(self, piece: Document) -> Document | None:
        place = _place(piece)
        return None if place is None else self._by_place.get(place)


def _place(detail: Document) -> tuple[str, int] | None:
    kind, index = detail.get("type"), detail.get("index")
    return (kind, index) if isinstance(kind, str) and type(index) is int else None


def _is_bare(detail: Document) -> bool:
    return not any(detail.get(name) for name in ("data", *_GROWING))


def _continues(known: Document, piece: Document) -> bool:
    if "data" in piece and "data" in known:
        return False
    if known.get("signature") and any(piece.get(name) for name in _GROWING):
        return False  # a signature is the end of what it signs
    if known.get("type") != piece.get("type"):
        return False
    return all(_agree(known.get(name), piece.get(name)) for name in ("format", "index", "id"))


def _agree(one: Any, other: Any) -> bool:
    return one is None or other is None or one == other


def _join(known: Document, piece: Document) -> None:
    for name, value in piece.items():
        if value is None:
            continue
        if name in _GROWING and isinstance(value, str) and isinstance(known.get(name), str):
            known[name] += value
        else:
            known[name] = value
