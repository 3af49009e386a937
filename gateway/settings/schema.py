"""The shape of the sections, read from the classes themselves: for the nearest right name and for the docs."""

from __future__ import annotations

from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from gateway.settings.root import Settings
from gateway.settings.section import Section


class Setting(NamedTuple):
    """One key that may be written: its path, with `<name>` and `[]` for what repeats."""

    path: str
    owner: type[Section]
    field: FieldInfo


def section_in(annotation: Any) -> tuple[type[Section], str] | None:
    """The section that an annotation holds, with how it is reached: "" itself, "<name>" by key, "[]" in a list."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return section_in(get_args(annotation)[0])
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation, ""
    if origin in (Union, UnionType):
        return next((found for part in get_args(annotation) if (found := section_in(part))), None)
    if origin is dict and (found := section_in(get_args(annotation)[1])):
        return found[0], "<name>"
    if origin is tuple and (found := section_in(get_args(annotation)[0])):
        return found[0], "[]"
    return None


def all_settings(section: type[Section] = Settings, prefix: str = "") -> Iterator[Setting]:
    """Every key, section by section, in the order of the classes; a section comes before what is in it."""
    for name, field in section.model_fields.items():
        path = f"{prefix}.{name}" if prefix else name
        yield Setting(path, section, field)
        if (found := section_in(field.annotation)) is not None:
            inner, how = found
            yield from all_settings(inner, f"{path}.<name>" if how == "<name>" else path + how)


def keys_at(path: tuple[str | int, ...]) -> list[str]:
    """The keys that may be written at `path`; none where it leads to no section."""
    section: type[Section] = Settings
    parts = list(path)
    while parts:
        field = section.model_fields.get(str(parts.pop(0)))
        found = section_in(field.annotation) if field else None
        if found is None:
            return []
        section, how = found
        if how and parts:
            parts.pop(0)
    return list(section.model_fields)


def leaf_paths() -> dict[str, str]:
    """The full path of each key that stands in exactly one place, for a key written in the wrong one."""
    places: dict[str, list[str]] = {}
    for setting in all_settings():
        places.setdefault(setting.path.rpartition(".")[2], []).append(setting.path)
    return {name: paths[0] for name, paths in places.items() if len(paths) == 1}
