"""Trying a route's targets until one answers: retries, fallbacks, and an account of every attempt.

What may be tried again is said by the failure itself (`errors.FAILURES`); how often and how long, by
`retries.py`; whether a target is fit, by its breaker. Nothing is tried again once a byte went to the client.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Sequence
from typing import Protocol

from gateway.errors import Again, GatewayError, Sent
from gateway.upstream.attempt import StreamAnswer, WholeAnswer
from gateway.upstream.connection import Connection
from gateway.upstream.health import Ticket, judge
from gateway.upstream.job import Admission, Job, Outcome, Permit, Reply, Sink, forwarded
from gateway.upstream.retries import RetryBudget, RetryOptions, backoff_s, retry_after_s
from gateway.upstream.target import Target
from gateway.wire.openai import encode_request, wants_usage
from gateway.wire.openai_answer import StreamTap, estimate_answer_tokens, read_answer, read_error

# The upstream's headers that a client gets to see; never its cookies or rate limits.
_PASSED_HEADERS = frozenset({b"openai-processing-ms", b"openai-version"})
_FREE_RETRIES = 3


class DispatchWatcher(Protocol):
    """Who wants to hear of retries and fallbacks: the metrics."""

    def retried(self, target: Target, code: str) -> None:
        """A second try at the same target."""

    def fell_back(self, job: Job, code: str) -> None:
        """Another target is tried."""

    def budget_exhausted(self) -> None:
        """A retry was not made because the budget is spent."""


class Dispatch:
    """Sends jobs. One object per worker, without state of any single job."""

    def __init__(
        self,
        admission: Admission,
        options: RetryOptions,
        budget: RetryBudget,
        watcher: DispatchWatcher,
        rng: random.Random,
    ) -> None:
        self.admission = admission
        self.options = options
        self.budget = budget
        self.watcher = watcher
        self.rng = rng
        self.loop: asyncio.AbstractEventLoop | None = None

    async def run(self, job: Job, sink: Sink) -> Reply | None:
        """The whole answer, or None where it was streamed into `sink`. Raises GatewayError if nobody answered."""
        self.budget.count_call()
        pursuit = _Pursuit(self, job, sink)
        try:
            try:
                return await pursuit.walk(job.targets, None)
            except GatewayError as error:
                fallbacks = _fallbacks_for(job, error)
                if not fallbacks:
                    raise
                return await pursuit.walk(fallbacks, error)
        finally:
            if pursuit.pending is not None:
                pursuit.settle_pending(final=True)


def _fallbacks_for(job: Job, error: GatewayError) -> Sequence[Target]:
    if error.code == "context_length_exceeded":
        return job.context_fallbacks
    if error.code == "content_policy_violation":
        return job.policy_fallbacks
    return ()


class _Pursuit:
    """One job on its way through its targets."""

    __slots__ = ("_deadline", "_dispatch", "_job", "_loop", "_number", "_sink", "_ticket", "pending")

    def __init__(self, dispatch: Dispatch, job: Job, sink: Sink) -> None:
        self._dispatch = dispatch
        self._job = job
        self._sink = sink
        loop = dispatch.loop
        if loop is None:  # looked up once: Python 3.11 makes a system call for it
            loop = dispatch.loop = asyncio.get_running_loop()
        self._loop = loop
        self._deadline = 0.0
        self._number = 0
        self.pending: tuple[Permit, Outcome] | None = None
        self._ticket: Ticket = 0  # of the breaker of the target that is being tried

    def settle_pending(self, *, final: bool) -> None:
        """Close the account of the last attempt: only now is it known whether another followed."""
        if self.pending is not None:
            permit, outcome = self.pending
            self.pending = None
            outcome.final = final
            self._dispatch.admission.close(self._job, permit, outcome)

    async def walk(self, targets: Sequence[Target], last: GatewayError | None) -> Reply | None:
        """Try each target in turn; `last` is the failure that led here. Raises the last failure."""
        for index, target in enumerate(targets):
            if last is not None and self._loop.time() >= self._deadline:
                break
            self._ticket = target.breaker.allow()
            if not self._ticket:
                continue
            if last is not None:
                self._dispatch.watcher.fell_back(self._job, last.code)
            try:
                return await self._persist(target, targets[index + 1 :])
            except GatewayError as error:
                if error.failure.again in (Again.NEVER, Again.SPECIAL):
                    raise
                last = error
        if last is not None:
            raise last
        wait_s = min((target.breaker.retry_in_s() for target in targets), default=0.0)
        raise GatewayError(
            "no_target_available",
            f"No target of the model '{self._job.asked_model}' is healthy at the moment.",
            retry_after_s=max(1.0, wait_s),
        )

    async def _persist(self, target: Target, others: Sequence[Target]) -> Reply | None:
        """Try one target, again where that may help."""
        retry = free = 0
        while True:
            try:
                return await self._attempt(target)
            except GatewayError as error:
                if error.failure.again is not Again.SAME:
                    raise
                if error.code == "upstream_reset_before_write" and free < _FREE_RETRIES:
                    free += 1  # a dead kept-alive connection: nothing was sent, so nothing is risked
                else:
                    retry += 1
                    pause_s = self._pause_s(target, error, retry, others)
                    if pause_s is None or not self._may_retry(target, error):
                        raise
                    await asyncio.sleep(pause_s)
                self._ticket = target.breaker.allow()
                if not self._ticket:
                    raise

    def _may_retry(self, target: Target, error: GatewayError) -> bool:
        """Take a second try from the gateway's budget."""
        dispatch = self._dispatch
        if not dispatch.budget.spend():
            dispatch.watcher.budget_exhausted()
            return False
        dispatch.watcher.retried(target, error.code)
        return True

    def _pause_s(self, target: Target, error: GatewayError, retry: int, others: Sequence[Target]) -> float | None:
        """Seconds to wait before another try; None where there is none left, or it would be too long or too late."""
        options = self._dispatch.options
        if retry >= options.attempts:
            return None
        pause_s = backoff_s(options, retry - 1, self._dispatch.rng)
        asked_s = error.retry_after_s
        if asked_s is not None and asked_s > pause_s:
            if asked_s > options.max_delay_s or any(not other.breaker.refuses() for other in others):
                error.should_retry = None  # a client that waits as long as it is told to does no harm
                return None
            pause_s = asked_s
        if self._loop.time() + pause_s >= self._deadline or target.breaker.retry_in_s() > pause_s:
            return None
        return pause_s

    async def _attempt(self, target: Target) -> Reply | None:
        """One try. Its permit is pending from here on: closed at success, else when it is known what follows."""
        job = self._job
        limits = target.limits
        if not self._deadline:
            self._deadline = self._loop.time() + limits.total_s
        try:
            body = encode_request(job.body, job.document, target.model, target.variations)
            permit = await self._dispatch.admission.admit(job, target, self._number + 1)
        except BaseException:
            target.breaker.forget(self._ticket)
            raise
        # Not before: a retry that is refused leaves the attempt before it the last one, and final.
        if self.pending is not None:
            self.settle_pending(final=False)
        self._number += 1
        outcome = Outcome(target, self._number, request_bytes=len(body), streamed=job.stream)
        outcome.started_at = time.perf_counter()
        self.pending = (permit, outcome)
        job.outcomes.append(outcome)
        try:
            connection = target.line.take()
            if connection is None:
                connection = await target.line.connect(limits, self._deadline)
            send = self._stream if job.stream else self._whole
            reply = await send(target, outcome, connection, body)
        except GatewayError as error:
            self._failed(outcome, error)
            raise
        except BaseException as error:  # the client is gone, or the gateway is stopped, or it has a bug
            self._broke_off(outcome, error)
            raise
        self.settle_pending(final=True)
        return reply

    def _failed(self, outcome: Outcome, error: GatewayError) -> None:
        """Note a failure on the attempt, for the breaker, and for the client's SDK, if it gets to see it."""
        outcome.duration_s = time.perf_counter() - outcome.started_at
        outcome.code = error.code
        outcome.status = error.status
        outcome.billable = error.failure.billable
        if error.should_retry is None:
            error.should_retry = False  # our own attempts are used up then; an SDK's would only multiply them
        judge(outcome.target.breaker, self._ticket, error)

    def _broke_off(self, outcome: Outcome, error: BaseException) -> None:
        if self.pending is not None:  # else its stream was over, and only this task had not seen it yet
            gone = isinstance(error, asyncio.CancelledError)
            outcome.duration_s = time.perf_counter() - outcome.started_at
            outcome.code, outcome.status = ("client_gone", 499) if gone else ("internal_error", 500)
        outcome.target.breaker.forget(self._ticket)

    async def _whole(self, target: Target, outcome: Outcome, connection: Connection, body: bytes) -> Reply:
        job = self._job
        answer = WholeAnswer(self._loop)
        outcome.sent = True
        connection.send(
            target.head(job.endpoint, forwarded(job, outcome), len(body)), body, answer, target.limits, self._deadline
        )
        try:
            await answer.waiter
        except BaseException:
            if not answer.ended:
                connection.abort()
            elif answer.error is None and 200 <= answer.status < 300:
                with contextlib.suppress(GatewayError):  # it was answered, and will be billed
                    _read(answer, outcome, None)
            raise
        self._check(target, outcome, answer)
        data = _read(answer, outcome, job.asked_model if job.asked_model != target.model else None)
        outcome.duration_s = time.perf_counter() - outcome.started_at
        outcome.status = answer.status
        target.breaker.succeed(self._ticket)
        headers = [header for header in answer.headers if header[0] in _PASSED_HEADERS]
        return Reply(answer.status, data, [(b"content-type", b"application/json"), *headers])

    def _check(self, target: Target, outcome: Outcome, answer: WholeAnswer) -> None:
        """Raise what went wrong with an answer that came whole or not at all."""
        if answer.first_byte_at:
            outcome.first_byte_s = answer.first_byte_at - outcome.started_at
        if answer.error is not None:
            outcome.sent = answer.error.failure.sent is not Sent.NO
            raise answer.error
        if not 200 <= answer.status < 300:
            raise read_error(target.provider, answer.status, answer.body, retry_after_s=retry_after_s(answer.headers))

    async def _stream(self, target: Target, outcome: Outcome, connection: Connection, body: bytes) -> None:
        job = self._job
        rename_to = job.asked_model if job.asked_model != target.model else None
        tap = StreamTap(rename_to=rename_to, withhold_usage=not wants_usage(job.document))
        answer = StreamAnswer(
            self._loop,
            job=job,
            sink=self._sink,
            outcome=outcome,
            tap=tap,
            connection=connection,
            owner=self,
        )
        outcome.sent = True
        connection.send(
            target.head(job.endpoint, forwarded(job, outcome), len(body)), body, answer, target.limits, self._deadline
        )
        try:
            await answer.waiter
        except BaseException:
            answer.give_up()
            outcome.usage = tap.usage
            outcome.streamed_tokens = tap.estimate_completion_tokens()
            raise
        if answer.started:
            answer.release(self._loop)
            return
        outcome.usage = tap.usage
        self._check(target, outcome, answer)
        _read(answer, outcome, None)
        raise GatewayError("upstream_bad_answer", f"The provider '{target.provider}' answered a stream with no stream.")

    # --- called by the stream's receiver ------------------------------------------------------------

    def stream_began(self) -> None:
        """The target has shown that it works."""
        breaker = self._job.outcomes[-1].target.breaker
        self._ticket = breaker.answering(self._ticket)

    def stream_ended(self, answer: StreamAnswer, error: GatewayError | None) -> None:
        """Its account is closed before its last bytes leave."""
        outcome = answer.outcome
        outcome.usage = answer.tap.usage
        if outcome.usage is None:
            outcome.streamed_tokens = answer.tap.estimate_completion_tokens()
        if error is None:
            outcome.duration_s = time.perf_counter() - outcome.started_at
            outcome.target.breaker.succeed(self._ticket)
        else:
            self._failed(outcome, error)
            outcome.billable = True  # tokens have come, whatever ended them
        outcome.status = 200
        self.settle_pending(final=True)


def _read(answer: WholeAnswer, outcome: Outcome, rename_to: str | None) -> bytes:
    """The client's bytes of a whole answer; notes its usage, or what an estimate needs. Raises upstream_bad_answer."""
    data, outcome.usage = read_answer(answer.body, rename_to)
    if outcome.usage is None:
        outcome.streamed_tokens = estimate_answer_tokens(data)
    return data
