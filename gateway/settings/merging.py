"""The files of a configuration, read and merged into one.

Mappings are merged key by key, lists of models are joined, and anything else is replaced by the later
word. A provider that is declared twice is a mistake, as a model is (checks.py).
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from gateway.settings.mistakes import Mistake, Origin, quoted
from gateway.settings.yaml_source import LARGEST_FILE_BYTES, Path_, Source, read_yaml

_MOST_FILES = 100


class Merge:
    """Reads files depth first, so that a file's own words come after, and win over, what it includes.

    `source` is the merged whole with the origin of each value. `files` are those read, the including
    file first; `asked` also has those that could not be read. `whole` is false when part of the
    configuration could not be read at all.
    """

    def __init__(self) -> None:
        self.source = Source("", {})
        self.files: list[Path] = []
        self.asked: list[Path] = []
        self.whole = True
        self._real: set[str] = set()

    def read(self, path: Path, asked: Origin, above: tuple[str, ...]) -> None:
        """Read `path` and its includes; `asked` is where it was named, `above` the files that led to it."""
        self.asked.append(path)
        try:
            real = _real(path)
            if real in above:
                raise _Unreadable("this file includes itself, directly or by way of others")
            if real in self._real:
                raise _Unreadable("this file is included twice")
            if len(self.files) >= _MOST_FILES:
                raise _Unreadable(f"more than {_MOST_FILES} files")
            content = _content(path)
        except _Unreadable as error:
            self._refuse(asked, str(error))
            return
        self._real.add(real)
        self.files.append(path)
        source = read_yaml(content, str(path))
        self.source.mistakes += source.mistakes
        if source.data is None:
            self.whole = self.whole and not source.mistakes
            return
        if not isinstance(source.data, dict):
            self._refuse(Origin(str(path), 1, ""), "must be a mapping of sections, such as models: …")
            return
        includes = source.data.get("include")
        for index, name in enumerate(includes if isinstance(includes, list) else ()):
            if isinstance(name, str) and name and name.isprintable():
                self.read(path.parent / name, source.origins["include", index], (*above, real))
        self._add(source)

    def _refuse(self, where: Origin, message: str) -> None:
        self.whole = False
        self.source.mistakes.append(Mistake(*where, message))

    def _add(self, source: Source) -> None:
        merged, models = self.source.data, self.source.data.get("models")
        offset = 0
        for key, value in source.data.items():
            earlier = merged.get(key)
            if key == "models" and isinstance(models, list) and isinstance(value, list):
                offset = len(models)
                merged[key] = models + value
            elif isinstance(earlier, dict) and isinstance(value, dict):
                self._combine(earlier, value, (key,), source)
            elif value is not None or key not in merged:
                merged[key] = value
        for path, origin in source.origins.items():
            if path[:1] == ("models",) and len(path) > 1 and isinstance(path[1], int):
                path = ("models", path[1] + offset, *path[2:])
            self.source.origins[path] = origin

    def _combine(self, earlier: dict[str, Any], later: dict[str, Any], path: Path_, source: Source) -> None:
        for key, value in later.items():
            if path == ("providers",) and key in earlier:
                first = self.source.origins[*path, key]
                message = f"this provider is already declared at {first.file}:{first.line}"
                self.source.mistakes.append(Mistake(*source.origins[*path, key], message))
            elif isinstance(earlier.get(key), dict) and isinstance(value, dict):
                self._combine(earlier[key], value, (*path, key), source)
            elif value is not None or key not in earlier:
                earlier[key] = value


class _Unreadable(Exception):
    """A file that cannot be part of the configuration, and why."""


def _real(path: Path) -> str:
    try:
        return os.path.realpath(path)
    except (OSError, ValueError):
        raise _Unreadable("not a path") from None


def _content(path: Path) -> bytes:
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise _Unreadable(f"{quoted(str(path))} is not a plain file")
        with path.open("rb") as file:
            return file.read(LARGEST_FILE_BYTES + 1)
    except FileNotFoundError:
        raise _Unreadable(f"there is no file {quoted(str(path))}") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise _Unreadable(f"{quoted(str(path))} cannot be read: {reason}") from None
