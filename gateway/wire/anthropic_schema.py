"""JSON schemas as Anthropic's structured outputs and strict tools take them: a part of JSON Schema.

Taken are the basic types, enum, const, anyOf, allOf, references inside the schema that do not recur, a few formats,
and objects that allow no further properties
(https://platform.claude.com/docs/en/build-with-claude/structured-outputs#json-schema-limitations, read 2026-11).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from gateway.wire.dialect import Document

_AS_THEY_ARE = frozenset({"type", "enum", "const", "required", "description", "title", "default"})
_MAPS = frozenset({"properties", "$defs", "definitions"})
_DEFINITIONS = frozenset({"$defs", "definitions"})
_LISTS = frozenset({"anyOf", "allOf"})
# What says nothing about which values are right.
_REMARKS = frozenset({"$schema", "$id", "$comment", "examples", "deprecated", "readOnly", "writeOnly"})
_FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"},
)
_MAX_LEVELS = 64


class Narrowed:
    """A schema for Anthropic: `schema`, whether it says all that the given one says (`exact`), and whether the API
    can take it at all (`possible`): references outwards or in a circle it cannot.

    What cannot be said as schema is said in the descriptions, so that the model at least reads it. Where the given
    schema leaves open whether an object may have more properties, this one has it have none, which fits both.
    """

    __slots__ = ("_references", "exact", "possible", "schema")

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self.exact = True
        self.possible = True
        self._references: dict[str, set[str]] = {}
        self.schema = self._node(schema, "", 0)
        if self._recurs():
            self.possible = False
        self.exact = self.exact and self.possible

    def _node(self, node: object, inside: str, level: int) -> Document:
        """One schema; `inside` names the definition that it belongs to."""
        if not isinstance(node, Mapping) or level > _MAX_LEVELS:
            self.possible = False
            return {}
        made: Document = {}
        unsaid: Document = {}
        for key, value in node.items():
            if key in _AS_THEY_ARE:
                made[key] = value
            elif not self._structure(made, key, value, inside, level) and key not in _REMARKS:
                unsaid[key] = value
        if node.get("type") == "object" or "properties" in node:
            made["additionalProperties"] = False
        if unsaid:
            self.exact = False
            _describe(made, unsaid)
        return made

    def _structure(self, made: Document, key: str, value: object, inside: str, level: int) -> bool:
        """Takes over a keyword that holds schemas, or that is taken with some values only; False where it is not."""
        if key in _MAPS and isinstance(value, Mapping):
            made[key] = {
                name: self._node(inner, f"#/{key}/{name}" if key in _DEFINITIONS else inside, level + 1)
                for name, inner in value.items()
            }
        elif key in _LISTS and isinstance(value, list):
            made[key] = [self._node(inner, inside, level + 1) for inner in value]
        elif key == "oneOf" and isinstance(value, list) and "anyOf" not in made:
            self.exact = False
            made["anyOf"] = [self._node(inner, inside, level + 1) for inner in value]
        elif key == "items":
            made[key] = self._node(value, inside, level + 1)
        elif key == "$ref":
            made[key] = value
            self._refer(value, inside)
        elif key == "additionalProperties":
            return value is False
        elif key == "format":
            if not isinstance(value, str) or value not in _FORMATS:
                return False
            made[key] = value
        elif key == "minItems" and value in (0, 1):
            made[key] = value
        else:
            return False
        return True

    def _refer(self, target: object, inside: str) -> None:
        if not isinstance(target, str) or not target.startswith("#/") or target == inside:
            self.possible = False
        else:
            self._references.setdefault(inside, set()).add(target)

    def _recurs(self) -> bool:
        """Do definitions refer to each other in a circle?"""
        done: set[str] = set()
        for first in self._references:
            path: dict[str, list[str]] = {first: list(self._references[first])}
            while path:
                name = next(reversed(path))
                if not path[name]:
                    done.add(name)
                    del path[name]
                    continue
                following = path[name].pop()
                if following in path:
                    return True
                if following not in done:
                    path[following] = list(self._references.get(following, ()))
        return False


def _describe(made: Document, unsaid: Document) -> None:
    try:
        said = orjson.dumps(unsaid).decode()
    except orjson.JSONEncodeError:
        return
    before = made.get("description")
    made["description"] = f"{before} {said}" if isinstance(before, str) and before else said
