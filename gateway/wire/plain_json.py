"""JSON of what others wrote: it is always written, whatever they put in."""

from __future__ import annotations

from typing import Any

import orjson

# orjson writes 254 levels; what a client nests to that depth stands a few levels deeper in an event.
_MAX_LEVELS = 200


def to_json(value: Any) -> bytes:
    """`value` as JSON. Lone surrogates become question marks, what nests too deeply or is no JSON becomes null."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return orjson.dumps(_clean(value, _MAX_LEVELS))


def _clean(value: Any, levels: int) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if value is None or isinstance(value, (bool, float)):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**64 else None
    if levels == 0:
        return None
    if isinstance(value, dict):
        return {_clean(str(name), levels): _clean(inner, levels - 1) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(inner, levels - 1) for inner in value]
    return None
