"""Passing a request on whose body and answer may be too large to hold: retries, fallbacks, accounts.

The same rules as dispatch's (`errors.FAILURES`, `retries.py`, the targets' breakers, the admission), for bodies
that can be sent once only (a client's upload on its way through) and answers that are written on as they come.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from gateway.errors import Again, GatewayError
from gateway.tasks import Tasks
from gateway.upstream.dispatch import Dispatch
from gateway.upstream.health import Ticket
from gateway.upstream.job import Job, Outcome, Permit, forwarded
from gateway.upstream.pulled import PulledAnswer
from gateway.upstream.relayed import Exchange, Outgoing
from gateway.upstream.retries import backoff_s, retry_after_s
from gateway.upstream.target import Target
from gateway.upstream.uploading import outgoing_head, stop_upload, upload_body
from gateway.wire.openai_answer import read_error

Result = TypeVar("Result")

_MAX_ERROR_BYTES = 1_048_576
_MAX_BODY_BYTES = 1 << 40
_FREE_RETRIES = 3


class Relay:
    """Sends what is passed through. `dispatch` gives the rules and the retry budget in force."""

    def __init__(self, dispatch: Callable[[], Dispatch], tasks: Tasks) -> None:
        self.dispatch = dispatch
        self.tasks = tasks

    async def run(self, job: Job, outgoing: Outgoing, consume: Callable[[Exchange], Awaitable[Result]]) -> Result:
        """Send to `job`'s targets in turn and give the first good answer to `consume`.

        What `consume` raises before it has settled is a failed attempt like any other. Raises GatewayError.
        """
        dispatch = self.dispatch()
        dispatch.budget.count_call()
        errand = _Errand(self, dispatch, job, outgoing)
        try:
            return await errand.walk(job.targets, consume)
        finally:
            errand.settle_pending(final=True)


class _Errand:
    """One job on its way through its targets."""

    def __init__(self, relay: Relay, dispatch: Dispatch, job: Job, outgoing: Outgoing) -> None:
        self._relay = relay
        self._dispatch = dispatch
        self._job = job
        self._outgoing = outgoing
        self._loop = asyncio.get_running_loop()
        self._deadline = 0.0
        self._number = 0
        self._ticket: Ticket = 0  # of the breaker of the target that is being tried
        self._delivered = False
        self._pending: tuple[Permit, Outcome] | None = None

    def settle_pending(self, *, final: bool) -> None:
        """Close the account of the last attempt: of a failed one it is known only now whether another followed."""
        if self._pending is not None:
            permit, outcome = self._pending
            self._pending = None
            outcome.final = final
            self._outgoing.admission.close(self._job, permit, outcome)

    async def walk(self, targets: Sequence[Target], consume: Callable[[Exchange], Awaitable[Result]]) -> Result:
        """Try each target in turn. Raises the last failure."""
        last: GatewayError | None = None
        for index, target in enumerate(targets):
            if last is not None and self._loop.time() >= self._deadline:
                break
            self._ticket = target.breaker.allow()
            if not self._ticket:
                continue
            if last is not None:
                self._dispatch.watcher.fell_back(self._job, last.code)
            try:
                return await self._persist(target, targets[index + 1 :], consume)
            except GatewayError as error:
                if not self._may_repeat(error):
                    raise
                last = error
        if last is not None:
            raise last
        wait_s = min((target.breaker.retry_in_s() for target in targets), default=0.0)
        message = "No provider for this is healthy at the moment."
        raise GatewayError("no_target_available", message, retry_after_s=max(1.0, wait_s))

    def _may_repeat(self, error: GatewayError) -> bool:
        """May the same be sent once more, here or elsewhere, after `error`?"""
        if self._delivered or error.failure.again in (Again.NEVER, Again.SPECIAL):
            return False
        outgoing = self._outgoing
        if outgoing.creates and error.failure.billable:
            return False
        return outgoing.body is None or outgoing.body.replayable

    async def _persist(
        self, target: Target, others: Sequence[Target], consume: Callable[[Exchange], Awaitable[Result]]
    ) -> Result:
        """Try one target, again where that may help."""
        retry = free = 0
        while True:
            try:
                return await self._attempt(target, consume)
            except GatewayError as error:
                if error.failure.again is not Again.SAME or not self._may_repeat(error):
                    raise
                if error.code == "upstream_reset_before_write" and free < _FREE_RETRIES:
                    free += 1  # a dead kept-alive connection: nothing was sent, so nothing is risked
                else:
                    retry += 1
                    pause_s = self._pause_s(target, error, retry, others)
                    if pause_s is None or not self._take_retry(target, error):
                        raise
                    await asyncio.sleep(pause_s)
                self._ticket = target.breaker.allow()
                if not self._ticket:
                    raise

    def _take_retry(self, target: Target, error: GatewayError) -> bool:
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

    async def _attempt(self, target: Target, consume: Callable[[Exchange], Awaitable[Result]]) -> Result:
        """One try. Its permit is pending from here on: closed when it is settled, or known what follows."""
        job, outgoing = self._job, self._outgoing
        if not self._deadline:
            self._deadline = self._loop.time() + (outgoing.patience_s or target.limits.total_s)
        try:
            permit = await outgoing.admission.admit(job, target, self._number + 1)
        except BaseException:
            target.breaker.forget(self._ticket)
            raise
        # Not before: a retry that is refused leaves the attempt before it the last one, and final.
        self.settle_pending(final=False)
        self._number += 1
        outcome = Outcome(target, self._number, request_bytes=len(job.body), streamed=job.stream)
        outcome.started_at = time.perf_counter()
        self._pending = (permit, outcome)
        job.outcomes.append(outcome)
        answer = PulledAnswer()
        exchange = Exchange(outcome, answer, self._ticket, self._delivered_now)
        try:
            return await self._converse(exchange, consume)
        except GatewayError as error:
            exchange.failed(error)
            raise
        except BaseException as error:
            exchange.broke_off(error)
            raise
        finally:
            answer.abandon()

    def _delivered_now(self) -> None:
        self._delivered = True
        self.settle_pending(final=True)

    async def _converse(self, exchange: Exchange, consume: Callable[[Exchange], Awaitable[Result]]) -> Result:
        target, answer = exchange.target, exchange.answer
        upload = await self._send(exchange)
        try:
            await answer.head()
            exchange.outcome.first_byte_s = answer.first_byte_at - exchange.outcome.started_at
            if not 200 <= answer.status < 300:
                # What is left of an upload is of no use to anybody.
                await stop_upload(upload)
                body = await answer.read_all(_MAX_ERROR_BYTES)
                raise read_error(target.provider, answer.status, body, retry_after_s=retry_after_s(answer.headers))
            return await consume(exchange)
        finally:
            await stop_upload(upload)

    async def _send(self, exchange: Exchange) -> asyncio.Task[None] | None:
        """Write the request: at once where it is whole, else in a task of its own, which is returned."""
        job, outgoing, target, answer = self._job, self._outgoing, exchange.target, exchange.answer
        body = outgoing.body
        whole = b"" if body is None else body.whole(target.model)
        head = outgoing_head(target, outgoing, forwarded(job, exchange.outcome), whole)
        limits = replace(target.limits, max_body_bytes=_MAX_BODY_BYTES)
        # A kept connection may be found dead only after the first bytes of a body that cannot be had again.
        connection = target.line.take() if whole is not None else None
        if connection is None:
            connection = await target.line.connect(limits, self._deadline)
        answer.come_over(connection)
        exchange.outcome.sent = True
        if whole is not None:
            connection.send(head, whole, answer, limits, self._deadline)
            return None
        assert body is not None
        connection.send_head(head, answer, limits, self._deadline)
        pieces = body.pieces(target.model)
        known = body.length(target.model) is not None
        work = upload_body(pieces, connection, answer, chunked=not known)
        return self._relay.tasks.spawn(work, name="upload")
