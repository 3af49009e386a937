"""Secrets are named in YAML, never written: `env:NAME`, `file:PATH`, or the word `none`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from gateway.settings.mistakes import Mistake, Origin, SettingsError

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LARGEST_FILE_BYTES = 65_536
_HOW = "a secret is named, never written here: use env:NAME, file:PATH or none"


class Text(str):
    """A string from YAML that remembers where it was written."""

    origin: Origin | None = None

    @classmethod
    def at(cls, value: str, origin: Origin) -> Text:
        """`value`, as written at `origin`."""
        text = cls(value)
        text.origin = origin
        return text


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """The name of a secret. Its value is read by `resolve` when it is needed and is never kept here.

    `literal` is only for header values that are no credentials. `stored` is the exception to the above: given over
    the admin API and kept encrypted, it is its own value in `name`, and is never shown. Two secrets are equal when
    they name the same place, wherever they were written.
    """

    kind: Literal["env", "file", "none", "literal", "stored"]
    name: str = ""
    origin: Origin | None = field(default=None, compare=False)

    @property
    def reference(self) -> str:
        """As it stands in YAML: `env:NAME`, `file:PATH`, `none`, or a header's literal text; else `stored`."""
        if self.kind in ("none", "stored"):
            return self.kind
        return self.name if self.kind == "literal" else f"{self.kind}:{self.name}"

    @property
    def path(self) -> Path | None:
        """The file of a `file:` secret; a relative one is looked for beside the YAML that names it."""
        if self.kind != "file":
            return None
        return (Path(self.origin.file).parent if self.origin else Path()) / self.name

    def __repr__(self) -> str:
        return f"Secret({'literal' if self.kind == 'literal' else self.reference})"

    __str__ = __repr__

    @classmethod
    def parse(cls, text: object) -> Secret:
        """Read a reference. Raises ValueError, which never repeats `text`, for anything else."""
        if isinstance(text, Secret):
            return text
        if not isinstance(text, str):
            raise ValueError(_HOW)
        origin = text.origin if isinstance(text, Text) else None
        if text == "none":
            return cls("none", "", origin)
        kind, _, name = text.partition(":")
        if kind == "env":
            if not _VARIABLE.fullmatch(name):
                raise ValueError("after env: comes the name of an environment variable (letters, digits and _)")
            return cls("env", name, origin)
        if kind == "file":
            if not name or not name.isprintable():
                raise ValueError("after file: comes the path of a file")
            return cls("file", name, origin)
        raise ValueError(_HOW)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls.parse,
            serialization=core_schema.plain_serializer_function_ser_schema(lambda secret: secret.reference),
        )


def resolve(secret: Secret | None, environ: Mapping[str, str]) -> str | None:
    """The value that `secret` names, or None for `none` and for a setting that is not set.

    Raises `SettingsError`, naming the variable or file and where it is asked for, when the variable is
    unset or empty, the file cannot be read, or the value has characters that no header may carry.
    """
    if secret is None or secret.kind == "none":
        return None
    if secret.kind in ("literal", "stored"):
        return secret.name
    value = _from_environment(secret, environ) if secret.kind == "env" else _from_file(secret)
    if not value.isprintable():
        raise _unusable(secret, f"{secret.reference} has line breaks or control characters inside")
    return value


def is_set(secret: Secret | None, environ: Mapping[str, str]) -> bool:
    """Does `secret` name something that can be read now? `none` counts as set, None does not."""
    try:
        return secret is not None and (secret.kind == "none" or resolve(secret, environ) is not None)
    except SettingsError:
        return False


def _from_environment(secret: Secret, environ: Mapping[str, str]) -> str:
    value = environ.get(secret.name, "").strip()
    if not value:
        what = "is empty" if secret.name in environ else "is not set"
        raise _unusable(secret, f"the environment variable {secret.name} {what}")
    return value


def _from_file(secret: Secret) -> str:
    assert secret.path is not None
    try:
        if not secret.path.is_file():
            raise _unusable(secret, f"the file {secret.name} does not exist or is no plain file")
        with secret.path.open("rb") as file:
            data = file.read(_LARGEST_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise _unusable(secret, f"the file {secret.name} cannot be read: {reason}") from None
    if len(data) > _LARGEST_FILE_BYTES:
        raise _unusable(secret, f"the file {secret.name} is larger than {_LARGEST_FILE_BYTES} bytes")
    try:
        value = data.decode().strip()
    except UnicodeDecodeError:
        raise _unusable(secret, f"the file {secret.name} is not UTF-8 text") from None
    if not value:
        raise _unusable(secret, f"the file {secret.name} is empty")
    return value


def _unusable(secret: Secret, message: str) -> SettingsError:
    file, line, path = secret.origin or Origin("", 0, "")
    return SettingsError([Mistake(file, line, path, message)])
