"""How a call is sent that is to be answered once, and what is sent where it was answered before."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from gateway.errors import GatewayError
from gateway.pipeline.call import Call, Reply
from gateway.pipeline.once import Dispatch
from gateway.pipeline.tape import Tape
from gateway.services.idempotency.answer import Answer
from gateway.services.idempotency.service import Claim, Idempotency
from gateway.upstream.job import CLIENT_GONE, Headers, Sink

_log = logging.getLogger("gateway.idempotency")

# What the gateway says of one request, and not of its answer.
_OWN = frozenset({b"x-request-id", b"x-gateway-request-id", b"x-gateway-attempts", b"x-gateway-cost-usd"})


class Replay:
    """A call whose answer was there: nothing is sent."""

    replayed = True

    async def send(self, call: Call, sink: Sink, dispatch: Dispatch) -> Reply | None:
        """Is not asked for."""
        return await dispatch(call, sink)

    async def close(self, call: Call) -> None:
        """Nothing was opened."""


REPLAY: Final = Replay()


class FirstCall:
    """The first call with its key. It is answered to its end even if its client goes: whoever hung up, sends it again
    and gets the answer, which is paid for by then."""

    replayed = False

    def __init__(self, idempotency: Idempotency, claim: Claim) -> None:
        self._idempotency = idempotency
        self._claim = claim
        self._cut_off = False

    async def send(self, call: Call, sink: Sink, dispatch: Dispatch) -> Reply | None:
        """What `dispatch` gives, marked as sent before and kept after. Raises idempotency_in_progress."""
        tape = Tape(sink, self._idempotency.options.max_answer_bytes)
        work = asyncio.get_running_loop().create_task(self._carry(call, tape, dispatch), name="answer once")
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError as error:
            if error.args == (CLIENT_GONE,):
                tape.leave(lambda: work.cancel(CLIENT_GONE))
            else:
                work.cancel()
            await self._see_to_its_end(work)
            raise

    async def _see_to_its_end(self, work: asyncio.Task[Reply | None]) -> None:
        try:
            await asyncio.wait((work,))
        finally:  # cancelled once more, and for good: the gateway is about to end
            if not work.done():
                work.cancel()
                await asyncio.wait((work,))
            self._cut_off = work.cancelled()
            if not work.cancelled():
                work.exception()  # the client's only, and it has gone

    async def _carry(self, call: Call, tape: Tape, dispatch: Dispatch) -> Reply | None:
        await self._idempotency.mark_sent(self._claim)
        reply = await dispatch(call, tape)
        if reply is None:
            if call.broken is None:
                kept = None if tape.overflowed else Answer(tape.status, _lasting(tape.headers), tape.body)
                await self._keep(call, kept)
        elif 200 <= reply.status < 300:
            headers = list(reply.headers)
            call.add_headers(headers)
            await self._keep(call, Answer(reply.status, _lasting(headers), reply.body))
        return reply

    async def _keep(self, call: Call, answer: Answer | None) -> None:
        """The client gets its answer whatever comes of this; without it its twins will be told that nobody knows."""
        try:
            await self._idempotency.keep(self._claim, answer)
        except GatewayError as error:
            _log.warning("the answer to request %s is not kept: %s", call.request_id, error.message)

    async def close(self, call: Call) -> None:
        """Give the key back, where the call came to no answer and is known to have come to none."""
        claim = self._claim
        if claim.over:
            return
        try:
            if self._cut_off and claim.sent:
                await self._idempotency.abandon(claim)
            else:
                await self._idempotency.release(claim)
        except GatewayError as error:
            _log.warning("the idempotency key of request %s is not given back: %s", call.request_id, error.message)


def _lasting(headers: Headers) -> Headers:
    """Those that hold for every twin."""
    return [header for header in headers if header[0] not in _OWN and not header[0].startswith(b"x-ratelimit-")]
