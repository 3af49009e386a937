"""One cheap call to a provider, on the way that every request takes: does it answer, and how fast?"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import orjson

from gateway.errors import GatewayError
from gateway.pipeline.call import Call
from gateway.pipeline.stages.read_request import ReadRequest
from gateway.services.keys.key import Key
from gateway.upstream.dispatch import Dispatch
from gateway.upstream.health import Breaker, BreakerOptions
from gateway.upstream.job import Flow, Headers, Job
from gateway.upstream.listing import shortened
from gateway.upstream.retries import RetryBudget, RetryOptions
from gateway.upstream.target import Account, Target
from gateway.wire.openai import CHAT

_LONGEST_S = 30.0
# Enough for a model that thinks a little; the answer itself is a word.
_MAX_TOKENS = 16


@dataclass(frozen=True, slots=True)
class Trial:
    """How it went. `call` is chat or models."""

    call: str
    model: str | None
    latency_ms: float
    error: GatewayError | None = None

    @property
    def status(self) -> int:
        """The HTTP status that a client would have got."""
        return 200 if self.error is None else self.error.status


class Trials:
    """Makes trial calls as the live dispatch would, but once and whatever the target's circuit breaker says.

    Each is metered under the admin key: the provider bills it.
    """

    def __init__(self, dispatch: Callable[[], Dispatch]) -> None:
        self._dispatch = dispatch

    async def chat(self, account: Account, model: str) -> Trial:
        """Ask `model` at `account` for a word. Raises nothing that the provider or the way to it causes."""
        live = self._dispatch()
        options = RetryOptions(attempts=1)
        once = Dispatch(
            live.admission,
            options,
            RetryBudget(options, time.monotonic),
            _Silent(),
            random.Random(),
            live.passage,
        )
        call = await _call(account, model)
        error: GatewayError | None = None
        began = time.perf_counter()
        try:
            await once.run(call, _NoSink())
        except GatewayError as failure:
            error = failure
        latency_ms = (time.perf_counter() - began) * 1000
        return Trial("chat", model, round(latency_ms, 1), error)


async def _call(account: Account, model: str) -> Call:
    name = f"{account.name}/{model}"
    body = {
        "model": name,
        "messages": [{"role": "user", "content": "Say OK."}],
        "max_completion_tokens": _MAX_TOKENS,
    }
    call = Call(CHAT, {}, orjson.dumps(body), "")
    call.key = Key(id=None, name="master", is_master=True)
    ReadRequest().on_request(call)
    limits = shortened(account.limits, _LONGEST_S)
    call.targets = [Target(account, model, Breaker(BreakerOptions(), time.monotonic), limits)]
    return call


class _NoSink:
    """Nothing is streamed."""

    def start(self, status: int, headers: Headers) -> None:
        """Never called."""

    def write(self, data: bytes) -> None:
        """Never called."""

    def end(self) -> None:
        """Never called."""

    def attach(self, flow: Flow | None) -> None:
        """Never called."""


class _Silent:
    """With one attempt nothing is retried."""

    def retried(self, target: Target, code: str) -> None:
        """Never called."""

    def fell_back(self, job: Job, code: str) -> None:
        """Never called."""

    def budget_exhausted(self) -> None:
        """A connection was dead, and one try is all there is."""
