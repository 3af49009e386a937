"""What tests show of providers, for docs/providers.md.

A test that shows a feature says so: `@pytest.mark.shows("anthropic", "streaming")`. With
`--write-providers=docs/providers.md` (`=`: pytest knows the option only once it has read the tests' folder) a run
writes what its passed tests have shown; `marked_in` reads the same out of the tests' source, so that the page can be
checked without a run.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from gateway.providers.registry import PROVIDERS
from gateway.wire.dialects import MODULES
from tests.providers_page import FEATURES, with_tables

ROOT = Path(__file__).parents[1]
NAMES = frozenset({*PROVIDERS, *MODULES})
_OPTION = "--write-providers"
_PROPERTY = "shows"
_THIS = Path(__file__).name

Shown = frozenset[tuple[str, str]]


def checked(arguments: Collection[object]) -> tuple[str, str]:
    """The provider and the feature that a mark names. Raises ValueError where there is no such thing."""
    if len(arguments) != 2:
        raise ValueError("shows() takes a provider and a feature")
    provider, feature = arguments
    if not isinstance(provider, str) or provider not in NAMES:
        raise ValueError(f"shows(): there is no provider type {provider!r}")
    if not isinstance(feature, str) or feature not in FEATURES:
        raise ValueError(f"shows(): {feature!r} is none of {', '.join(FEATURES)}")
    return provider, feature


# --- the plugin -----------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--write-providers FILE`."""
    parser.addoption(_OPTION, metavar="FILE", help="write what the passed tests show of providers into FILE's tables")


def pytest_configure(config: pytest.Config) -> None:
    """The reports of pytest-xdist's workers come to the process that started them, so it alone collects."""
    if config.getoption(_OPTION) and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Collector(Path(config.getoption(_OPTION))))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what each test shows into its reports. A mark that names nothing there is ends the run."""
    for item in items:
        for mark in item.iter_markers(_PROPERTY):
            try:
                provider, feature = checked(mark.args)
            except ValueError as error:
                raise pytest.UsageError(f"{item.nodeid}: {error}") from None
            item.user_properties.append((_PROPERTY, f"{provider}/{feature}"))


class Collector:
    """Gathers what is shown, and writes it at the run's end. What one test shows and another denies is not shown."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._passed: set[tuple[str, str]] = set()
        self._failed: set[tuple[str, str]] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One phase of one test is over."""
        found = self._failed if report.failed else self._passed if report.when == "call" and report.passed else None
        if found is None:
            return
        for name, value in report.user_properties:
            if name == _PROPERTY:
                provider, _, feature = str(value).partition("/")
                found.add((provider, feature))

    def pytest_sessionfinish(self) -> None:
        """Rewrite the page."""
        text = self._path.read_text(encoding="utf-8")
        self._path.write_text(with_tables(text, self._passed - self._failed), encoding="utf-8")


# --- the same, read from the tests' source --------------------------------------------------------


def marked_in(folder: Path) -> Shown:
    """What the tests below `folder` are marked to show. Raises ValueError for a mark that names nothing there is."""
    found: set[tuple[str, str]] = set()
    sources = {path: path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.py")) if path.name != _THIS}
    calls = {path: list(_calls(ast.parse(source))) for path, source in sources.items() if f"{_PROPERTY}(" in source}
    makers = [path.stem for path in calls if not path.name.startswith("test_")]
    for path, source in sources.items():
        if not path.name.startswith("test_"):
            continue
        written = calls.get(path, [])
        arguments = [argument for call in written for argument in call.args]
        if all(isinstance(argument, ast.Constant) for argument in arguments) and not any(
            f"{maker} import" in source for maker in makers
        ):
            found.update(checked([ast.literal_eval(argument) for argument in call.args]) for call in written)
        else:  # it makes its marks of data: the module itself knows
            found.update(_marks_of(import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))))
    return frozenset(found)


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == _PROPERTY:
            yield node


def _marks_of(module: Any) -> Iterator[tuple[str, str]]:
    """The marks of a module, its classes, their tests, and of the tests' parameters."""
    holders: list[Any] = [module]
    for value in vars(module).values():
        holders.append(value)
        if isinstance(value, type):
            holders.extend(vars(value).values())
    for holder in holders:
        marks = getattr(holder, "pytestmark", ())
        for mark in [*marks] if isinstance(marks, Iterable) else [marks]:
            yield from _shown_by(mark)


def _shown_by(mark: Any) -> Iterator[tuple[str, str]]:
    mark = getattr(mark, "mark", mark)
    if mark.name == _PROPERTY:
        yield checked(mark.args)
    elif mark.name == "parametrize":
        for case in mark.args[1] if len(mark.args) > 1 else mark.kwargs.get("argvalues", ()):
            for inner in getattr(case, "marks", ()):
                yield from _shown_by(inner)
