"""One job on its way through its targets: who is tried, how often and when, and the account of each attempt.

What may be tried again is said by the failure itself (`errors.FAILURES`); how often and how long, by `retries.py`;
whether a target is fit, by its breaker. `dispatch.py` and `relay.py` say what an attempt is.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Sequence
from typing import Any, Protocol

from mypy_extensions import mypyc_attr

from gateway.errors import Again, GatewayError, Sent
from gateway.upstream.authentication import judge_key
from gateway.upstream.health import Ticket, judge
from gateway.upstream.job import Admission, Job, Outcome, Permit, Reserved
from gateway.upstream.key_ring import ProviderKey
from gateway.upstream.retries import RetryBudget, RetryOptions, backoff_s
from gateway.upstream.target import Target

# Each copy of a request numbers its attempts from here on.
ATTEMPTS_PER_COPY = 100
_FREE_RETRIES = 3
_FINAL = (Again.NEVER, Again.SPECIAL)


class Watcher(Protocol):
    """Who wants to hear of retries and fallbacks: the metrics."""

    def retried(self, target: Target, code: str) -> None:
        """A second try at the same target."""

    def fell_back(self, job: Job, code: str) -> None:
        """Another target is tried."""

    def budget_exhausted(self) -> None:
        """A retry was not made because the budget is spent."""


class Rules:
    """What all pursuits of a worker share."""

    def __init__(self, options: RetryOptions, budget: RetryBudget, watcher: Watcher, rng: random.Random) -> None:
        self.options = options
        self.budget = budget
        self.watcher = watcher
        self.rng = rng
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The worker's loop, looked up once: Python 3.11 makes a system call for it."""
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        return loop


