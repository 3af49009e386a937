"""Several answers (`n`) from a provider that gives one at a time: as many requests at once, one answer of them all."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from gateway.errors import GatewayError
from gateway.upstream.job import Job, Reply

MAX_COPIES = 16


def copies_of(job: Job) -> int:
    """How many requests stand for `job`: 1 where its first target takes `n` itself.

    Raises unsupported_parameter where they would have to be streamed, invalid_field for too many.
    """
    n = job.document.get("n")
    if type(n) is not int or n < 2 or job.endpoint.operation != "chat" or not job.targets:
        return 1
    first = job.targets[0]
    if "n" in first.policy:  # somebody has said what is to become of it
        return 1
    dialect = first.account.dialect
    if "n" not in first.variations.unsupported if dialect is None else dialect.choices:
        return 1
    if job.stream:
        raise GatewayError(
            "unsupported_parameter",
            f"The model '{job.asked_model}' streams one answer at a time: leave out 'n', or do not stream.",
            param="n",
        )
    if n > MAX_COPIES:
        raise GatewayError("invalid_field", f"The field 'n' must be at most {MAX_COPIES}.", param="n")
    return n


async def run_copies(copies: int, job: Job, run: Callable[[Any, int], Awaitable[Reply | None]]) -> Reply:
    """One answer with the choices of all. Raises the first failure, and then the others are given up."""
    twins = [_twin(job) for _ in range(copies)]
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_run(run, twin, number)) for number, twin in enumerate(twins)]
    except BaseExceptionGroup as errors:
        raise next(
            (error for error in errors.exceptions if isinstance(error, GatewayError)), errors.exceptions[0]
        ) from None
    finally:
        for twin in twins:
            job.outcomes.extend(twin.outcomes)
            job.cost_nano_usd = max(job.cost_nano_usd, 0) + max(twin.cost_nano_usd, 0)
    replies = [task.result() for task in tasks]
    return Reply(replies[0].status, _merged([reply.body for reply in replies]), replies[0].headers)


async def _run(run: Callable[[Any, int], Awaitable[Reply | None]], twin: Any, number: int) -> Reply:
    reply = await run(twin, number)
    assert reply is not None, "copies are never streamed"
    return reply


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
