"""Limits and budgets for requests that do not run through the pipeline: the same stages, in the same order."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.pipeline.call import Call
from gateway.pipeline.stage import take_turn
from gateway.pipeline.stages.admit import Admit
from gateway.pipeline.stages.check_budget import CheckBudget
from gateway.pipeline.stages.limit_rate import LimitRate
from gateway.server.gate import Gate


@asynccontextmanager
async def admitted(gate: Gate, call: Call) -> AsyncIterator[None]:
    """Count the request, whose key is known, at its caller's limits; when it is over, give back what it held.

    Raises GatewayError, as the stage `admit` does.
    """
    try:
        await _run(gate, call, Admit.name)
        yield
    finally:
        if call.governed is not None:
            call.governed.end(call.outcomes)


async def weigh(gate: Gate, call: Call) -> None:
    """Keep to the limits of tokens and of the model, which is known now, and find who pays. Raises GatewayError."""
    await _run(gate, call, LimitRate.name)
    await _run(gate, call, CheckBudget.name)


async def _run(gate: Gate, call: Call, name: str) -> None:
    stage = gate.pipeline.stage(name)
    if stage is not None:
        await take_turn(stage, call)
