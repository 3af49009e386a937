"""Passing a request on whose body and answer may be too large to hold: retries, fallbacks, accounts.

The rules are dispatch's (`pursuit.py`), for bodies that can be sent once only (a client's upload on its way through)
and answers that are written on as they come.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar

from gateway.errors import GatewayError
from gateway.tasks import Tasks
from gateway.upstream.authentication import authentication
from gateway.upstream.dispatch import Dispatch
from gateway.upstream.job import Job, Outcome, Reserved, forwarded
from gateway.upstream.pulled import PulledAnswer
from gateway.upstream.pursuit import Pursuit
from gateway.upstream.relayed import Exchange, Outgoing
from gateway.upstream.retries import retry_after_s
from gateway.upstream.target import Target
from gateway.upstream.uploading import outgoing_head, stop_upload, upload_body
from gateway.wire.openai_answer import read_error

Result = TypeVar("Result")

_MAX_ERROR_BYTES = 1_048_576
_MAX_BODY_BYTES = 1 << 40


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
        dispatch.rules.budget.count_call()
        errand = _Errand(dispatch, self.tasks, job, outgoing, consume)
        try:
            result: Result = await errand.walk(job.targets)
        finally:
            errand.settle_pending(final=True)
        return result


class _Errand(Pursuit):
    """The pursuit of one job whose body is passed on."""

    __slots__ = ("_consume", "_outgoing", "_settled", "_tasks")

    def __init__(
        self,
        dispatch: Dispatch,
        tasks: Tasks,
        job: Job,
        outgoing: Outgoing,
        consume: Callable[[Exchange], Awaitable[Any]],
    ) -> None:
        super().__init__(dispatch.rules, outgoing.admission, job)
        self._tasks = tasks
        self._outgoing = outgoing
        self._consume = consume
        self._settled = False

    def may_repeat(self, error: GatewayError) -> bool:
        """Not once it was delivered, nor where a lasting object may have been made, nor without the whole body."""
        outgoing = self._outgoing
        if self._settled or not super().may_repeat(error) or (outgoing.creates and error.failure.billable):
            return False
        return outgoing.body is None or outgoing.body.replayable

    async def attempt(self, target: Target) -> Any:
        """One try: what the consumer made of the answer."""
        job, outgoing = self.job, self._outgoing
        if not self.deadline:
            self.deadline = self.loop.time() + (outgoing.patience_s or target.limits.total_s)
        asked = self.ask(target)
        reservation = asked if asked is None or isinstance(asked, Reserved) else await self.reserve(target, asked)
        try:
            permit = self.admission.admit(job, target, self.number + 1, reservation)
        except BaseException:
            self.forgo(target, reservation)
            raise
        outcome = self.begin(target, permit, len(job.body))
        answer = PulledAnswer()
        exchange = Exchange(self, outcome, answer)
        try:
            return await self._converse(exchange)
        except GatewayError as error:
            if not exchange.settled:
                self.failed(outcome, error)
            raise
        except BaseException as error:
            if not exchange.settled and not await self._heard_out(exchange, error):
                self.broke_off(outcome, error)
            raise
        finally:
            self._settled = exchange.settled
            answer.abandon()

    async def _heard_out(self, exchange: Exchange, error: BaseException) -> bool:
        """Was the answer taken to its end although `error` says that the client has gone, and its account closed?"""
        hear_out, finishes = self._outgoing.hear_out, exchange.target.account.finishes
        gone = isinstance(error, (asyncio.CancelledError, ConnectionError))
        if hear_out is None or not finishes or not gone or not exchange.sent_whole:
            return False
        try:
            await self._good_head(exchange, None)
            await hear_out(exchange)
        except GatewayError as failure:
            if not exchange.settled:
                self.failed(exchange.outcome, failure)
        except BaseException as end:
            if not exchange.settled:
                self.broke_off(exchange.outcome, end)
            raise
        return True

    async def _converse(self, exchange: Exchange) -> Any:
        upload = await self._send(exchange.outcome, exchange.answer)
        exchange.sent_whole = upload is None
        try:
            await self._good_head(exchange, upload)
            return await self._consume(exchange)
        finally:
            await stop_upload(upload)

    async def _good_head(self, exchange: Exchange, upload: asyncio.Task[None] | None) -> None:
        """Wait for the answer's head. Raises what a bad status means."""
        answer = exchange.answer
        await answer.head()
        exchange.outcome.first_byte_s = answer.first_byte_at - exchange.outcome.started_at
        if not 200 <= answer.status < 300 and answer.status not in self._outgoing.taken:
            # What is left of an upload is of no use to anybody.
            await stop_upload(upload)
            body = await answer.read_all(_MAX_ERROR_BYTES)
            provider = exchange.target.provider
            raise read_error(provider, answer.status, body, retry_after_s=retry_after_s(answer.headers))

    async def _authenticate(self, target: Target, whole: bytes | None) -> bytes:
        """The header lines that authenticate this attempt alone; what is signed by its body must have it whole."""
        outgoing, account = self._outgoing, target.account
        path = account.base_path + outgoing.path
        lines, self.key = await authentication(account, outgoing.method, path, whole or b"", self.loop.time())
        return lines

    async def _send(self, outcome: Outcome, answer: PulledAnswer) -> asyncio.Task[None] | None:
        """Write the request: at once where it is whole, else in a task of its own, which is returned."""
        job, outgoing, target = self.job, self._outgoing, outcome.target
        body = outgoing.body
        whole = b"" if body is None else body.whole(target.model)
        lines = forwarded(job, outcome)
        if target.account.authenticates:
            lines += await self._authenticate(target, whole)
        head = outgoing_head(target, outgoing, lines, whole)
        limits = replace(target.limits, max_body_bytes=_MAX_BODY_BYTES)
        # A kept connection may be found dead only after the first bytes of a body that cannot be had again.
        connection = target.line.take() if whole is not None else None
        if connection is None:
            connection = await target.line.connect(limits, self.deadline)
        answer.come_over(connection)
        outcome.sent = True
        if whole is not None:
            connection.send(head, whole, answer, limits, self.deadline)
            return None
        assert body is not None
        connection.send_head(head, answer, limits, self.deadline)
        pieces = body.pieces(target.model)
        known = body.length(target.model) is not None
        work = upload_body(pieces, connection, answer, chunked=not known)
        return self._tasks.spawn(work, name="upload")