@mypyc_attr(allow_interpreted_subclasses=True)
class Pursuit:
    """A subclass brings `attempt`: it starts with `begin` and ends with `settle_pending`, `failed` or `broke_off`."""

    __slots__ = ("admission", "copy", "deadline", "job", "key", "loop", "number", "pending", "rules", "ticket")

    def __init__(self, rules: Rules, admission: Admission, job: Job, *, copy: int = 0) -> None:
        """`copy` counts the requests that are sent for one: only the first one's end is that of the client's."""
        self.rules = rules
        self.admission = admission
        self.job = job
        self.loop = rules.loop
        self.deadline = 0.0
        self.number = copy * ATTEMPTS_PER_COPY
        self.copy = copy
        self.pending: tuple[Permit, Outcome] | None = None
        self.key: ProviderKey | None = None  # the one of several that the target was asked with
        self.ticket: Ticket = 0  # of the breaker of the target that is being tried

    async def attempt(self, target: Target) -> Any:
        """One try at `target`, and what it gave. Raises GatewayError."""
        raise NotImplementedError

    def may_repeat(self, error: GatewayError) -> bool:
        """May the same be sent once more, here or elsewhere, after `error`?"""
        return error.failure.again not in _FINAL

    # --- whom to try ------------------------------------------------------------------------------

    async def walk(self, targets: Sequence[Target], last: GatewayError | None = None) -> Any:
        """Try each target in turn; `last` is the failure that led here. Raises the last failure."""
        for index, target in enumerate(targets):
            if last is not None and self.loop.time() >= self.deadline:
                break
            self.ticket = target.breaker.allow()
            if not self.ticket:
                continue
            self.key = None
            if last is not None:
                self.rules.watcher.fell_back(self.job, last.code)
            try:
                return await self.attempt(target)
            except GatewayError as error:
                last = error
            try:
                return await self._persist(target, targets[index + 1 :], last)
            except GatewayError as error:
                if not self.may_repeat(error):
                    raise
                last = error
        if last is not None:
            raise last
        wait_s = min((target.breaker.retry_in_s() for target in targets), default=0.0)
        asked = f"model '{self.job.asked_model}'" if self.job.asked_model else "endpoint"
        message = f"No target of the {asked} is healthy at the moment."
        raise GatewayError("no_target_available", message, retry_after_s=max(1.0, wait_s))

    async def _persist(self, target: Target, others: Sequence[Target], error: GatewayError) -> Any:
        """Try the same target again, where that may help. Raises the last failure."""
        retry = free = 0
        while error.failure.again is Again.SAME and self.may_repeat(error):
            if error.code == "upstream_reset_before_write" and free < _FREE_RETRIES:
                free += 1  # a dead kept-alive connection: nothing was sent, so nothing is risked
            else:
                retry += 1
                pause_s = self._pause_s(target, error, retry, others)
                if pause_s is None or not self._take_retry(target, error):
                    break
                await asyncio.sleep(pause_s)
            self.ticket = target.breaker.allow()
            if not self.ticket:
                break
            try:
                return await self.attempt(target)
            except GatewayError as newer:
                error = newer
        raise error

    def _take_retry(self, target: Target, error: GatewayError) -> bool:
        """Take a second try from the gateway's budget."""
        rules = self.rules
        if not rules.budget.spend():
            rules.watcher.budget_exhausted()
            return False
        rules.watcher.retried(target, error.code)
        return True

    def _pause_s(self, target: Target, error: GatewayError, retry: int, others: Sequence[Target]) -> float | None:
        """Seconds to wait before another try; None where there is none left, or it would be too long or too late."""
        options = self.rules.options
        if retry >= options.attempts:
            return None
        pause_s = backoff_s(options, retry - 1, self.rules.rng)
        asked_s = error.retry_after_s
        if asked_s is not None and asked_s > pause_s:
            if asked_s > options.max_delay_s or any(not other.breaker.refuses() for other in others):
                error.should_retry = None  # a client that waits as long as it is told to does no harm
                return None
            pause_s = asked_s
        if self.loop.time() + pause_s >= self.deadline or target.breaker.retry_in_s() > pause_s:
            return None
        return pause_s

    # --- the account of an attempt ----------------------------------------------------------------

    def ask(self, target: Target) -> Reserved | Awaitable[Reserved | None] | None:
        """Ask for what an attempt may take: None where nothing has to be set aside; `reserve` waits for what is not
        there at once."""
        try:
            return self.admission.reserve(self.job, target)
        except BaseException:
            target.breaker.forget(self.ticket)
            raise

    async def reserve(self, target: Target, asked: Awaitable[Reserved | None]) -> Reserved | None:
        """What an attempt may take, once it is set aside. Raises the GatewayError of a limit or budget that refuses
        it."""
        try:
            return await asked
        except BaseException:
            target.breaker.forget(self.ticket)
            raise

    def forgo(self, target: Target, reservation: Reserved | None) -> None:
        """An attempt that was about to begin is not made."""
        target.breaker.forget(self.ticket)
        if reservation is not None:
            self.admission.forgo(reservation)

    def begin(self, target: Target, permit: Permit, request_bytes: int) -> Outcome:
        """An attempt that was admitted begins. Its permit is pending from here on: closed at success, else when it
        is known what follows."""
        # Not before: a retry that is refused leaves the attempt before it the last one, and final.
        if self.pending is not None:
            self.settle_pending(final=False)
        self.number += 1
        job = self.job
        outcome = Outcome(target, self.number, time.perf_counter(), request_bytes, job.stream)
        self.pending = (permit, outcome)
        job.outcomes.append(outcome)
        return outcome

    def settle_pending(self, *, final: bool) -> None:
        """Close the account of the last attempt: of a failed one it is known only now whether another followed."""
        if self.pending is not None:
            permit, outcome = self.pending
            self.pending = None
            outcome.final = final and not self.copy
            self.admission.close(self.job, permit, outcome)

    def failed(self, outcome: Outcome, error: GatewayError) -> None:
        """Note a failure on the attempt, for the breaker, and for the client's SDK, if it gets to see it."""
        outcome.duration_s = time.perf_counter() - outcome.started_at
        outcome.code = error.code
        outcome.status = error.status
        outcome.sent = outcome.sent and error.failure.sent is not Sent.NO
        outcome.billable = error.failure.billable
        keys = outcome.target.account.keys
        if keys is not None:
            judge_key(keys, self.key, error, [], self.loop.time())
        if error.should_retry is None:
            error.should_retry = False  # our own attempts are used up then; an SDK's would only multiply them
        judge(outcome.target.breaker, self.ticket, error)

    def broke_off(self, outcome: Outcome, error: BaseException) -> None:
        """The client has gone, or the gateway is stopped, or it has a bug."""
        if self.pending is not None:  # else its answer was over, and only this task had not seen it yet
            gone = isinstance(error, (asyncio.CancelledError, ConnectionError))
            outcome.duration_s = time.perf_counter() - outcome.started_at
            outcome.code, outcome.status = ("client_gone", 499) if gone else ("internal_error", 500)
        outcome.target.breaker.forget(self.ticket)
