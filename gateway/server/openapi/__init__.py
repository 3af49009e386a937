"""The API's description, as served at /openapi.json: the YAML files of this package as one OpenAPI 3.1 document.

A new file of paths is found by itself; paths that are in a table are generated from it. An operation names the failures
it may answer with in `x-failures`: codes of errors.py, or groups of them that a file lists under `x-failure-groups`;
each status then gets its response here, so that the document cannot differ from the table.
"""

from __future__ import annotations

import functools
from importlib import resources
from typing import Any

import orjson
import yaml

from gateway import __version__
from gateway.errors import FAILURES
from gateway.server.anthropic.token_count import PATHS as COUNT_PATHS
from gateway.server.openapi.generated import add_aliases, add_operations
from gateway.wire.endpoints import ENDPOINTS

Document = dict[str, Any]

_METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")


@functools.cache
def openapi_document() -> bytes:
    """OpenAPI 3.1 of what clients may call, as JSON. Read at the first call."""
    return orjson.dumps(build_document())


def build_document() -> Document:
    """The same as an object of its own. Raises ValueError for files that contradict each other or name no failure."""
    document: Document = {"openapi": "3.1.0", "info": {"version": __version__}, "paths": {}, "components": {}}
    groups: dict[str, list[str]] = {}
    for file in sorted(resources.files(__name__).iterdir(), key=lambda found: found.name):
        if file.name.endswith(".yaml"):
            part: Document = yaml.safe_load(file.read_text(encoding="utf-8"))
            groups.update(part.pop("x-failure-groups", {}))
            _merge(document, part)
    add_operations(document, document.pop("x-operations"))
    add_aliases(document, [(one.path, alias) for one in ENDPOINTS for alias in one.aliases])
    add_aliases(document, [(COUNT_PATHS[0], alias) for alias in COUNT_PATHS[1:]])
    for item in document["paths"].values():
        for method in _METHODS:
            if method in item:
                _add_failures(item[method], groups)
    return document


def _merge(into: Document, part: Document) -> None:
    for name, value in part.items():
        if isinstance(value, dict) and isinstance(into.get(name), dict):
            _merge(into[name], value)
        elif isinstance(value, list) and isinstance(into.get(name), list):
            into[name] += value
        elif name in into:
            raise ValueError(f"openapi: {name} is given twice")
        else:
            into[name] = value


def _add_failures(operation: Document, groups: dict[str, list[str]]) -> None:
    shape = operation.pop("x-error-schema", "Error")
    codes = [code for name in operation.pop("x-failures", []) for code in groups.get(name, [name])]
    by_status: dict[int, list[str]] = {}
    for code in dict.fromkeys(codes):
        if code not in FAILURES:
            raise ValueError(f"openapi: there is no failure {code}")
        by_status.setdefault(FAILURES[code].status, []).append(code)
    for status, found in sorted(by_status.items()):
        operation["responses"][str(status)] = {
            "description": "Error codes: " + ", ".join(f"`{code}`" for code in found),
            "headers": {"x-request-id": {"$ref": "#/components/headers/RequestId"}},
            "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{shape}"}}},
        }
