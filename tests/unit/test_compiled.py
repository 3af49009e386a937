"""What setup.py has compiled keeps to the rules of docs/decisions.md (36), and names files that are there."""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.tasks import Tasks, rooted

ROOT = Path(__file__).parents[2]
_MAKES_TASKS = {"create_task", "ensure_future", "gather", "wait_for"}


def compiled() -> list[Path]:
    """The files that setup.py names."""
    (named,) = (
        ast.literal_eval(node.value)
        for node in ast.parse((ROOT / "setup.py").read_text()).body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "COMPILED"
    )
    return [ROOT / "gateway" / package / f"{name}.py" for package, names in named.items() for name in names.split()]


FILES = compiled()


def waits_in_finally(tree: ast.AST) -> Iterator[int]:
    """The lines of `tree` where a `finally` waits."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Try):
            for statement in node.finalbody:
                for inner in ast.walk(statement):
                    if isinstance(inner, ast.Await | ast.AsyncWith | ast.AsyncFor):
                        yield inner.lineno


def bare_tasks(tree: ast.AST) -> Iterator[int]:
    """The lines of `tree` where a task is made of something that is not `rooted`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in _MAKES_TASKS:
            work = node.args[0] if node.args else None
            if not (isinstance(work, ast.Call) and getattr(work.func, "id", "") == "rooted"):
                yield node.lineno


def names_twice(tree: ast.AST) -> Iterator[int]:
    """The lines of `tree` where a function calls what it catches as it does something of another type: the compiled
    variable has the type of the first."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            known: dict[str, str] = {}
            for node in ast.walk(function):
                if isinstance(node, ast.ExceptHandler) and node.name and node.type is not None:
                    kind = ast.unparse(node.type)
                    if known.setdefault(node.name, kind) != kind:
                        yield node.lineno


def test_all_files_are_there_and_each_is_named_once() -> None:
    assert len(FILES) > 80
    assert [file for file in FILES if not file.is_file()] == []
    assert len(set(FILES)) == len(FILES)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_finally_waits_every_task_is_rooted_and_exceptions_have_names_of_their_own(file: Path) -> None:
    tree = ast.parse(file.read_text())
    assert list(waits_in_finally(tree)) == []
    assert list(bare_tasks(tree)) == []
    assert list(names_twice(tree)) == []


def test_what_breaks_the_rules_is_found() -> None:
    tree = ast.parse("async def f():\n try:\n  pass\n finally:\n  await g()\n loop.create_task(h())\n")
    assert list(waits_in_finally(tree)) == [5]
    assert list(bare_tasks(tree)) == [6]
    tree = ast.parse("def f():\n try: g()\n except A as e: pass\n except B as e: pass\n except C as c: pass\n")
    assert list(names_twice(tree)) == [4]


class Compiled:
    """Stands for a compiled coroutine: awaitable, sent to and thrown into, and none of Python's own."""

    def __init__(self, work: Any) -> None:
        self._work = work

    def __await__(self) -> Any:
        return self._work.__await__()


async def test_a_coroutine_that_is_not_pythons_runs_under_one_that_is() -> None:
    async def answer() -> int:
        await asyncio.sleep(0)
        return 42

    own = answer()
    assert rooted(own) is own
    assert await own == 42
    other = rooted(Compiled(answer()))  # type: ignore[arg-type]
    assert asyncio.iscoroutine(other)
    assert await Tasks().spawn(other, name="an answer") == 42
