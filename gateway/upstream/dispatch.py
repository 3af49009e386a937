"""Sending a request of the pipeline to its targets until one answers, and writing the answer on to the client.

Which target, how often and when is `pursuit.py`'s; how the bytes pass is the passage's. Nothing is tried again once
a byte went to the client.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Sequence
from typing import NoReturn

from gateway.errors import GatewayError
from gateway.upstream.attempt import StreamAnswer, Streamed, WholeAnswer
from gateway.upstream.authentication import authentication, judge_key
from gateway.upstream.connection import Connection
from gateway.upstream.copies import copies_of, run_copies, stream_copies
from gateway.upstream.job import CLIENT_GONE, Admission, Job, Outcome, Reply, Reserved, Sink, forwarded
from gateway.upstream.passage import Passage
from gateway.upstream.pursuit import Pursuit, Rules, Watcher
from gateway.upstream.retries import RetryBudget, RetryOptions, retry_after_s
from gateway.upstream.straight import STRAIGHT
from gateway.upstream.target import Target

# The upstream's headers that a client gets to see; never its cookies or rate limits.
_PASSED_HEADERS = frozenset({b"openai-processing-ms", b"openai-version"})
_JSON = (b"content-type", b"application/json")

ChoosePassage = Callable[[Job, Target], Passage]


def _straight(job: Job, target: Target) -> Passage:
    return STRAIGHT


class Dispatch:
    """Sends jobs. One object per worker, without state of any single job."""

    def __init__(
        self,
        admission: Admission,
        options: RetryOptions,
        budget: RetryBudget,
        watcher: Watcher,
        rng: random.Random,
        passage: ChoosePassage = _straight,
    ) -> None:
        self.rules = Rules(options, budget, watcher, rng)
        self.passage = passage
        self.admission = admission

    async def run(self, job: Job, sink: Sink, copy: int = 0, streamed: Streamed | None = None) -> Reply | None:
        """The whole answer, or None where it was streamed into `sink`. Raises GatewayError if nobody answered.

        `copy`: which of several requests for one this is; `streamed`: what its stream is told of in place of `job`.
        """
        if "n" in job.document and (copies := copies_of(job)) > 1:
            return await self._run_copies(copies, job, sink)
        self.rules.budget.count_call()
        chase = _Chase(self, job, sink, copy, streamed or job)
        reply: Reply | None = None
        failure: GatewayError | None = None
        fallbacks: Sequence[Target] = ()
        try:
            try:
                reply = await chase.walk(job.targets)
            except GatewayError as error:
                fallbacks = _fallbacks_for(job, error)
                if not fallbacks:
                    raise
                failure = error
            if failure is not None:
                reply = await chase.walk(fallbacks, failure)
        finally:
            if chase.pending is not None:
                chase.settle_pending(final=True)
        return reply

    async def _run_copies(self, copies: int, job: Job, sink: Sink) -> Reply | None:
        if not job.stream:
            return await run_copies(copies, job, lambda twin, number: self.run(twin, sink, number))
        await stream_copies(copies, job, sink, lambda twin, strand: self.run(twin, strand, strand.number, strand))
        return None


def _fallbacks_for(job: Job, error: GatewayError) -> Sequence[Target]:
    if error.code == "context_length_exceeded":
        return job.context_fallbacks
    if error.code == "content_policy_violation":
        return job.policy_fallbacks
    return ()


class _Chase(Pursuit):
    """The pursuit of one job whose body is in memory."""

    __slots__ = ("_passage", "_sink", "_streamed")

    def __init__(self, dispatch: Dispatch, job: Job, sink: Sink, copy: int, streamed: Streamed) -> None:
        super().__init__(dispatch.rules, dispatch.admission, job, copy=copy)
        self._passage = dispatch.passage
        self._sink = sink
        self._streamed = streamed

    async def attempt(self, target: Target) -> Reply | None:
        """One try: the whole answer, or None where it was streamed."""
        job = self.job
        self.deadline = self.deadline or self.loop.time() + target.limits.total_s
        asked = self.ask(target)
        reservation = asked if asked is None or isinstance(asked, Reserved) else await self.reserve(target, asked)
        try:
            passage = self._passage(job, target)
            if passage is not STRAIGHT:
                await passage.prepare(job)
            body = passage.encode(job, target)
            lines = await self._authenticate(target, passage, body) if target.account.authenticates else b""
            permit = self.admission.admit(job, target, self.number + 1, reservation)
        except BaseException:
            self.forgo(target, reservation)
            raise
        outcome = self.begin(target, permit, len(body))
        outcome.dropped = passage.dropped
        try:
            connection = target.line.take() or await target.line.connect(target.limits, self.deadline)
            answer = self._receiver(passage, outcome, connection)
            head = passage.head(job, target, forwarded(job, outcome) + lines, len(body))
            outcome.sent = True
            connection.send(head, body, answer, target.limits, self.deadline)
            gone: BaseException | None = None
            try:
                await answer.waiter
            except BaseException as interruption:
                gone = interruption
            if gone is not None:
                await self._part(gone, passage, outcome, answer, connection)
            reply = self._reply(passage, outcome, answer)
        except GatewayError as error:
            self.failed(outcome, error)
            raise
        except BaseException as mishap:  # the client is gone, or the gateway is stopped, or it has a bug
            self.broke_off(outcome, mishap)
            raise
        self.settle_pending(final=True)
        return reply

    async def _part(
        self, gone: BaseException, passage: Passage, outcome: Outcome, answer: WholeAnswer, connection: Connection
    ) -> NoReturn:
        """Nobody waits for the answer any more: give it up, or take it to its end where the client has gone and the
        provider is to be heard out, so that the account is exact. Raises `gone` then; what fails is not tried again."""
        try:
            if not outcome.target.account.finishes or gone.args != (CLIENT_GONE,):
                raise gone
            await answer.go_unheard(self.loop)
        except BaseException:
            self._stop(passage, outcome, answer, connection)
            raise
        try:
            self._reply(passage, outcome, answer)
        except GatewayError as error:
            self.failed(outcome, error)
        self.settle_pending(final=True)
        raise gone

    async def _authenticate(self, target: Target, passage: Passage, body: bytes) -> bytes:
        """The header lines that authenticate this attempt alone."""
        path = passage.path(self.job, target)
        lines, self.key = await authentication(target.account, "POST", path, body, self.loop.time())
        return lines

    def _receiver(self, passage: Passage, outcome: Outcome, connection: Connection) -> WholeAnswer:
        if not self.job.stream:
            return WholeAnswer(self.loop)
        return StreamAnswer(
            self.loop,
            job=self._streamed,
            sink=self._sink,
            outcome=outcome,
            tap=passage.tap(self.job, outcome.target),
            is_stream=passage.is_stream,
            connection=connection,
            owner=self,
        )

    def _stop(self, passage: Passage, outcome: Outcome, answer: WholeAnswer, connection: Connection) -> None:
        """The upstream is told that nobody waits for it, and what has come is noted."""
        if isinstance(answer, StreamAnswer):
            answer.give_up()
            outcome.usage = answer.tap.usage
            outcome.streamed_tokens = answer.tap.estimate_completion_tokens()
            outcome.most_streamed_tokens = answer.tap.most_completion_tokens()
        elif not answer.ended:
            connection.abort()
        elif answer.error is None and 200 <= answer.status < 300:
            with contextlib.suppress(GatewayError):  # it was answered, and will be billed
                passage.read(self.job, outcome, answer.body, answer.headers)

    def _reply(self, passage: Passage, outcome: Outcome, answer: WholeAnswer) -> Reply | None:
        """The client's answer, None for a stream that was written. Raises what went wrong with the target's."""
        if isinstance(answer, StreamAnswer):
            if answer.started:
                answer.release(self.loop)
                return None
            outcome.usage = answer.tap.usage
        if answer.first_byte_at:
            outcome.first_byte_s = answer.first_byte_at - outcome.started_at
        if answer.error is not None:
            raise answer.error
        target = outcome.target
        if not 200 <= answer.status < 300:
            raise passage.read_error(target, answer.status, answer.body, retry_after_s(answer.headers))
        data = passage.read(self.job, outcome, answer.body, answer.headers)
        if isinstance(answer, StreamAnswer):
            message = f"The provider '{target.provider}' answered a stream with no stream."
            raise GatewayError("upstream_bad_answer", message)
        outcome.duration_s = time.perf_counter() - outcome.started_at
        outcome.status = answer.status
        target.breaker.succeed(self.ticket)
        if self.key is not None and target.account.keys is not None:
            judge_key(target.account.keys, self.key, None, answer.headers, self.loop.time())
        headers = [_JSON]
        for header in answer.headers:
            if header[0] in _PASSED_HEADERS:
                headers.append(header)
        return Reply(answer.status, data, headers)

    # --- called by the stream's receiver ------------------------------------------------------------

    def stream_began(self) -> None:
        """The target has shown that it works."""
        breaker = self.job.outcomes[-1].target.breaker
        self.ticket = breaker.answering(self.ticket)

    def stream_ended(self, answer: StreamAnswer, error: GatewayError | None) -> None:
        """Its account is closed before its last bytes leave."""
        outcome = answer.outcome
        outcome.usage = answer.tap.usage
        if outcome.usage is None or error is not None:
            outcome.streamed_tokens = answer.tap.estimate_completion_tokens()
        if error is None:
            outcome.duration_s = time.perf_counter() - outcome.started_at
            outcome.target.breaker.succeed(self.ticket)
        else:
            self.failed(outcome, error)
            outcome.billable = True  # tokens have come, whatever ended them
        outcome.status = 200
        self.settle_pending(final=True)
