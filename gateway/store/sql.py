"""Named SQL statements from a .sql file that is shipped inside a package."""

from __future__ import annotations

import re
from importlib.resources import files

_NAME = re.compile(r"^-- name: *([a-z][a-z0-9_]*) *$", re.MULTILINE)


def load(package: str, name: str = "queries.sql") -> dict[str, str]:
    """Return the statements of `name` in `package`, by the name in each `-- name: xyz` line.

    What stands before the first name is the file's own comment. Comment lines inside a statement stay.
    Raises FileNotFoundError when there is no such file, ValueError for a name used twice, a name line
    with nothing under it, or a file with no name at all.
    """
    where = f"{package}/{name}"
    parts = _NAME.split(files(package).joinpath(name).read_text(encoding="utf-8"))
    statements: dict[str, str] = {}
    for key, text in zip(parts[1::2], parts[2::2], strict=True):
        statement = text.strip()
        if key in statements:
            raise ValueError(f"{where}: the name {key} is used twice")
        if not statement:
            raise ValueError(f"{where}: nothing stands under the name {key}")
        statements[key] = statement
    if not statements:
        raise ValueError(f"{where}: no line '-- name: …'")
    return statements
