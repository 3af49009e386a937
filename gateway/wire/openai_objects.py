"""Which stored objects a request refers to, and which ones an answer tells of. Pure.

Fields as in https://platform.openai.com/docs/api-reference (read 2026-11).
"""

from __future__ import annotations

from typing import Any, Final

from gateway.wire import duplicates
from gateway.wire.dialect import Document

FILE, BATCH, JOB, UPLOAD = "file", "batch", "fine_tuning_job", "upload"
RESPONSE, ITEM = "response", "response_item"

# (kind, id at the provider)
ObjectName = tuple[str, str]

_REFERENCES = {
    "file_id": FILE,
    "file_ids": FILE,
    "input_file_id": FILE,
    "training_file": FILE,
    "validation_file": FILE,
    "previous_response_id": RESPONSE,
    "conversation": "conversation",
    "vector_store_id": "vector_store",
    "vector_store_ids": "vector_store",
    "container": "container",
}
# What stands below these is the client's own data and means nothing to the provider.
_OPAQUE = frozenset({"metadata", "parameters", "schema", "input_schema", "arguments"})
# What a model calls a tool with, as a client of Anthropic's API sends it back.
_CALLS = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})
_OPAQUE_IN_CALLS = _OPAQUE | {"input"}
# Parts of an earlier answer that tell of a file which a tool of the provider made; nobody is recorded for those.
_MADE_BY_TOOLS = frozenset({"code_execution_output", "bash_code_execution_output"})
# Where these do not stand in a body, and nothing at its top is called as below, it refers to nothing.
_FILE_MARK: Final = b'"file_id'
_STORE_MARK: Final = b'"vector_store_id'
_MARKED = frozenset({"file_id", "file_ids", "vector_store_id", "vector_store_ids"})
# A provider's parser may take the first of two equal keys where ours takes the last.
_DECISIVE = tuple(
    b'"%b"' % name.encode()
    for name in ("model", "store", "stream", "background", "input", "tools", "prompt", "images", "id", *_REFERENCES)
)
_NAMES = frozenset(_REFERENCES)
_AT_TOP = _NAMES - _MARKED
MAX_ID_CHARS = 256


def may_refer(body: bytes, document: Document, *, flat: bool = False) -> bool:
    """May `body`, a request of the pipeline read as `document`, refer to objects? Costs next to nothing where not,
    and less where it is known to be `flat` (wire/flat.py)."""
    if flat:
        return not _NAMES.isdisjoint(document)
    return (
        body.find(_FILE_MARK) >= 0
        or body.find(_STORE_MARK) >= 0
        or not _AT_TOP.isdisjoint(document)
        or duplicates.escapes_letters(body)
    )


def references_in(document: Document, *, of_chat: bool = False) -> tuple[set[ObjectName], set[ObjectName]]:
    """What the body refers to: objects that must be the caller's own, and items that must not be another's.

    An item of a response's input that carries an id may come from a response that was never stored, so nobody
    is recorded for it; an `item_reference` has nothing but the stored item. `of_chat`: parts of messages may be calls
    of tools and what came of them, as Anthropic writes them.
    """
    own: set[ObjectName] = set()
    items: set[ObjectName] = set()
    waiting: list[Any] = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, dict):
            part = value.get("type") if of_chat and value is not document else None
            opaque = _OPAQUE_IN_CALLS if isinstance(part, str) and part in _CALLS else _OPAQUE
            found_in = items if isinstance(part, str) and part in _MADE_BY_TOOLS else own
            for name, inner in value.items():
                kind = _REFERENCES.get(name)
                if kind is not None:
                    found_in.update((kind, found) for found in _ids(inner))
                if name not in opaque and isinstance(inner, (dict, list)):
                    waiting.append(inner)
    given = document.get("input")
    for item in given if isinstance(given, list) else ():
        found = item.get("id") if isinstance(item, dict) else None
        if isinstance(found, str):
            (own if _is_reference(item) else items).add((ITEM, found))
    return own, items


def _is_reference(item: Document) -> bool:
    # The type may be left out: what has an id and no content can be nothing else.
    return item.get("type") in ("item_reference", None) and "role" not in item


def _ids(value: Any) -> list[str]:
    if isinstance(value, dict):  # `conversation` may be given as {"id": …}
        value = value.get("id")
    given = value if isinstance(value, list) else [value]
    return [found for found in given if isinstance(found, str)]


def is_ambiguous(body: bytes, document: Document) -> bool:
    """May the body, read as `document`, name something twice that decides who pays or what is read, plainly or through
    escapes?"""
    return b"\\u00" in body or any(body.count(key) > 1 for key in _DECISIVE) or duplicates.is_ambiguous(body, document)


def objects_in(kind: str | None, document: Document) -> list[ObjectName]:
    """The objects that an answer about an object of `kind` tells of: itself, and what came of it."""
    found: list[ObjectName] = []
    if kind is None:
        return found
    _add(found, kind, document.get("id"))
    if kind == BATCH:
        _add(found, FILE, document.get("output_file_id"))
        _add(found, FILE, document.get("error_file_id"))
    elif kind == JOB:
        results = document.get("result_files")
        for result in results if isinstance(results, list) else ():
            _add(found, FILE, result)
    elif kind == UPLOAD:
        made = document.get("file")
        _add(found, FILE, made.get("id") if isinstance(made, dict) else None)
    elif kind == RESPONSE:
        found.extend(items_in(document.get("output")))
    return found


def items_in(items: object) -> list[ObjectName]:
    """The items of a response's output or input list."""
    found: list[ObjectName] = []
    for item in items if isinstance(items, list) else ():
        _add(found, ITEM, item.get("id") if isinstance(item, dict) else None)
    return found


def _add(found: list[ObjectName], kind: str, object_id: object) -> None:
    if isinstance(object_id, str) and 0 < len(object_id) <= MAX_ID_CHARS:
        found.append((kind, object_id))
