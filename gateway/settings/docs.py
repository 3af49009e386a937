"""Writes the table of settings into a Markdown file: `python -m gateway.settings.docs docs/configuration.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic_core import PydanticUndefined

from gateway.settings.changes import is_restart_only
from gateway.settings.schema import Setting, all_settings, section_in
from gateway.settings.secrets import Secret

BEGIN = "<!-- settings: written by `make docs` from gateway/settings, do not edit -->"
END = "<!-- end of settings -->"
_UNITS = {
    "_ms": "milliseconds",
    "_s": "seconds",
    "_mb": "MiB",
    "_kb": "KiB",
    "_bytes": "bytes",
    "_percent": "percent",
    "_usd_per_mtok": "USD per million tokens",
    "usd_per_search_unit": "USD",
}


def settings_table() -> str:
    """The Markdown of all settings: a heading, a line of help and a table for each section of the YAML."""
    sections: dict[str, list[Setting]] = {}
    titles: dict[str, str] = {}
    for setting in all_settings():
        top, _, rest = setting.path.partition(".")
        top = top.partition("[")[0]
        if not rest:
            inner = section_in(setting.field.annotation)
            titles[top] = (inner[0].__doc__ or "").strip() if inner else "More files, merged into this one."
        if rest or section_in(setting.field.annotation) is None:
            sections.setdefault(top, []).append(setting)
    parts = [f"### {top}\n\n{_one_line(titles[top])}\n\n{_rows(sections[top])}" for top in sections]
    return "\n\n".join(parts)


def with_table(text: str) -> str:
    """`text` with what stands between the two markers replaced. Raises ValueError when a marker is missing."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("the markers of the settings table are missing")
    return f"{before}{BEGIN}\n\n{settings_table()}\n\n{END}{after}"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _rows(settings: Iterable[Setting]) -> str:
    lines = ["| Setting | Default | Takes | Meaning |", "|---|---|---|---|"]
    for setting in settings:
        help_text = setting.field.description or ""
        restart = " ↻" if is_restart_only(setting.path) else ""
        cells = (f"`{setting.path}`{restart}", _default(setting), _takes(setting), help_text)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def _default(setting: Setting) -> str:
    field = setting.field
    if field.is_required():
        return "**required**"
    default = field.default
    if default is PydanticUndefined or default is None or default == ():
        return ""
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _takes(setting: Setting) -> str:
    name = setting.path.rpartition(".")[2]
    unit = next((unit for suffix, unit in _UNITS.items() if name.endswith(suffix)), "")
    annotation, constraints = _unwrapped(setting.field.annotation, tuple(setting.field.metadata))
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(annotation))
    if annotation in (int, float, Decimal):
        kind = unit or ("whole number" if annotation is int else "number")
        return f"{kind}, {span}" if (span := _span(constraints)) else kind
    if (found := section_in(annotation)) is not None:
        return {"": "mapping", "<name>": "mapping by name", "[]": "list"}[found[1]]
    if annotation is bool:
        return "`true`, `false`"
    if annotation is Secret:
        return "`env:NAME`, `file:PATH`, `none`"
    if annotation is Path:
        return "path"
    return {dict: "mapping", tuple: "list"}.get(get_origin(annotation), "text")


def _unwrapped(annotation: Any, constraints: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
    """The type behind `Annotated` and `| None`, with all constraints met on the way."""
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        return _unwrapped(inner, (*constraints, *more))
    if get_origin(annotation) in (Union, UnionType):
        members = [part for part in get_args(annotation) if part is not NoneType]
        if len(members) == 1:
            return _unwrapped(members[0], constraints)
    return annotation, constraints


def _span(constraints: Iterable[Any]) -> str:
    least = most = ""
    for constraint in _flat(constraints):
        if isinstance(constraint, Ge):
            least = _number(constraint.ge)
        elif isinstance(constraint, Gt):
            least = f"over {_number(constraint.gt)}"
        elif isinstance(constraint, Le):
            most = f"to {_number(constraint.le)}"
    return f"{least} {most}".strip()


def _flat(constraints: Iterable[Any]) -> Iterator[Any]:
    for constraint in constraints:
        yield constraint
        yield from getattr(constraint, "metadata", ())


def _number(value: Any) -> str:
    return str(value).removesuffix(".0")


def main(arguments: list[str]) -> None:
    """Rewrite the table in the file that is named."""
    path = Path(arguments[0])
    path.write_text(with_table(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
