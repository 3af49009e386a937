"""YAML text to plain data that remembers where each value was written. Pure: bytes in, data out.

Scalars are read as YAML 1.2 reads them: `on`, `off`, `yes`, `no`, `1:30` and dates are text, and a number
with a leading zero, which YAML 1.1 takes for octal, is refused. So are keys given twice, tags, several
documents in a file, and aliases that would unfold into more than the file could honestly hold.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from gateway.settings.mistakes import Mistake, Origin, quoted, shown_path
from gateway.settings.secrets import Text

LARGEST_FILE_BYTES = 1_048_576
_DEEPEST = 40
_MOST_NODES = 100_000
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_ZERO_LED = re.compile(r"[-+]?0[0-9_]+|0[oxb][0-9A-Fa-f_]+")
_LONGEST_NUMBER = 40
_QUOTE = re.compile(r"'[^']*'|\"[^\"]*\"")
_PLAIN, _QUOTED, _OTHER = "plain", "quoted", "collection"

Path_ = tuple[str | int, ...]


@dataclass(slots=True)
class Source:
    """What one YAML file says: `data`, where each path of it stands, and what is wrong with it."""

    file: str
    data: Any = None
    origins: dict[Path_, Origin] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)


class _TooMuch(Exception):
    """The text is deeper or larger than a configuration can be."""


class _Loader(yaml.SafeLoader):
    """Composes nodes only: no Python object is ever made from a tag."""

    _depth = 0

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> str:
        if kind is not yaml.ScalarNode:
            return _OTHER
        return _PLAIN if implicit[0] else _QUOTED

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _TooMuch(f"more than {_DEEPEST} levels inside each other")
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1


def read_yaml(content: bytes, file: str) -> Source:
    """Read the bytes of one file. Never raises: what is wrong is in the result's `mistakes`."""
    source = Source(file)
    if len(content) > LARGEST_FILE_BYTES:
        source.mistakes.append(Mistake(file, 0, "", f"larger than {LARGEST_FILE_BYTES} bytes"))
        return source
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        source.mistakes.append(Mistake(file, line, "", "not UTF-8 text"))
        return source
    try:
        node = yaml.compose(text, Loader=_Loader)
        if node is not None:
            source.data = _Reader(source).value(node, (), node.start_mark.line + 1)
    except _TooMuch as error:
        source.mistakes.append(Mistake(file, 0, "", str(error)))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        source.mistakes.append(Mistake(file, line, "", "a control character that YAML does not allow"))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        source.mistakes.append(Mistake(file, mark.line + 1 if mark else 0, "", _explain(error)))
    except (yaml.YAMLError, ValueError, OverflowError):  # int() and chr() on absurd escapes
        source.mistakes.append(Mistake(file, 0, "", "not valid YAML"))
    return source


def _explain(error: yaml.MarkedYAMLError) -> str:
    """PyYAML's words without what they quote, which may be a secret in the wrong place."""
    words = ", ".join(part for part in (error.context, error.problem) if part)
    if "cannot start any token" in words and "\\t" in words:
        return "not valid YAML: a tab where spaces are needed"
    return f"not valid YAML: {re.sub(_QUOTE, _only_tokens, words)}"


def _only_tokens(match: re.Match[str]) -> str:
    return match[0] if len(match[0]) <= 3 or re.fullmatch(r"'<[a-z ]+>'", match[0]) else "'…'"


class _Reader:
    """Turns nodes into data, noting origins and mistakes in the source."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._nodes = 0
        self._merging = 0

    def value(self, node: yaml.Node, path: Path_, line: int) -> Any:
        self._count()
        if len(path) > _DEEPEST:
            raise _TooMuch(f"more than {_DEEPEST} levels inside each other")
        origin = Origin(self._source.file, line, shown_path(path))
        self._source.origins[path] = origin
        if isinstance(node, yaml.MappingNode):
            self._refuse_tag(node.tag, _OTHER, origin)
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            self._refuse_tag(node.tag, _OTHER, origin)
            return [self.value(item, (*path, index), item.start_mark.line + 1) for index, item in enumerate(node.value)]
        return self._scalar(node, origin)

    def _mapping(self, node: yaml.MappingNode, path: Path_) -> dict[str, Any]:
        self._count()
        result: dict[str, Any] = {}
        merged: list[yaml.Node] = []
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self._mistake(line, path, "a key must be a word")
            elif key_node.value == "<<" and key_node.tag == _PLAIN:
                merged.extend(value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node])
            elif key_node.value in result:
                self._mistake(line, (*path, key_node.value), "this key is given twice in the same place")
            else:
                result[key_node.value] = self.value(value_node, (*path, key_node.value), line)
        for other in merged:
            if not isinstance(other, yaml.MappingNode):
                self._mistake(other.start_mark.line + 1, path, "<< takes a mapping, or a list of mappings")
                continue
            for key, value in self._mapping_apart(other, path, result).items():
                result.setdefault(key, value)
        return result

    def _mapping_apart(self, other: yaml.MappingNode, path: Path_, known: dict[str, Any]) -> dict[str, Any]:
        """The entries that `<<` brings in and that are not `known`; origins of those that are stay as they were."""
        kept = [(key, value) for key, value in other.value if getattr(key, "value", None) not in known]
        self._merging += 1
        if self._merging > _DEEPEST:
            raise _TooMuch("a << that leads back to itself")
        try:
            return self._mapping(yaml.MappingNode(other.tag, kept, other.start_mark, other.end_mark), path)
        finally:
            self._merging -= 1

    def _scalar(self, node: yaml.Node, origin: Origin) -> Any:
        text: str = node.value
        if node.tag == _QUOTED or node.tag == "tag:yaml.org,2002:str":
            return Text.at(text, origin)
        self._refuse_tag(node.tag, _PLAIN, origin)
        if text in ("", "~", "null", "Null", "NULL"):
            return None
        if text in ("true", "True", "TRUE", "false", "False", "FALSE"):
            return text.lower() == "true"
        if len(text) <= _LONGEST_NUMBER:
            if _INTEGER.fullmatch(text):
                return int(text)
            if _ZERO_LED.fullmatch(text):
                message = "YAML readers disagree on numbers written like this: write it in decimal, or quote it as text"
                self._source.mistakes.append(Mistake(*origin, message))
                return 1  # stands in for it, so that no second mistake follows from this one
            if _FLOAT.fullmatch(text):
                return float(text)
        return Text.at(text, origin)

    def _refuse_tag(self, tag: str, expected: str, origin: Origin) -> None:
        if tag != expected:
            self._source.mistakes.append(Mistake(*origin, f"tags are not allowed: {quoted(tag)}"))

    def _count(self) -> None:
        self._nodes += 1
        if self._nodes > _MOST_NODES:
            raise _TooMuch(f"more than {_MOST_NODES} values, counting each use of an alias")

    def _mistake(self, line: int, path: Path_, message: str) -> None:
        self._source.mistakes.append(Mistake(self._source.file, line, shown_path(path), message))
