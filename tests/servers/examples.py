"""Values that a JSON schema allows, for servers that are asked for structured output."""

from __future__ import annotations

from typing import Any


def example_of(schema: Any, root: Any = None) -> Any:
    """A value for `schema`: the first of everything. References are looked up in `root`, `schema` where not given."""
    root = schema if root is None else root
    if not isinstance(schema, dict):
        return {}
    if "$ref" in schema:
        found = root
        for key in schema["$ref"].removeprefix("#/").split("/"):
            found = found[key]
        return example_of(found, root)
    if "const" in schema or "enum" in schema:
        return schema.get("const", (schema.get("enum") or [None])[0])
    for word in ("anyOf", "oneOf", "allOf"):
        if schema.get(word):
            return example_of(schema[word][0], root)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if kind == "object":
        return {name: example_of(inner, root) for name, inner in schema.get("properties", {}).items()}
    if kind == "array":
        return [example_of(schema.get("items", {"type": "string"}), root)]
    return {"string": "web", "integer": 3, "number": 0.5, "boolean": True}.get(str(kind))
