"""Several answers (`n`) from a provider that gives one at a time: as many requests at once, one answer of them all.

Each request is an attempt of its own, admitted and accounted like any other; only the first one's is final.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

import orjson

from gateway.errors import GatewayError
from gateway.upstream.braid import Braid, Strand
from gateway.upstream.job import Job, Reply, Sink

MAX_COPIES = 16

# Sends one copy, by its number, or into its strand.
RunWhole = Callable[[Any, int], Awaitable[Reply | None]]
RunStreamed = Callable[[Any, Strand], Awaitable[Reply | None]]
Result = TypeVar("Result")


def copies_of(job: Job) -> int:
    """How many requests stand for `job`: 1 where its first target takes `n` itself.

    Raises invalid_field for more than MAX_COPIES.
    """
    endpoint, n = job.endpoint, job.document.get("n")
    if type(n) is not int or n < 2 or not job.targets:
        return 1
    if endpoint.operation != "chat" or endpoint.inbound is not None:  # other APIs for chats have no `n`
        return 1
    first = job.targets[0]
    if "n" in first.policy:  # somebody has said what is to become of it
        return 1
    dialect = first.account.dialect
    if "n" not in first.variations.unsupported if dialect is None else dialect.choices:
        return 1
    if n > MAX_COPIES:
        raise GatewayError("invalid_field", f"The field 'n' must be at most {MAX_COPIES}.", param="n")
    return n


async def run_copies(copies: int, job: Job, run: RunWhole) -> Reply:
    """One answer with the choices of all. Raises the first failure, and then the others are given up."""
    twins = [_twin(job) for _ in range(copies)]
    try:
        replies = await _together([_whole(run, twin, number) for number, twin in enumerate(twins)])
    finally:
        _account(job, twins)
    return Reply(replies[0].status, _merged([reply.body for reply in replies]), replies[0].headers)


async def stream_copies(copies: int, job: Job, sink: Sink, run: RunStreamed) -> None:
    """One stream with the choices of all, each from its first event on.

    The first failure ends it, and the others are given up. Raises it where nothing had been written yet.
    """
    twins = [_twin(job) for _ in range(copies)]
    braid = Braid(job, sink, twins)
    strands = [Strand(braid, number) for number in range(copies)]
    try:
        await _together([_streamed(run, twin, strand) for twin, strand in zip(twins, strands, strict=True)])
    except GatewayError as error:
        if not braid.started:
            raise
        braid.break_off(error)
    except Exception:
        if braid.started:
            braid.break_off(GatewayError("internal_error", "The gateway failed to handle this request."))
        raise
    else:
        braid.finish([twin.outcomes[-1].usage for twin in twins])
    finally:
        braid.detach()
        _account(job, twins)


async def _whole(run: RunWhole, twin: Any, number: int) -> Reply:
    reply = await run(twin, number)
    assert reply is not None, "it was not to be streamed"
    return reply


async def _streamed(run: RunStreamed, twin: Any, strand: Strand) -> None:
    await run(twin, strand)
    if strand.broken is not None:
        raise strand.broken


async def _together(works: Sequence[Coroutine[Any, Any, Result]]) -> list[Result]:
    """What all of them gave. Raises the first failure once the others have been given up.

    No TaskGroup: those do not pass on what a task is cancelled with (Python 3.13), and so not that the client has gone.
    """
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(work) for work in works]
    reason: tuple[object, ...] = ()
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    except asyncio.CancelledError as gone:
        reason = gone.args
        raise
    finally:
        failures = await _end(tasks, reason)
    if failures:
        raise next((failure for failure in failures if isinstance(failure, GatewayError)), failures[0])
    return [task.result() for task in tasks]


async def _end(tasks: Sequence[asyncio.Task[Any]], reason: tuple[object, ...]) -> list[BaseException]:
    """What went wrong in all of them, those that were still running having been cancelled for `reason`."""
    running = [task for task in tasks if not task.done()]
    for task in running:
        task.cancel(*reason)
    try:
        if running:
            await asyncio.wait(running)
    except asyncio.CancelledError:  # for good: what was to go on must not
        for task in running:
            task.cancel()
        await asyncio.wait(running)
        raise
    return [failure for task in tasks if not task.cancelled() and (failure := task.exception()) is not None]


def _account(job: Job, twins: Sequence[Any]) -> None:
    """Put down to `job` what was tried for it and what that cost."""
    job.outcomes = [outcome for twin in twins for outcome in twin.outcomes]
    job.cost_nano_usd = sum(max(twin.cost_nano_usd, 0) for twin in twins)


def _twin(job: Job) -> Any:
    """The same request for one answer, with an account of its own."""
    twin: Any = copy.copy(job)
    twin.document = {**job.document, "n": 1}
    twin.canonical_document = None
    twin.body = orjson.dumps(twin.document)
    twin.outcomes = []
    twin.cost_nano_usd = -1
    return twin


def _merged(bodies: list[bytes]) -> bytes:
    """The first answer, with all choices numbered anew and all usage added up."""
    answers = [orjson.loads(body) for body in bodies]
    first = answers[0]
    choices = [choice for answer in answers for choice in answer["choices"]]
    for index, choice in enumerate(choices):
        choice["index"] = index
    first["choices"] = choices
    usages = [answer["usage"] for answer in answers if isinstance(answer.get("usage"), dict)]
    if usages:
        first["usage"] = _sum(usages)
    return orjson.dumps(first)


def _sum(usages: list[dict[str, Any]]) -> dict[str, Any]:
    total: dict[str, Any] = {}
    for usage in usages:
        for name, value in usage.items():
            if isinstance(value, dict):
                total[name] = _sum([total.get(name) or {}, value])
            elif type(value) is int:
                total[name] = total.get(name, 0) + value
    return total
