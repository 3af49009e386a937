"""JSON Schema as Gemini reads it.

`parametersJsonSchema` and `responseJsonSchema` take JSON Schema itself, with references, unions and closed objects,
and ignore what they do not know; the older `parameters` and `responseSchema` are a dialect of OpenAPI 3.0 that refuses
a request for any unknown word. So the JSON Schema fields are used, and only what they would misread is changed:
https://ai.google.dev/api/generate-content#generationconfig (read 2026-11).
"""

from __future__ import annotations

from typing import Any

Document = dict[str, Any]

_MAPS = frozenset({"properties", "$defs", "definitions", "patternProperties"})
_LISTS = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_SINGLE = frozenset({"items", "additionalProperties"})
_OLD_REFERENCE = "#/definitions/"
# A request nests no deeper than this (orjson writes 254 levels).
_MAX_LEVELS = 254


def clean_schema(schema: Document, level: int = 0) -> Document:
    """`schema` with what Gemini would misread put differently; `schema` itself where there is nothing to change.

    Beside a `$ref` only `$` keys may stand; `const` becomes an `enum` of one; an `allOf` of one is that one;
    `definitions` are `$defs`; `$schema` goes.
    """
    if level > _MAX_LEVELS:
        return schema
    reference = schema.get("$ref")
    if isinstance(reference, str):
        return _reference(schema, reference, level)
    changed: Document | None = None
    for key, value in schema.items():
        new = _inner(key, value, level + 1)
        if new is not value:
            changed = dict(schema) if changed is None else changed
            changed[key] = new
    return _reworded(schema if changed is None else changed)


def _inner(key: str, value: object, level: int) -> object:
    if key in _MAPS and isinstance(value, dict):
        found = {name: _cleaned(inner, level) for name, inner in value.items()}
        return found if any(found[name] is not inner for name, inner in value.items()) else value
    if key in _LISTS and isinstance(value, list):
        items = [_cleaned(inner, level) for inner in value]
        return items if any(new is not old for new, old in zip(items, value, strict=True)) else value
    return _cleaned(value, level) if key in _SINGLE else value


def _cleaned(value: object, level: int) -> object:
    return clean_schema(value, level) if isinstance(value, dict) else value


def _reference(schema: Document, reference: str, level: int) -> Document:
    moved = reference.startswith(_OLD_REFERENCE)
    if not moved and all(key.startswith("$") and key != "$schema" for key in schema) and "$defs" not in schema:
        return schema
    kept = {key: value for key, value in schema.items() if key.startswith("$") and key != "$schema"}
    for name in ("$defs", "definitions"):  # at the root a reference may stand beside what it refers to
        if isinstance(schema.get(name), dict):
            kept["$defs"] = _inner("$defs", schema[name], level + 1)
    if moved:
        kept["$ref"] = "#/$defs/" + reference[len(_OLD_REFERENCE) :]
    return kept


def _reworded(schema: Document) -> Document:
    """The same schema without `$schema`, `const`, `definitions` and an `allOf` of one."""
    if schema.keys().isdisjoint(_REWORDED):
        return schema
    new = {key: value for key, value in schema.items() if key not in _REWORDED}
    if "const" in schema:
        new.setdefault("enum", [schema["const"]])
    if "definitions" in schema:
        new.setdefault("$defs", schema["definitions"])
    every = schema.get("allOf")
    if isinstance(every, list) and len(every) == 1 and isinstance(every[0], dict):
        return every[0] if "$ref" in every[0] else {**new, **every[0]}
    if every is not None:
        new["allOf"] = every
    return new


_REWORDED = frozenset({"$schema", "const", "definitions", "allOf"})
