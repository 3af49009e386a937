"""From a YAML file and what it includes to `Settings`, or to the list of all that is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from gateway.settings.checks import check
from gateway.settings.merging import Merge
from gateway.settings.mistakes import Mistake, Origin, SettingsError, nearest, shown_path
from gateway.settings.root import Settings
from gateway.settings.schema import keys_at, leaf_paths
from gateway.settings.secrets import Secret, is_set, resolve
from gateway.settings.section import Section
from gateway.settings.yaml_source import Path_, Source

_MESSAGES = {
    "extra_forbidden": "there is no such setting",
    "missing": "must be given",
    "string_type": "must be text: put it in quotes",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "model_type": "must be a mapping (key: value)",
    "model_attributes_type": "must be a mapping (key: value)",
    "dict_type": "must be a mapping (key: value)",
    "tuple_type": "must be a list",
    "string_pattern_mismatch": (
        "a name here may hold only letters, digits and _.- (at most 64, beginning with a letter or digit)"
    ),
}
# (section, field) ← variable, for what is set in the environment and not in YAML.
_FROM_ENVIRONMENT = (
    ("database", "url", "DATABASE_URL"),
    ("database", "listen_url", "DATABASE_LISTEN_URL"),
    ("valkey", "url", "REDIS_URL"),
)


def load(
    path: Path,
    environ: Mapping[str, str],
    known_provider_types: Collection[str],
    known_stages: Mapping[str, bool],
) -> Settings:
    """Read, merge and check `path` and its includes.

    `known_stages` maps each stage, in order, to whether it may be switched off. `environ` gives
    DATABASE_URL, DATABASE_LISTEN_URL and REDIS_URL where the YAML names none; secrets are not resolved.
    Raises `SettingsError` with every mistake found; no other exception leaves.
    """
    merged = Merge()
    merged.read(path, Origin(str(path), 0, ""), ())
    source, mistakes = merged.source, merged.source.mistakes
    data = _with_environment(source.data, environ)
    settings: Settings | None = None
    checkable: Settings | None = None
    try:
        checkable = settings = Settings.model_validate(data)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        mistakes += [_mistake(detail, source) for detail in details]
        checkable = _without(data, [_path(detail) for detail in details])

    def report(where: Path_, message: str, suggestion: str | None) -> None:
        mistakes.append(Mistake(*_origin(where, source), message, suggestion))

    if checkable is not None and merged.whole:
        check(checkable, known_provider_types, known_stages, report)
    if mistakes or settings is None:
        order = {str(file): index for index, file in enumerate(merged.files)}
        mistakes = sorted(set(mistakes), key=lambda m: (order.get(m.file, -1), m.line, m.path, m.message))
        raise SettingsError(mistakes, tuple(merged.asked))
    settings._source_files = tuple(merged.files)
    return settings


def _without(data: dict[str, Any], wrong: Iterable[Path_]) -> Settings | None:
    """Settings without what is `wrong`, to look for further mistakes in the rest; None where that would mislead."""
    for path in wrong:
        if path[0] == "providers" and len(path) <= 2:
            return None
        holder: Any = data
        try:
            for part in path[:-1]:
                holder = holder[part]
            if isinstance(holder, dict):
                del holder[path[-1]]
        except (KeyError, IndexError, TypeError):
            return None
    try:
        return Settings.model_validate(data)
    except ValidationError:
        return None


def watched_files(settings: Settings) -> tuple[Path, ...]:
    """All files whose change calls for a reload: the YAML, certificates, and the files that hold secrets."""
    found: dict[Path, None] = dict.fromkeys(settings.source_files)
    for value in _leaves(settings):
        path = value.path if isinstance(value, Secret) else value
        if isinstance(path, Path):
            found[path] = None
    return tuple(found)


def secret_values(settings: Settings, environ: Mapping[str, str]) -> set[str]:
    """The values of all secrets that `settings` name, as they are now; those that cannot be read are left out."""
    named = {value for value in _leaves(settings) if isinstance(value, Secret) and value.kind != "literal"}
    return {value for secret in named if is_set(secret, environ) and (value := resolve(secret, environ)) is not None}


def _leaves(value: object) -> Iterator[object]:
    """What is at the ends of sections, mappings and lists."""
    if isinstance(value, Mapping):
        inner: Iterable[object] = value.values()
    elif isinstance(value, tuple):
        inner = value
    elif isinstance(value, Section):
        inner = [getattr(value, name) for name in type(value).model_fields]
    else:
        yield value
        return
    for item in inner:
        yield from _leaves(item)


def fingerprint(paths: Iterable[Path]) -> Hashable:
    """A value that changes when any of the files does: its content's stamp, or what a link on the way points to.

    Kubernetes swaps a ConfigMap by pointing a symlink elsewhere, so the resolved path counts too.
    """
    prints: list[Hashable] = []
    for path in paths:
        try:
            status = os.stat(path)
            prints.append((os.path.realpath(path), status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns))
        except (OSError, ValueError):
            prints.append((str(path), None))
    return tuple(prints)


def _with_environment(data: dict[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    for section, key, variable in _FROM_ENVIRONMENT:
        written = data.get(section)
        if written is None:
            written = data[section] = {}
        if isinstance(written, dict) and written.get(key) is None and environ.get(variable, "").strip():
            written[key] = Secret("env", variable)
    return data


def _origin(path: Path_, source: Source) -> Origin:
    """Where `path` stands, or the nearest part above it that was written."""
    for length in range(len(path), -1, -1):
        if (origin := source.origins.get(path[:length])) is not None:
            rest = shown_path(path[length:])
            joint = "." if origin.path and rest and not rest.startswith("[") else ""
            return origin._replace(path=f"{origin.path}{joint}{rest}")
    return Origin("", 0, shown_path(path))


def _path(detail: ErrorDetails) -> Path_:
    return tuple(part for part in detail["loc"] if part != "[key]")


def _mistake(detail: ErrorDetails, source: Source) -> Mistake:
    """One of pydantic's findings in our words; the value itself is never repeated."""
    path = _path(detail)
    kind, context = detail["type"], detail.get("ctx", {})
    suggestion = None
    if kind == "extra_forbidden":
        wrong = str(path[-1])
        suggestion = nearest(wrong, keys_at(path[:-1])) or leaf_paths().get(wrong)
    if kind == "literal_error":
        message = f"must be one of {context['expected']}"
    else:
        plain = detail["msg"].removeprefix("Value error, ").replace("Input should be", "must be", 1)
        message = _MESSAGES.get(kind, plain)
    return Mistake(*_origin(path, source), message, suggestion)
