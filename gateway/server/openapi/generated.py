"""The paths that are in a table already: operations that are passed through, and further paths of the pipeline's."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from gateway.wire.openai_objects import FILE
from gateway.wire.openai_operations import OPERATIONS, Operation, Takes

Document = dict[str, Any]

_KEYS: list[Document] = [{"bearer": []}, {"xApiKey": []}, {"apiKey": []}]
_ID = {
    "name": "id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": r"^[A-Za-z0-9_\-][A-Za-z0-9_.\-]{0,255}$"},
}
_AFTER = {"name": "after", "in": "query", "schema": {"type": "string"}, "description": "The last id of the page before"}
_LIMIT = {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 10_000}}
_ORDER = {"name": "order", "in": "query", "schema": {"enum": ["asc", "desc"]}}
_PURPOSE = {"name": "purpose", "in": "query", "schema": {"type": "string"}}


def add_operations(document: Document, notes: Mapping[str, Mapping[str, str]]) -> None:
    """Add every operation that is passed through; `notes` has, by method and path, its summary and its bodies' schemas.

    Raises ValueError where the table and the notes do not have the same operations.
    """
    names = {f"{operation.method} {operation.path}" for operation in OPERATIONS}
    if names != notes.keys():
        raise ValueError(f"openapi: noted or in the table, but not both: {', '.join(sorted(names ^ notes.keys()))}")
    for operation in OPERATIONS:
        item = document["paths"].setdefault(f"/v1{operation.path}", {})
        item[operation.method.lower()] = _described(operation, notes[f"{operation.method} {operation.path}"])


def add_aliases(document: Document, aliases: Iterable[tuple[str, str]]) -> None:
    """Describe each `(path, alias)` under both."""
    for path, alias in aliases:
        item = copy.deepcopy(document["paths"][path])
        for operation in item.values():
            operation["operationId"] += "Alias"
        document["paths"][alias] = item


def _described(operation: Operation, note: Mapping[str, str]) -> Document:
    made: Document = {
        "tags": ["passed_through"],
        "operationId": _name(operation),
        "summary": note["summary"],
        "description": f"A key needs `{operation.word}` among its endpoints.",
        "security": _KEYS,
        "parameters": _parameters(operation),
        "responses": {"200": {"description": "The answer.", "content": _answers(operation)}},
        "x-failures": _failures(operation),
    }
    content = {
        kind: {"schema": {"$ref": f"#/components/schemas/{note[word]}"}}
        for kind, word in (("application/json", "body"), ("multipart/form-data", "form"))
        if word in note
    }
    if content:
        made["requestBody"] = {"required": True, "content": content}
    return made


def _name(operation: Operation) -> str:
    words = [part.strip("{}") for part in operation.path.split("/") if part]
    return operation.method.lower() + "".join(part.title().replace("_", "") for part in words)


def _parameters(operation: Operation) -> list[Document]:
    if operation.lists is not None:
        return [_AFTER, _LIMIT, *([_ORDER, _PURPOSE] if operation.lists == FILE else [])]
    return [_ID] if operation.about is not None else []


def _answers(operation: Operation) -> Document:
    if operation.raw:
        return {"*/*": {}}
    shape = {"$ref": "#/components/schemas/ObjectList"} if operation.lists is not None else {"type": "object"}
    answers: Document = {"application/json": {"schema": shape}}
    if (operation.model and operation.metered) or operation.path == "/responses/{id}":
        answers["text/event-stream"] = {"schema": {"$ref": "#/components/schemas/Event"}}
    return answers


def _failures(operation: Operation) -> list[str]:
    failures = ["http", "key", "endpoint_not_allowed", "limits", "objects", "upstream", "invalid_field"]
    if operation.takes is not Takes.NOTHING or operation.method == "POST":
        failures.append("body")
    if operation.model:
        failures += ["model_not_found", "model_not_allowed"]
    if operation.metered:
        failures += ["budgets", "journal_unavailable"]
    if operation.path == "/responses":
        failures.append("once")
    return failures
