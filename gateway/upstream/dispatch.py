"""Trying a route's targets until one answers: retries, fallbacks, and an account of every attempt.

What may be tried again is said by the failure itself (`errors.FAILURES`); how often and how long, by
`retries.py`; whether a target is fit, by its breaker. Nothing is tried again once a byte went to the client.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from typing import Protocol

from gateway.errors import Again, GatewayError, Sent
from gateway.upstream.attempt import StreamAnswer, WholeAnswer
from gateway.upstream.connection import Connection
from gateway.upstream.job import Admission, Job, Outcome, Permit, Reply, Sink
from gateway.upstream.retries import RetryBudget, RetryOptions, backoff_s, retry_after_s
from gateway.upstream.target import Target
from gateway.wire.openai import encode_request, wants_usage
from gateway.wire.openai_answer import StreamTap, read_answer, read_error

# The upstream's headers that a client gets to see; never its cookies or rate limits.
_PASSED_HEADERS = frozenset({b"openai-processing-ms", b"openai-version"})
# Failures that say nothing about the target's health.
_NO_FAULT = frozenset({"upstream_429", "upstream_408", "upstream_409", "client_gone", "upstream_total_timeout"})
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

    async def run(self, job: Job, sink: Sink) -> Reply | None:
        """The whole answer, or None where it was streamed into `sink`. Raises GatewayError if nobody answered."""
        self.budget.count_call()
        pursuit = _Pursuit(self, job, sink)
        try:
            try:
                return await pursuit.walk(job.targets)
            except GatewayError as error:
                fallbacks = _fallbacks_for(job, error)
                if not fallbacks:
                    raise
                self.watcher.fell_back(job, error.code)
                return await pursuit.walk(fallbacks)
        finally:
            pursuit.settle_pending(final=True)


def _fallbacks_for(job: Job, error: GatewayError) -> Sequence[Target]:
    if error.code == "context_length_exceeded":
        return job.context_fallbacks
    if error.code == "content_policy_violation":
        return job.policy_fallbacks
    return ()


class _Pursuit:
    """One job on its way through its targets."""

    __slots__ = ("_deadline", "_dispatch", "_job", "_loop", "_number", "_pending", "_sink")

    def __init__(self, dispatch: Dispatch, job: Job, sink: Sink) -> None:
        self._dispatch = dispatch
        self._job = job
        self._sink = sink
        self._loop = asyncio.get_running_loop()
        self._deadline = 0.0
        self._number = 0
        self._pending: tuple[Permit, Outcome] | None = None

    def settle_pending(self, *, final: bool) -> None:
        """Close the account of a failed attempt: only now is it known whether another followed."""
        if self._pending is not None:
            permit, outcome = self._pending
            self._pending = None
            outcome.final = final
            self._dispatch.admission.close(self._job, permit, outcome)

    async def walk(self, targets: Sequence[Target]) -> Reply | None:
        """Try each target in turn. Raises the last failure."""
        last: GatewayError | None = None
        for target in targets:
            if not target.breaker.allow():
                continue
            if last is not None:
                self._dispatch.watcher.fell_back(self._job, last.code)
            try:
                return await self._persist(target, has_more=target is not targets[-1])
            except GatewayError as error:
                if error.failure.again in (Again.NEVER, Again.SPECIAL):
                    raise
                last = error
        if last is not None:
            last.should_retry = False  # our own attempts are used up; an SDK's would only multiply them
            raise last
        wait_s = min((target.breaker.retry_in_s() for target in targets), default=0.0)
        raise GatewayError(
            "no_target_available",
            f"No target of the model '{self._job.asked_model}' is healthy at the moment.",
            retry_after_s=max(1.0, wait_s),
        )

    async def _persist(self, target: Target, *, has_more: bool) -> Reply | None:
        """Try one target, again where that may help."""
        dispatch = self._dispatch
        retry = free = 0
        while True:
            try:
                return await self._attempt(target)
            except GatewayError as error:
                if error.code == "upstream_reset_before_write" and free < _FREE_RETRIES:
                    free += 1  # a dead kept-alive connection: nothing was sent, so nothing is risked
                    continue
                retry += 1
                if error.failure.again is not Again.SAME or retry >= dispatch.options.attempts:
                    raise
                pause_s = self._pause_s(error, retry, has_more=has_more)
                if pause_s is None or not target.breaker.allow():
                    raise
                if not dispatch.budget.spend():
                    dispatch.watcher.budget_exhausted()
                    target.breaker.forget()
                    raise
                dispatch.watcher.retried(target, error.code)
                await asyncio.sleep(pause_s)

    def _pause_s(self, error: GatewayError, retry: int, *, has_more: bool) -> float | None:
        """Seconds to wait before another try; None where it would be too long or too late."""
        options = self._dispatch.options
        pause_s = backoff_s(options, retry - 1, self._dispatch.rng)
        if error.retry_after_s is not None:
            if error.retry_after_s > options.max_delay_s or (has_more and error.retry_after_s > pause_s):
                return None
            pause_s = max(pause_s, error.retry_after_s)
        if self._loop.time() + pause_s >= self._deadline:
            return None
        return pause_s

    async def _attempt(self, target: Target) -> Reply | None:
        """One try. Its permit is pending from here on: closed at success, else when it is known what follows."""
        job = self._job
        limits = target.limits
        if not self._deadline:
            self._deadline = self._loop.time() + limits.total_s
        body = encode_request(job.body, job.document, target.model, target.variations)
        self._number += 1
        outcome = Outcome(target, self._number, request_bytes=len(body), streamed=job.stream)
        self.settle_pending(final=False)
        try:
            self._pending = (await self._dispatch.admission.admit(job, target, self._number), outcome)
        except BaseException:
            target.breaker.forget()
            raise
        job.outcomes.append(outcome)
        outcome.started_at = time.perf_counter()
        try:
            connection = target.line.take()
            if connection is None:
                connection = await target.line.connect(limits, self._deadline)
            send = self._stream if job.stream else self._whole
            reply = await send(target, outcome, connection, body)
        except GatewayError as error:
            outcome.duration_s = time.perf_counter() - outcome.started_at
            outcome.code = error.code
            outcome.status = error.status
            outcome.billable = error.failure.billable
            _judge(target, error)
            raise
        except BaseException:  # the client is gone, or the gateway is stopped
            outcome.duration_s = time.perf_counter() - outcome.started_at
            if outcome.code == "ok" and self._pending is not None:
                outcome.code = "client_gone"
                outcome.status = 499
            target.breaker.forget()
            raise
        self.settle_pending(final=True)
        return reply

    async def _whole(self, target: Target, outcome: Outcome, connection: Connection, body: bytes) -> Reply:
        job = self._job
        answer = WholeAnswer(self._loop)
        outcome.sent = True
        connection.send(
            target.head(job.endpoint, job.forwarded, len(body)), body, answer, target.limits, self._deadline
        )
        try:
            await answer.waiter
        except asyncio.CancelledError:
            if not answer.ended:
                connection.abort()
            raise
        self._check(target, outcome, answer)
        rename_to = job.asked_model if job.asked_model != target.model else None
        data, outcome.usage = read_answer(answer.body, rename_to)
        outcome.duration_s = time.perf_counter() - outcome.started_at
        outcome.status = answer.status
        target.breaker.succeed()
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
            settle=self._settle_stream,
        )
        outcome.sent = True
        connection.send(
            target.head(job.endpoint, job.forwarded, len(body)), body, answer, target.limits, self._deadline
        )
        try:
            await answer.waiter
        except asyncio.CancelledError:
            answer.finished = True
            self._sink.attach(None)
            if not answer.ended:
                connection.abort()
            outcome.usage = tap.usage
            outcome.streamed_tokens = tap.estimate_completion_tokens()
            raise
        if answer.started:
            answer.release(self._loop)
            return
        self._check(target, outcome, answer)
        raise GatewayError("upstream_bad_answer", f"The provider '{target.provider}' answered a stream with no stream.")

    def _settle_stream(self, answer: StreamAnswer, error: GatewayError | None) -> None:
        """A stream that had begun is over; its account is closed before its last bytes leave."""
        outcome = answer.outcome
        outcome.duration_s = time.perf_counter() - outcome.started_at
        outcome.usage = answer.tap.usage
        outcome.status = 200
        if outcome.usage is None:
            outcome.streamed_tokens = answer.tap.estimate_completion_tokens()
        if error is None:
            outcome.target.breaker.succeed()
        else:
            outcome.code = error.code
            outcome.billable = error.failure.billable
            _judge(outcome.target, error)
        self.settle_pending(final=True)


def _judge(target: Target, error: GatewayError) -> None:
    """Tell the target's breaker what a failure says of it."""
    if error.failure.again is Again.NEVER or error.failure.again is Again.SPECIAL or error.code in _NO_FAULT:
        if error.failure.sent is Sent.YES and error.code in ("upstream_4xx", "context_length_exceeded"):
            target.breaker.succeed()
        else:
            target.breaker.forget()
    else:
        target.breaker.fail()
