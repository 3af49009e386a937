"""Settings as JSON, the differences of two of them, and which differences need a restart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from gateway.settings.mistakes import shown_path
from gateway.settings.root import Settings
from gateway.settings.secrets import Secret
from gateway.settings.section import Section

# What is opened or sized once, at start. A reload that changes one of these is accepted, and says so.
RESTART_ONLY: tuple[str, ...] = (
    "server.host",
    "server.port",
    "server.workers",
    "server.tls",
    "admin.listen",
    "keys.cache_size",
    "keys.negative_cache_size",
    "ledger",
    "reporting",
    "telemetry",
    "database",
    "valkey",
)


def dump(settings: Settings) -> dict[str, Any]:
    """All settings as JSON can hold them; a secret appears as its reference (`env:NAME`), prices as text."""
    return {name: _plain(getattr(settings, name)) for name in type(settings).model_fields}


def diff(old: Settings, new: Settings) -> list[str]:
    """The dotted paths that differ, sorted; models go by name: `models.gpt-4o.targets[0].weight`."""
    return sorted(set(_differences(_by_name(dump(old)), _by_name(dump(new)), ())))


def needs_restart(changed: Iterable[str]) -> list[str]:
    """Those of the `changed` paths that take effect only after a restart."""
    return [path for path in changed if is_restart_only(path)]


def is_restart_only(path: str) -> bool:
    """Is `path`, or the section it stands in, one of `RESTART_ONLY`?"""
    return any(path == name or path.startswith((f"{name}.", f"{name}[")) for name in RESTART_ONLY)


def _plain(value: object) -> Any:
    if isinstance(value, Section):
        return {name: _plain(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, Secret):
        return value.reference
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Decimal):
        return format(value.normalize(), "f")
    if isinstance(value, Path):
        return str(value)
    return str(value) if isinstance(value, str) else value


def _by_name(dumped: dict[str, Any]) -> dict[str, Any]:
    return {**dumped, "models": {model["name"]: model for model in dumped["models"]}}


def _differences(old: Any, new: Any, path: tuple[str | int, ...]) -> Iterable[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in old.keys() | new.keys():
            if key in old and key in new:
                yield from _differences(old[key], new[key], (*path, key))
            else:
                yield shown_path((*path, key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from _differences(before, after, (*path, index))
    elif old != new:
        yield shown_path(path)
