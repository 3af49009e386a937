"""Background work that is kept, logged when it fails, and drained at shutdown."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from types import CoroutineType
from typing import Any, TypeVar

_Result = TypeVar("_Result")

_log = logging.getLogger("gateway.tasks")


def rooted(work: Coroutine[Any, Any, _Result]) -> Coroutine[Any, Any, _Result]:
    """`work`, as a task may run it: a compiled coroutine needs one of Python's own above it.

    Python keeps apart what each of its coroutines is handling (`sys.exc_info`); compiled ones (mypyc 2.4, seen 2026-11)
    share that of their caller, which for a task is the event loop's, and so would take each other's exceptions.
    """
    return work if isinstance(work, CoroutineType) else _run(work)


async def _run(work: Coroutine[Any, Any, _Result]) -> _Result:
    return await work


class Tasks:
    """The set of a process's background tasks: `spawn` starts one, `drain` waits for or cancels all."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, Any], *, name: str) -> asyncio.Task[Any]:
        """Run `work` in the background; an exception that leaves it is logged, never lost."""
        task = asyncio.get_running_loop().create_task(rooted(work), name=name)
        self._running.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("background task %s failed", task.get_name(), exc_info=error)

    async def drain(self, timeout_s: float) -> None:
        """Wait up to `timeout_s` for what runs, then cancel the rest and wait for that."""
        if self._running:
            await asyncio.wait(tuple(self._running), timeout=timeout_s)
        for task in tuple(self._running):
            task.cancel()
        if self._running:
            await asyncio.gather(*self._running, return_exceptions=True)
