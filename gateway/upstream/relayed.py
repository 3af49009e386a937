"""What passes through a relay: a request that is going out, and the exchange with the one who took it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from gateway.errors import GatewayError
from gateway.upstream.job import Admission, Outcome
from gateway.upstream.pulled import PulledAnswer
from gateway.upstream.pursuit import Pursuit
from gateway.wire.usage import Usage


class Body(Protocol):
    """A request's body. `replayable` says whether `pieces` may be asked for (again)."""

    content_type: bytes

    @property
    def replayable(self) -> bool:
        """Can it be sent from its beginning now?"""

    def whole(self, model: str) -> bytes | None:
        """All of it, for a target's `model`, where it is held in memory."""

    def length(self, model: str) -> int | None:
        """Its bytes for a target's `model`; None where nobody knows yet."""

    def pieces(self, model: str) -> AsyncIterator[bytes]:
        """All of it in pieces, for a target's `model`. Raises GatewayError where the client sends no good body."""


class WholeBody:
    """JSON that is in memory; `render` gives its bytes for a target's model."""

    content_type = b"application/json"
    replayable = True

    def __init__(self, render: Callable[[str], bytes]) -> None:
        self._render = render

    def whole(self, model: str) -> bytes:
        """All of it."""
        return self._render(model)

    def length(self, model: str) -> int:
        """Its bytes."""
        return len(self._render(model))

    async def pieces(self, model: str) -> AsyncIterator[bytes]:
        """One."""
        yield self._render(model)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What to send to whichever target takes it. `path` begins behind the provider's base URL.

    `creates` marks a request that makes a lasting object: it is not sent again where the first may have been
    carried out. `patience_s`, where given, takes the place of the target's limit for the whole call: a transfer
    of many bytes is limited by its silence, not by its length. `taken` are statuses outside 2xx that the consumer reads
    as answers. `hear_out` takes the rest of a good answer and settles, for a client that has gone; None: such a call is
    given up whatever its provider's `finishes` says.
    """

    method: str
    path: str
    body: Body | None
    admission: Admission
    creates: bool = False
    patience_s: float | None = None
    taken: frozenset[int] = frozenset()
    hear_out: Callable[[Exchange], Awaitable[None]] | None = None


class Exchange:
    """An answer with a good status, or one that its consumer takes, for it to read, write on, and `settle`.

    `sent_whole` says that nothing of the request is still to be sent.
    """

    def __init__(self, pursuit: Pursuit, outcome: Outcome, answer: PulledAnswer) -> None:
        self.target = outcome.target
        self.outcome = outcome
        self.answer = answer
        self.settled = False
        self.sent_whole = False
        self._pursuit = pursuit

    def began(self) -> None:
        """The answer is about to go to the client: nothing is tried again, and the target has shown that it works."""
        pursuit = self._pursuit
        pursuit.ticket = self.target.breaker.answering(pursuit.ticket)

    def settle(self, usage: Usage | None, error: GatewayError | None = None, *, streamed_tokens: int = 0) -> None:
        """Close the account, before the last bytes leave; from here on nothing is tried again."""
        if self.settled:
            return
        self.settled = True
        outcome, pursuit = self.outcome, self._pursuit
        outcome.usage = usage
        outcome.streamed_tokens = streamed_tokens
        if error is None:
            outcome.duration_s = time.perf_counter() - outcome.started_at
            self.target.breaker.succeed(pursuit.ticket)
        else:
            pursuit.failed(outcome, error)
            outcome.billable = True  # something has come, whatever ended it
        outcome.status = self.answer.status
        pursuit.settle_pending(final=True)
